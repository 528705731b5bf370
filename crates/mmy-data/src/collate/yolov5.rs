//! `yolov5_collate`: batches for training.

use std::sync::Arc;

use mmy_registry::{Build, BuildError, register};
use mmy_structures::{Batch, Sample, Targets};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stack;
use crate::{Buffers, Collate, CollateFn, DataError, DatasetSource};

/// Batches for training: pictures, and all their boxes in one table of (picture in the batch, class, x1, y1, x2, y2) in
/// pixels of the network input.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Yolov5Collate {}

register!(Collate, "yolov5_collate", Yolov5Collate);

impl Build<Collate> for Yolov5Collate {
    fn build(&self, (): ()) -> Result<Arc<dyn CollateFn>, BuildError> {
        Ok(Arc::new(Yolov5Collate {}))
    }
}

impl CollateFn for Yolov5Collate {
    fn collate(
        &self,
        mut samples: Vec<(usize, Sample)>,
        _: &dyn DatasetSource,
        buffers: &mut Buffers,
    ) -> Result<Batch, DataError> {
        let inputs = stack(&mut samples, buffers)?;
        let targets = Targets::from_instances(samples.iter().map(|(_, it)| it.instances.as_slice()));
        let metas = samples.into_iter().map(|(_, it)| it.meta).collect();
        Ok(Batch { inputs, targets, metas, ground_truth: Vec::new() })
    }
}
