//! A decay at chosen moments.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Curve, LR, MOMENTUM, ParamScheduler, ParamSchedulerKind, ScheduleArgs, Window, WindowKeys, positive};

register!(ParamSchedulerKind, "MultiStepLR", Config<LR>);
register!(ParamSchedulerKind, "MultiStepMomentum", Config<MOMENTUM>);

/// Multiplies the value by `gamma` at each milestone; at one that is there twice, twice.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config<const FORM: u8> {
    /// Epochs (or steps), counted from the beginning of the window.
    pub milestones: Vec<usize>,
    /// The factor.
    #[serde(default = "super::tenth")]
    pub gamma: f64,
    /// First epoch (or step) of the window, from 0.
    #[serde(default)]
    pub begin: usize,
    /// End of the window, not included; by default that of the run.
    #[serde(default)]
    pub end: Option<usize>,
    /// Whether it counts in epochs and changes between them; otherwise in training steps.
    #[serde(default = "super::yes")]
    pub by_epoch: bool,
    /// Turns every number of epochs into steps, so that the value changes with each step.
    #[serde(default)]
    pub convert_to_iter_based: bool,
}

impl<const FORM: u8> Build<ParamSchedulerKind> for Config<FORM> {
    fn build(&self, args: ScheduleArgs) -> Result<ParamScheduler, BuildError> {
        positive("gamma", self.gamma)?;
        let Config { begin, end, by_epoch, convert_to_iter_based, .. } = *self;
        let window = Window::new(WindowKeys { begin, end, by_epoch, convert_to_iter_based }, args)?;
        let at = self.milestones.iter().map(|it| it * window.scale).collect();
        let curve = Milestones { at, gamma: self.gamma };
        Ok(ParamScheduler::curve(FORM, window, curve))
    }
}

#[derive(Debug)]
struct Milestones {
    at: Vec<usize>,
    gamma: f64,
}

impl Curve for Milestones {
    fn next(&self, step: usize, value: f64, _: f64) -> f64 {
        let times = self.at.iter().filter(|it| **it == step).count();
        if times == 0 { value } else { value * self.gamma.powi(times as i32) }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::walk, *};

    #[test]
    fn a_milestone_counts_as_often_as_it_is_there() {
        let curve = Milestones { at: vec![2, 4, 4], gamma: 0.5 };
        assert_eq!(walk(&curve, 6, 1.0), [1.0, 1.0, 0.5, 0.5, 0.125, 0.125]);
    }
}
