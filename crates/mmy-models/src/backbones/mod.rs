//! Pictures to feature maps.

pub mod layer_list_backbone;
pub mod mobileone;
pub mod mobileone_sizes;
pub mod revcol;
pub mod revcol_sizes;
pub mod starnet;
pub mod starnet_sizes;
pub mod yolov5_csp_darknet;

use mmy_registry::{BuildError, Code};

/// Errors unless `out_indices` are some of the stages `0..stages`, each once, finest first.
fn check_out_indices(out_indices: &[usize], stages: usize) -> Result<(), BuildError> {
    let error = |message: String| Err(BuildError::new(message).code(Code::OutOfRange).at("out_indices"));
    if let Some(index) = out_indices.iter().find(|it| **it >= stages) {
        return error(format!("there is no stage {index}: stages are 0 to {}", stages - 1));
    }
    if out_indices.is_empty() || !out_indices.is_sorted_by(|a, b| a < b) {
        return error(format!("{out_indices:?} does not name stages from the finest to the coarsest, each once"));
    }
    Ok(())
}
