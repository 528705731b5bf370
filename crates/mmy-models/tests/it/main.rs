//! Models held against the original implementations' numbers, and against the registry's own promises.

mod detectors;
mod features;
mod head;
mod registry;
mod support;
mod tables;
