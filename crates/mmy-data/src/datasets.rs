//! Data sets.

mod file;

pub use file::{FileDataset, FilterConfig, MetaInfo, Record};
