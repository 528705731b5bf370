//! `PackDetInputs`: the end of a pipeline.

use mmy_registry::{Build, BuildError, register};
use mmy_structures::Sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Context, DataError, Transform, TransformStep};

/// The end of a pipeline: looks whether there is a picture. The loader puts samples into tensors itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which properties of the picture go along. Taken, without effect: all of them do.
    pub meta_keys: Vec<String>,
}

register!(Transform, "PackDetInputs", Config);

impl Build<Transform> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn TransformStep>, BuildError> {
        Ok(Box::new(PackDetInputs))
    }
}

struct PackDetInputs;

impl TransformStep for PackDetInputs {
    fn apply(&self, sample: Sample, context: &mut Context<'_>) -> Result<Option<Sample>, DataError> {
        if sample.image.data().is_empty() {
            return Err(DataError::Transform {
                transform: "PackDetInputs",
                index: context.index,
                path: sample.meta.img_path,
                reason: "there is no picture; LoadImageFromFile comes first".into(),
            });
        }
        Ok(Some(sample))
    }
}
