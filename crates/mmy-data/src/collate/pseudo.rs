//! `pseudo_collate`: batches for testing.

use std::sync::Arc;

use mmy_registry::{Build, BuildError, register};
use mmy_structures::{Batch, Sample, Targets};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stack;
use crate::{Buffers, Collate, CollateFn, DataError, DatasetSource};

/// Batches for testing: pictures, their metas, and the ground truth in pixels of the stored pictures; nothing to learn.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PseudoCollate {}

register!(Collate, "pseudo_collate", PseudoCollate);

impl Build<Collate> for PseudoCollate {
    fn build(&self, (): ()) -> Result<Arc<dyn CollateFn>, BuildError> {
        Ok(Arc::new(PseudoCollate {}))
    }
}

impl CollateFn for PseudoCollate {
    fn collate(
        &self,
        mut samples: Vec<(usize, Sample)>,
        source: &dyn DatasetSource,
        buffers: &mut Buffers,
    ) -> Result<Batch, DataError> {
        let inputs = stack(&mut samples, buffers)?;
        let ground_truth = samples.iter().map(|(index, _)| source.ground_truth(*index).to_vec()).collect();
        let metas = samples.into_iter().map(|(_, it)| it.meta).collect();
        Ok(Batch { inputs, targets: Targets::none(), metas, ground_truth })
    }
}
