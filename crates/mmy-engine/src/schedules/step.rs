//! A decay in equal stairs.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Curve, LR, MOMENTUM, ParamScheduler, ParamSchedulerKind, ScheduleArgs, Window, WindowKeys, at_least_one, positive,
};

register!(ParamSchedulerKind, "StepLR", Config<LR>);
register!(ParamSchedulerKind, "StepMomentum", Config<MOMENTUM>);

/// Multiplies the value by `gamma` after every `step_size` epochs (or steps).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config<const FORM: u8> {
    /// Epochs (or steps) between two changes.
    pub step_size: usize,
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
        at_least_one("step_size", self.step_size)?;
        positive("gamma", self.gamma)?;
        let Config { begin, end, by_epoch, convert_to_iter_based, .. } = *self;
        let window = Window::new(WindowKeys { begin, end, by_epoch, convert_to_iter_based }, args)?;
        let curve = Stairs { size: self.step_size * window.scale, gamma: self.gamma };
        Ok(ParamScheduler::curve(FORM, window, curve))
    }
}

#[derive(Debug)]
struct Stairs {
    size: usize,
    gamma: f64,
}

impl Curve for Stairs {
    fn next(&self, step: usize, value: f64, _: f64) -> f64 {
        if step > 0 && step.is_multiple_of(self.size) { value * self.gamma } else { value }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{near, walk},
        *,
    };

    #[test]
    fn stairs_are_equal() {
        let curve = Stairs { size: 3, gamma: 0.1 };
        near(&walk(&curve, 10, 1.0), |step| 0.1f64.powf((step / 3.0).floor()));
    }
}
