//! Whole models.

pub mod yolo_detector;
