//! YOLOv5's warm-up and decay of learning rate and momentum, as MMYOLO's hook runs them.

use mmy_registry::{Build, BuildError, Outline, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Hook, HookKind, Stage, TrainContext, TrainIterContext, WarmupOutline};
use crate::{Priority, Progress, error::Result, optim::ParamGroup, schedules::Schedules};

register!(HookKind, "YOLOv5ParamSchedulerHook", Config);

/// The group whose warm-up starts at `warmup_bias_lr`: `YOLOv5OptimizerConstructor` puts the biases there.
const BIAS_GROUP: usize = 2;

/// YOLOv5's warm-up and decay of learning rate and momentum.
///
/// With `f(x) = (1 − x/E)(1 − k) + k` (linear; or a cosine of the same ends), `E = max_epochs`, `k = lr_factor`: while
/// `iter ≤ W = max(round(warmup_epochs · steps per epoch), warmup_mim_iter)` the rate goes linearly from 0 (biases: from
/// `warmup_bias_lr`) to `base · f(epoch)`, the momentum from `warmup_momentum` to its own; afterwards the rate changes
/// after each epoch to `base · f(index of that epoch)`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Shape of the decay.
    pub scheduler_type: Shape,
    /// The last learning rate, as a share of the first.
    pub lr_factor: f64,
    /// Epochs over which the rate decays; by default those of the run.
    pub max_epochs: Option<usize>,
    /// Epochs of warm-up.
    pub warmup_epochs: f64,
    /// Learning rate at which the biases start.
    pub warmup_bias_lr: f64,
    /// Momentum at the start.
    pub warmup_momentum: f64,
    /// Steps that the warm-up takes at least (the name is MMYOLO's).
    pub warmup_mim_iter: usize,
    /// When it runs among the hooks of one stage.
    pub priority: Priority,
}

/// Shape of a decay from 1 to `lr_factor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// A straight line.
    Linear,
    /// Half a cosine.
    Cosine,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            scheduler_type: Shape::Linear,
            lr_factor: 0.01,
            max_epochs: None,
            warmup_epochs: 3.0,
            warmup_bias_lr: 0.1,
            warmup_momentum: 0.8,
            warmup_mim_iter: 1000,
            priority: Priority::new(9).expect("9 is a priority"),
        }
    }
}

impl Build<HookKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        if !(self.warmup_epochs.is_finite() && self.warmup_epochs >= 0.0) {
            let error = BuildError::new(format!("`warmup_epochs` is {}", self.warmup_epochs));
            return Err(error.at("warmup_epochs").help("use a number of at least 0"));
        }
        if self.max_epochs == Some(0) {
            return Err(BuildError::new("`max_epochs` is 0")
                .at("max_epochs")
                .help("leave it out to use the run's own"));
        }
        Ok(Box::new(Yolov5ParamScheduler { config: self.clone() }))
    }

    fn outline(&self) -> Outline {
        Outline::default().fact(WarmupOutline {
            epochs: self.warmup_epochs,
            epochs_key: "warmup_epochs",
            min_steps: self.warmup_mim_iter,
            min_steps_key: "warmup_mim_iter",
        })
    }
}

#[derive(Debug)]
struct Yolov5ParamScheduler {
    config: Config,
}

impl Yolov5ParamScheduler {
    /// The decay factor at epoch `x` of `epochs`.
    fn factor(&self, x: usize, epochs: usize) -> f64 {
        let (part, low) = (x as f64 / epochs as f64, self.config.lr_factor);
        match self.config.scheduler_type {
            Shape::Linear => (1.0 - part) * (1.0 - low) + low,
            Shape::Cosine => (1.0 - (part * std::f64::consts::PI).cos()) / 2.0 * (low - 1.0) + 1.0,
        }
    }

    /// The last step of the warm-up.
    fn warmup_end(&self, epoch_len: usize) -> usize {
        let steps = (self.config.warmup_epochs * epoch_len as f64).round_ties_even() as usize;
        steps.max(self.config.warmup_mim_iter)
    }

