//! Data sets.

mod coco;
mod coco_json;
mod faults;
mod file;
mod shapes;
pub(crate) mod voc;

pub(crate) use faults::box_fault;
pub use file::{FileDataset, FilterConfig, MetaInfo, Record};
