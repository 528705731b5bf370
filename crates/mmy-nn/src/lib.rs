//! The parameter tree and the layers, with PyTorch's names, shapes and initial values.
