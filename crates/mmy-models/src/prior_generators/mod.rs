//! Priors over feature maps.

pub mod yolo_anchor;
