//! Reads files that others wrote.
//!
//! Whatever comes from elsewhere (weights, annotations, pictures) is parsed here, away from tensors and models, so that
//! a fuzzer reaches it without libtorch. Three promises hold for every reader: nothing in a file is ever run, memory and
//! time stay in proportion to the file's length, and a broken file is an error, never a panic.

pub mod coco;
mod fault;
mod json;
pub mod labelme;
pub mod picture;
pub mod voc;
pub mod weights;
pub mod yolo;

pub use fault::Fault;
