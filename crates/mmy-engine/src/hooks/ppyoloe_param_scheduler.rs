//! PP-YOLOE's warm-up and cosine decay of the learning rate, as MMYOLO's hook runs them.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Hook, HookKind, Stage, TrainIterContext};
use crate::{Priority, Progress, error::Result, optim::ParamGroup, schedules::Schedules};

register!(HookKind, "PPYOLOEParamSchedulerHook", Config);

/// PP-YOLOE's schedule: the rate goes linearly from `start_factor · base` to `base` over
/// `W = max(round(warmup_epochs · steps per epoch), warmup_min_iter)` steps, then along half a cosine to
/// `min_lr_ratio · base`, which it would reach after `total_epochs`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Steps that the warm-up takes at least.
    pub warmup_min_iter: usize,
    /// The first learning rate, as a share of the config's.
    pub start_factor: f64,
    /// Epochs of warm-up.
    pub warmup_epochs: f64,
    /// The last learning rate, as a share of the config's.
    pub min_lr_ratio: f64,
    /// Epochs to the end of the cosine; PP-YOLOE's 300 epochs of training stop short of its 360.
    pub total_epochs: usize,
    /// When it runs among the hooks of one stage.
    pub priority: Priority,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            warmup_min_iter: 1000,
            start_factor: 0.0,
            warmup_epochs: 5.0,
            min_lr_ratio: 0.0,
            total_epochs: 360,
            priority: Priority::new(9).expect("9 is a priority"),
        }
    }
}

impl Build<HookKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        for (key, value) in [
            ("start_factor", self.start_factor),
            ("warmup_epochs", self.warmup_epochs),
            ("min_lr_ratio", self.min_lr_ratio),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                let error = BuildError::new(format!("`{key}` is {value}")).at(key);
                return Err(error.help("use a number of at least 0"));
            }
        }
        if self.total_epochs == 0 {
            return Err(BuildError::new("`total_epochs` is 0").at("total_epochs").help("PP-YOLOE uses 360"));
        }
        Ok(Box::new(PpyoloeParamScheduler { config: self.clone() }))
    }
}

#[derive(Debug)]
struct PpyoloeParamScheduler {
    config: Config,
}

impl PpyoloeParamScheduler {
    /// The share of the base rate at a step: a function of the step alone, so that it needs no state.
    fn factor(&self, iter: usize, epoch_len: usize) -> f64 {
        let Config { warmup_min_iter, start_factor, warmup_epochs, min_lr_ratio, total_epochs, .. } = self.config;
        let warmup = ((warmup_epochs * epoch_len as f64).round_ties_even() as usize).max(warmup_min_iter);
        if iter <= warmup {
            // An empty warm-up (0 steps) is over at its start.
            let part = if warmup == 0 { 1.0 } else { iter as f64 / warmup as f64 };
            return start_factor + (1.0 - start_factor) * part;
        }
        let length = (total_epochs * epoch_len).saturating_sub(warmup).max(1);
        let part = ((iter - warmup) as f64 / length as f64).min(1.0);
        min_lr_ratio + (1.0 - min_lr_ratio) * 0.5 * ((part * std::f64::consts::PI).cos() + 1.0)
    }
}

impl Hook for PpyoloeParamScheduler {
    fn priority(&self) -> Priority {
        self.config.priority
    }

    fn stages(&self) -> &'static [Stage] {
        &[Stage::BeforeTrainIter]
    }

    fn set_rates(&mut self, _: &Schedules, progress: &Progress, groups: &mut [ParamGroup]) -> Result<()> {
        let factor = self.factor(progress.iter, progress.epoch_len);
        groups.iter_mut().for_each(|it| it.lr = it.initial_lr * factor);
        Ok(())
    }

    fn before_train_iter(&mut self, cx: &mut TrainIterContext<'_>) -> Result<()> {
        self.set_rates(&cx.train.run.param_scheduler, cx.train.progress, cx.train.optim.groups_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_as_the_original_ran_it() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../../tests/golden/ppyoloe_schedule.json")).unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let hook = PpyoloeParamScheduler { config: serde_json::from_value(case["config"].clone()).unwrap() };
            let rows: Vec<[f64; 2]> = serde_json::from_value(case["rows"].clone()).unwrap();
            for (iter, row) in rows.iter().enumerate() {
                let factor = hook.factor(iter, case["epoch_len"].as_u64().unwrap() as usize);
                for (base, want) in [0.01, 0.002].into_iter().zip(row) {
                    // The original's interpolation rounds differently in the last bits.
                    assert!((base * factor - want).abs() < 1e-15, "{iter}: {} is not {want}", base * factor);
                }
            }
        }
    }
}
