//! Data sets.

mod class_balanced;
mod coco;
mod coco_json;
mod concat;
mod faults;
mod file;
mod labelme;
pub(crate) mod labelme_files;
mod multi_image_mix;
mod repeat;
mod selection;
mod shapes;
mod shared;
pub(crate) mod voc;
mod yolo;
pub(crate) mod yolo_files;

pub(crate) use faults::box_fault;
use mmy_registry::{BuildError, Outline};

pub use file::{FileDataset, FilterConfig, MetaInfo, Record};

/// Most samples that data sets around others make of them.
const MOST_SAMPLES: usize = 1 << 28;

/// What all data sets of this crate say of themselves: what is wrong with their keys, and which have no effect.
fn outline(test_mode: bool, checked: Result<(), BuildError>) -> Outline {
    let out = Outline::default().problem(checked);
    if test_mode { out.idle("filter_cfg", "with `test_mode = true` no picture is left out") } else { out }
}
