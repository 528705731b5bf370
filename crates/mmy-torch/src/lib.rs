//! The C++ edge over libtorch: what tch leaves out.
