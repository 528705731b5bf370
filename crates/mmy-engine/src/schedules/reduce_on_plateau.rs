//! A lower value when a metric no longer gets better.

use mmy_eval::Evaluation;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LR, MOMENTUM, Motion, Param, ParamScheduler, ParamSchedulerKind, ScheduleArgs, Window, WindowKeys};
use crate::{
    EngineError,
    error::Result,
    hooks::{Rule, monitored},
};

register!(ParamSchedulerKind, "ReduceOnPlateauLR", Config<LR>);
register!(ParamSchedulerKind, "ReduceOnPlateauMomentum", Config<MOMENTUM>);

/// Multiplies the value by `factor` after more than `patience` validations in a row that were not better than the best one
/// so far.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config<const FORM: u8> {
    /// The metric, such as `"coco/bbox_mAP"`.
    pub monitor: String,
    /// Whether more is better; by default it is told from the metric's name.
    #[serde(default)]
    pub rule: Option<Rule>,
    /// The factor, above 0 and below 1.
    #[serde(default = "super::tenth")]
    pub factor: f64,
    /// Validations without progress that are let pass.
    #[serde(default = "ten")]
    pub patience: usize,
    /// By how much a value has to be better to count.
    #[serde(default = "ten_thousandth")]
    pub threshold: f64,
    /// Whether `threshold` is a share of the best value or a difference to it.
    #[serde(default)]
    pub threshold_rule: Threshold,
    /// Validations after a change that do not count.
    #[serde(default)]
    pub cooldown: usize,
    /// The value does not fall below this.
    #[serde(default)]
    pub min_value: f64,
    /// A change smaller than this is not made.
    #[serde(default = "tiny")]
    pub eps: f64,
    /// First epoch of the window, from 0.
    #[serde(default)]
    pub begin: usize,
    /// End of the window, not included; by default that of the run.
    #[serde(default)]
    pub end: Option<usize>,
    /// Taken for mmengine's sake: validations are counted, so that only `true` makes sense.
    #[serde(default = "super::yes")]
    pub by_epoch: bool,
}

/// How two values of a metric are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Threshold {
    /// `threshold` is a share of the best value.
    #[default]
    Rel,
    /// `threshold` is a difference to the best value.
    Abs,
}

fn ten() -> usize {
    10
}

fn ten_thousandth() -> f64 {
    1e-4
}

fn tiny() -> f64 {
    1e-8
}

impl<const FORM: u8> Build<ParamSchedulerKind> for Config<FORM> {
    fn build(&self, args: ScheduleArgs) -> Result<ParamScheduler, BuildError> {
        if !(self.factor > 0.0 && self.factor < 1.0) {
            let error = BuildError::new(format!("`factor` is {}", self.factor)).at("factor");
            return Err(error.help("use a number above 0 and below 1"));
        }
        if self.threshold.is_nan() || self.threshold < 0.0 {
            return Err(BuildError::new(format!("`threshold` is {}", self.threshold)).at("threshold"));
        }
        if !self.by_epoch {
            let error = BuildError::new("a plateau is seen in validations, which come between epochs").at("by_epoch");
            return Err(error.help("leave it out"));
        }
        let Some(rule) = self.rule.or_else(|| Rule::of(&self.monitor)) else {
            let error = BuildError::new(format!("whether more of `{}` is better is not known", self.monitor));
            return Err(error.at("rule").help("set it to \"greater\" or \"less\""));
        };
        let keys = WindowKeys { begin: self.begin, end: self.end, by_epoch: true, convert_to_iter_based: false };
        let Config { factor, patience, threshold, threshold_rule, cooldown, min_value, eps, .. } = *self;
        let monitor = self.monitor.clone();
        let plateau = Plateau { monitor, rule, factor, patience, threshold, threshold_rule, cooldown, min_value, eps };
        Ok(ParamScheduler {
            param: Param::of(FORM),
            window: Window::new(keys, args)?,
            motion: Motion::Plateau(plateau),
        })
    }
}

