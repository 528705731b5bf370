//! Data sets.

mod coco;
mod coco_json;
mod faults;
mod file;
mod shapes;
mod voc;

pub use file::{FileDataset, FilterConfig, MetaInfo, Record};
