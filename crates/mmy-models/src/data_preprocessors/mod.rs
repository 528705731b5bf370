//! Bytes to what a backbone takes.

pub mod det;
pub mod yolov5;

/// What a preprocessor pads to, as a fact of its [`mmy_registry::Outline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PadOutline {
    /// Height and width become multiples of it.
    pub size_divisor: i64,
}
