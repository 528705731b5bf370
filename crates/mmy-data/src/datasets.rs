//! Data sets.

mod coco;
mod coco_json;
mod faults;
mod file;
mod shapes;
pub(crate) mod voc;

pub(crate) use faults::box_fault;
use mmy_registry::{BuildError, Outline};

pub use file::{FileDataset, FilterConfig, MetaInfo, Record};

/// What all data sets of this crate say of themselves: what is wrong with their keys, and which have no effect.
fn outline(test_mode: bool, checked: Result<(), BuildError>) -> Outline {
    let out = Outline::default().problem(checked);
    if test_mode { out.idle("filter_cfg", "with `test_mode = true` no picture is left out") } else { out }
}
