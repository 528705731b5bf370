//! The `*_dataloader` tables of a config.

use std::sync::{Arc, Mutex};

use mmy_registry::{BuildError, Slot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Inner, Loader};
use crate::{Collate, CollateFn, Dataset, Sampler, SamplerArgs};

/// The `train_dataloader`, `val_dataloader` and `test_dataloader` tables of a config.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataloaderConfig {
    /// Samples in a batch.
    #[serde(default = "one")]
    pub batch_size: usize,
    /// Threads that prepare batches; 0 prepares each in the caller, when it is asked for. The batches are the same with
    /// any number.
    #[serde(default)]
    pub num_workers: usize,
    /// Taken, without effect: threads cost nothing to start.
    #[serde(default)]
    pub persistent_workers: bool,
    /// Taken, without effect: threads share their memory with the model.
    #[serde(default)]
    pub pin_memory: bool,
    /// Whether the last batch of an epoch is left out when it is not full.
    #[serde(default)]
    pub drop_last: bool,
    /// Batches in memory at once, for each worker.
    #[serde(default = "two")]
    pub prefetch_factor: usize,
    /// Seconds to wait for a batch of the loader's threads before the run ends with the names of the pictures that they
    /// are at; 0 waits for ever.
    #[serde(default = "ten_minutes")]
    pub timeout: u64,
    /// What to do when a picture cannot be read.
    #[serde(default)]
    pub on_bad_image: OnBadImage,
    /// The order of the samples.
    pub sampler: Slot<Sampler>,
    /// How samples become a batch; `pseudo_collate` when it is not given.
    #[serde(default)]
    pub collate_fn: Option<Slot<Collate>>,
    /// Where the samples come from.
    pub dataset: Slot<Dataset>,
}

/// What to do when a picture cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadImage {
    /// Reports the picture once and draws another in its place; while testing, an error all the same.
    #[default]
    Redraw,
    /// Stops the run.
    Error,
}

fn one() -> usize {
    1
}

fn two() -> usize {
    2
}

fn ten_minutes() -> u64 {
    600
}

/// What a loader is built with besides its config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoaderArgs {
    /// Seed of the run.
    pub seed: u64,
}

impl DataloaderConfig {
    /// Builds data set, sampler and loader; reads the annotations, no picture.
    ///
    /// # Errors
    /// When a part cannot be built, or the data set has no sample.
    pub fn build(&self, args: LoaderArgs) -> Result<Loader, BuildError> {
        for (key, value) in [("batch_size", self.batch_size), ("prefetch_factor", self.prefetch_factor)] {
            if value == 0 {
                return Err(BuildError::new("must be at least 1").at(key));
            }
        }
        for (key, set) in [("persistent_workers", self.persistent_workers), ("pin_memory", self.pin_memory)] {
            if set {
                tracing::info!("{key} has no effect: the loader's workers are threads");
            }
        }
        let collate: Arc<dyn CollateFn> = match &self.collate_fn {
            Some(slot) => slot.build(())?,
            None => Arc::new(crate::collate::PseudoCollate {}),
        };
        let source = self.dataset.build(())?;
        if source.is_empty() {
            let help = "look at ann_file, data_prefix, filter_cfg and metainfo.classes";
            return Err(BuildError::new("the data set has no samples").at(self.dataset.path()).help(help));
        }
        let order = self.sampler.build(SamplerArgs { len: source.len(), seed: args.seed })?;
        let inner = Inner {
            source,
            order,
            collate,
            batch_size: self.batch_size,
            drop_last: self.drop_last,
            num_workers: self.num_workers,
            prefetch_factor: self.prefetch_factor,
            timeout: self.timeout,
            on_bad_image: self.on_bad_image,
            seed: args.seed,
            reported: Mutex::default(),
        };
        Ok(Loader { inner: Arc::new(inner) })
    }
}
