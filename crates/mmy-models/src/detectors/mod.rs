//! Whole models.

pub mod dsconv_detector;
pub mod layer_list_detector;
mod one_stage;
pub mod revcol_classifier;
pub mod yolo_detector;
