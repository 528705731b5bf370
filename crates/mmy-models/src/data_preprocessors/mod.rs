//! Bytes to what a backbone takes.

pub mod det;
pub mod yolov5;
