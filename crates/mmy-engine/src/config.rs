//! The typed root of a config.

use std::{collections::BTreeMap, path::PathBuf};

use mmy_data::DataloaderConfig;
use mmy_eval::Metric;
use mmy_models::kinds::Detector;
use mmy_registry::{BuildError, Slot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    hooks::HookKind,
    loops::{EvalLoopKind, TrainLoopKind},
    optim::OptimWrapperKind,
    schedules::ParamSchedulerKind,
};

/// The root of a config: a model, data, and how to train, validate and test.
///
/// The three keys of training (`train_dataloader`, `train_cfg`, `optim_wrapper`) belong together, as do those of
/// validation and those of the test: all of a group are there, or none.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The detector.
    pub model: Slot<Detector>,
    /// Training data.
    #[serde(default)]
    pub train_dataloader: Option<DataloaderConfig>,
    /// Validation data.
    #[serde(default)]
    pub val_dataloader: Option<DataloaderConfig>,
    /// Test data.
    #[serde(default)]
    pub test_dataloader: Option<DataloaderConfig>,
    /// How long to train, and when to validate.
    #[serde(default)]
    pub train_cfg: Option<Slot<TrainLoopKind>>,
    /// How to validate.
    #[serde(default)]
    pub val_cfg: Option<Slot<EvalLoopKind>>,
    /// How to test.
    #[serde(default)]
    pub test_cfg: Option<Slot<EvalLoopKind>>,
    /// The metric of the validation.
    #[serde(default)]
    pub val_evaluator: Option<Slot<Metric>>,
    /// The metric of the test.
    #[serde(default)]
    pub test_evaluator: Option<Slot<Metric>>,
    /// The optimiser and how its steps run.
    #[serde(default)]
    pub optim_wrapper: Option<Slot<OptimWrapperKind>>,
    /// Schedules of learning rate and momentum, which `ParamSchedulerHook` runs.
    #[serde(default)]
    pub param_scheduler: Vec<Slot<ParamSchedulerKind>>,
    /// Learning rates that follow the batch size.
    #[serde(default)]
    pub auto_scale_lr: AutoScaleLr,
    /// Hooks that every run has, each under a name of its own, by which a later config can change it.
    #[serde(default)]
    pub default_hooks: BTreeMap<String, Slot<HookKind>>,
    /// Hooks that this run has besides.
    #[serde(default)]
    pub custom_hooks: Vec<Slot<HookKind>>,
    /// Threads.
    #[serde(default)]
    pub env_cfg: EnvConfig,
    /// Seeds.
    #[serde(default)]
    pub randomness: Randomness,
    /// How log lines are made.
    #[serde(default)]
    pub log_processor: LogProcessor,
    /// Folder of checkpoints and logs; by default `work_dirs/` and the config's name.
    #[serde(default)]
    pub work_dir: Option<PathBuf>,
    /// A checkpoint whose weights to start from, or to go on from with `resume`.
    #[serde(default)]
    pub load_from: Option<PathBuf>,
    /// Go on from `load_from`, or else from the newest checkpoint in `work_dir`.
    #[serde(default)]
    pub resume: bool,
}

/// Learning rates that follow the batch size (Goyal and others 2017): with twice the pictures in a step, twice the rate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AutoScaleLr {
    /// Whether learning rates are multiplied by `train_dataloader.batch_size / base_batch_size`.
    pub enable: bool,
    /// The batch size that the config's learning rate was chosen for.
    pub base_batch_size: Option<usize>,
}

impl AutoScaleLr {
    /// What learning rates are multiplied by, with that many pictures in a step.
    ///
    /// # Errors
    /// When it is on and the base is missing or 0.
    pub fn factor(&self, batch_size: usize) -> Result<f64, BuildError> {
        if !self.enable {
            return Ok(1.0);
        }
        let Some(base) = self.base_batch_size.filter(|it| *it > 0) else {
            let error = BuildError::new("the batch size that the learning rate was chosen for is not known");
            return Err(error.at("auto_scale_lr.base_batch_size").help("set it, or `auto_scale_lr.enable = false`"));
        };
        let factor = batch_size as f64 / base as f64;
        tracing::info!("learning rates are multiplied by {factor} = {batch_size} / {base}");
        Ok(factor)
    }
}

impl RunConfig {
    /// The keys of the root.
    pub fn keys() -> Vec<String> {
        let schema = schemars::schema_for!(RunConfig);
        let keys = schema.get("properties").and_then(|it| it.as_object());
        keys.into_iter().flat_map(|it| it.keys().cloned()).collect()
    }
}

/// Threads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnvConfig {
    /// Threads of libtorch's own; by default one for each physical core. Sums depend on it, so a resumed run takes the
    /// checkpoint's.
    pub num_threads: Option<usize>,
}

/// Seeds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Randomness {
    /// Seed of everything: initial weights, order of the data, augmentation.
    pub seed: u64,
}

/// How log lines are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogProcessor {
    /// Steps over which losses and times are averaged.
    pub window_size: usize,
}

impl Default for LogProcessor {
    fn default() -> Self {
        LogProcessor { window_size: 10 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learning_rates_follow_the_batch_size_when_asked() {
        let scale = |enable, base_batch_size| AutoScaleLr { enable, base_batch_size }.factor(48);
        assert_eq!(scale(false, None), Ok(1.0));
        assert_eq!(scale(true, Some(64)), Ok(0.75));
        assert_eq!(scale(true, Some(0)).unwrap_err().path, ["auto_scale_lr", "base_batch_size"]);
    }
}
