//! Models held against the original implementations' numbers, and against the registry's own promises.

mod blocks;
mod detectors;
mod features;
mod head;
mod layer_lists;
mod mobileone;
mod registry;
mod reparam;
mod revcol;
mod spiking;
mod support;
mod tables;
