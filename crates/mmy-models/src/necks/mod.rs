//! Mixers of feature maps.

pub mod yolov5_pafpn;
