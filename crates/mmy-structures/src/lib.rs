//! What travels between data, models and metrics: images, boxes, samples, batches, detections.
//!
//! Only [`Batch`] holds tensors; everything before it is plain memory that any thread may own.

mod batch;
mod boxes;
mod detections;
mod image;
mod sample;

pub use batch::{Batch, Targets};
pub use boxes::BBox;
pub use detections::Detections;
pub use image::{Image, ImageError};
pub use sample::{ImageMeta, Instance, Sample};