/// The rule without its window.
#[derive(Debug)]
pub(super) struct Plateau {
    monitor: String,
    rule: Rule,
    factor: f64,
    patience: usize,
    threshold: f64,
    threshold_rule: Threshold,
    cooldown: usize,
    min_value: f64,
    eps: f64,
}

/// What it remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    best: Option<f64>,
    /// Validations since then, save those of a cool-down.
    worse: usize,
    /// Validations that are left of the cool-down.
    cooldown: usize,
}

impl Plateau {
    /// Notes a validation; whether the value has to fall.
    pub(super) fn sees(&self, memory: &mut Memory, evaluation: &Evaluation) -> Result<bool, EngineError> {
        let metric = monitored("monitor", &self.monitor, evaluation)?;
        // What is no number is never better.
        if !metric.is_nan() && memory.best.is_none_or(|best| self.is_better(metric, best)) {
            (memory.best, memory.worse) = (Some(metric), 0);
        } else {
            memory.worse += 1;
        }
        if memory.cooldown > 0 {
            memory.cooldown -= 1;
            memory.worse = 0;
        }
        let falls = memory.worse > self.patience;
        if falls {
            tracing::info!("`{}` has not got better for {} validations", self.monitor, memory.worse);
            (memory.worse, memory.cooldown) = (0, self.cooldown);
        }
        Ok(falls)
    }

    fn is_better(&self, metric: f64, best: f64) -> bool {
        let sign = if self.rule == Rule::Greater { 1.0 } else { -1.0 };
        let bar = match self.threshold_rule {
            Threshold::Rel => best * (1.0 + sign * self.threshold),
            Threshold::Abs => best + sign * self.threshold,
        };
        self.rule.better(metric, bar)
    }

    /// The value after a fall.
    pub(super) fn lower(&self, value: f64) -> f64 {
        let lower = (value * self.factor).max(self.min_value);
        if value - lower > self.eps { lower } else { value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_falls_after_more_than_patience_and_not_in_a_cool_down() {
        let json = r#"{"monitor": "coco/bbox_mAP", "patience": 1, "cooldown": 2, "threshold": 0.0, "factor": 0.5}"#;
        let config: Config<LR> = serde_json::from_str(json).unwrap();
        let built = config.build(ScheduleArgs { epoch_len: 1, max_epochs: 20, max_iters: 20 }).unwrap();
        let Motion::Plateau(plateau) = built.motion else { panic!("a plateau is one") };
        let mut memory = Memory::default();
        let metrics = [f64::NAN, 0.1, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.3];
        let falls: Vec<_> = metrics
            .into_iter()
            .map(|value| {
                let values = vec![("coco/bbox_mAP".to_owned(), value)];
                plateau.sees(&mut memory, &Evaluation { values, table: None }).unwrap()
            })
            .collect();
        let at: Vec<_> = (0..falls.len()).filter(|it| falls[*it]).collect();
        assert_eq!(at, [4, 8]);
        assert_eq!((plateau.lower(0.1), plateau.lower(1e-9)), (0.05, 1e-9));
    }

    #[test]
    fn what_a_plateau_cannot_be_is_refused_at_its_key() {
        let args = ScheduleArgs { epoch_len: 1, max_epochs: 20, max_iters: 20 };
        let path = |json: &str| serde_json::from_str::<Config<MOMENTUM>>(json).unwrap().build(args).unwrap_err().path;
        assert_eq!(path(r#"{"monitor": "loss", "factor": 1.0}"#), ["factor"]);
        assert_eq!(path(r#"{"monitor": "loss", "by_epoch": false}"#), ["by_epoch"]);
        assert_eq!(path(r#"{"monitor": "speed"}"#), ["rule"]);
        assert_eq!(path(r#"{"monitor": "loss", "threshold": -1.0}"#), ["threshold"]);
    }
}
