//! Predicted numbers to boxes.

pub mod yolov5;