    /// Learning rate and momentum of a group at a step: a function of the progress alone, so that it needs no state.
    fn at(&self, progress: &Progress, group: usize, base_lr: f64, base_momentum: f64) -> (f64, f64) {
        let epochs = self.config.max_epochs.unwrap_or(progress.max_epochs);
        let end = self.warmup_end(progress.epoch_len);
        if progress.iter > end {
            // The original changes the rate after an epoch, to the factor of the epoch that is just over; so the epoch in
            // which the warm-up ended keeps the rate that the warm-up led to.
            let warmed_up_here = progress.epoch * progress.epoch_len <= end;
            let x = if warmed_up_here { progress.epoch } else { progress.epoch - 1 };
            return (base_lr * self.factor(x, epochs), base_momentum);
        }
        // An empty warm-up (0 steps) is over at its start.
        let part = if end == 0 { 1.0 } else { progress.iter as f64 / end as f64 };
        let between = |from: f64, to: f64| from + (to - from) * part;
        let from = if group == BIAS_GROUP { self.config.warmup_bias_lr } else { 0.0 };
        let lr = between(from, base_lr * self.factor(progress.epoch, epochs));
        (lr, between(self.config.warmup_momentum, base_momentum))
    }
}

impl Hook for Yolov5ParamScheduler {
    fn priority(&self) -> Priority {
        self.config.priority
    }

    fn stages(&self) -> &'static [Stage] {
        &[Stage::BeforeTrain, Stage::BeforeTrainIter]
    }

    fn set_rates(&mut self, _: &Schedules, progress: &Progress, groups: &mut [ParamGroup]) -> Result<()> {
        for (index, group) in groups.iter_mut().enumerate() {
            (group.lr, group.momentum) = self.at(progress, index, group.initial_lr, group.initial_momentum);
        }
        Ok(())
    }

    fn before_train(&mut self, cx: &mut TrainContext<'_>) -> Result<()> {
        let (end, total) = (self.warmup_end(cx.progress.epoch_len), cx.progress.max_iters());
        if end >= total {
            tracing::warn!(
                "the warm-up takes {end} iterations and the run has {total}: the learning rate never gets past the \
                 warm-up. Lower `warmup_mim_iter` (now {}) or `warmup_epochs` (now {}).",
                self.config.warmup_mim_iter,
                self.config.warmup_epochs
            );
        }
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
    fn factors_of_both_shapes_meet_at_the_ends() {
        for shape in [Shape::Linear, Shape::Cosine] {
            let hook = Yolov5ParamScheduler { config: Config { scheduler_type: shape, ..Config::default() } };
            assert_eq!(hook.factor(0, 300), 1.0);
            assert!((hook.factor(300, 300) - 0.01).abs() < 1e-15);
        }
    }

    #[test]
    fn warmup_is_at_least_the_minimum() {
        let hook = Yolov5ParamScheduler { config: Config::default() };
        assert_eq!((hook.warmup_end(20), hook.warmup_end(500)), (1000, 1500));
    }

    #[test]
    fn every_step_is_as_the_original_ran_it() {
        // Rows: epoch, iteration, the three groups' learning rates, their momenta.
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../../tests/golden/scheduler.json")).unwrap();
        let cases = [
            ("linear_short", Shape::Linear, 5, 8, 3.0, 12),
            ("cosine_short", Shape::Cosine, 5, 8, 3.0, 12),
            ("linear_epochwarm", Shape::Linear, 10, 6, 2.0, 5),
        ];
        for (name, scheduler_type, epoch_len, max_epochs, warmup_epochs, warmup_mim_iter) in cases {
            let config = Config { scheduler_type, warmup_epochs, warmup_mim_iter, ..Config::default() };
            let hook = Yolov5ParamScheduler { config };
            let rows: Vec<[f64; 8]> = serde_json::from_value(golden["rows"][name].clone()).unwrap();
            assert_eq!(rows.len(), epoch_len * max_epochs);
            for row in rows {
                let (epoch, iter) = (row[0] as usize, row[1] as usize);
                let progress = Progress { epoch, iter, max_epochs, epoch_len, ..Progress::default() };
                for group in 0..3 {
                    let (lr, momentum) = hook.at(&progress, group, 0.01, 0.937);
                    // The interpolation of the original rounds differently in the last bit.
                    assert!((lr - row[2 + group]).abs() < 1e-15, "{name} {iter}: {lr} is not {}", row[2 + group]);
                    assert!((momentum - row[5 + group]).abs() < 1e-15, "{name} {iter}: momentum {momentum}");
                }
            }
        }
    }
}
