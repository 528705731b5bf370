//! `LoadAnnotations`: brings in the objects.

use mmy_registry::{Build, BuildError, register};
use mmy_structures::Sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Context, DataError, Transform, TransformStep};

/// Brings in the picture's objects, in pixels of the stored picture; crowd and difficult ones stay out.
///
/// In training it stands before the transforms that move boxes; when testing its place does not matter, since metrics
/// take their ground truth from the data set.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether boxes are brought in.
    pub with_bbox: bool,
    /// Whether classes are brought in; only together with the boxes.
    pub with_label: bool,
    /// Whether masks are brought in. Only false.
    pub with_mask: bool,
    /// Whether segmentation maps are brought in. Only false.
    pub with_seg: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { with_bbox: true, with_label: true, with_mask: false, with_seg: false }
    }
}

register!(Transform, "LoadAnnotations", Config);

impl Build<Transform> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn TransformStep>, BuildError> {
        for (key, set) in [("with_mask", self.with_mask), ("with_seg", self.with_seg)] {
            if set {
                return Err(BuildError::new("only boxes can be learnt").at(key));
            }
        }
        if self.with_bbox != self.with_label {
            return Err(BuildError::new("boxes and classes come together").at("with_label"));
        }
        Ok(Box::new(self.clone()))
    }
}

impl TransformStep for Config {
    fn apply(&self, mut sample: Sample, context: &mut Context<'_>) -> Result<Option<Sample>, DataError> {
        if self.with_bbox {
            let all = context.source.ground_truth(context.index);
            sample.instances.clear();
            sample.instances.extend(all.iter().filter(|it| !it.ignore));
        }
        Ok(Some(sample))
    }
}
