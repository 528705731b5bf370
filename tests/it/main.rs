//! The tests of the whole: the built binary in a temporary folder, with real files.

mod configs;
mod faults;
mod forward;
mod resume;
mod support;
mod trace;
mod train;
