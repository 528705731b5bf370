//! An exponential decay.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Curve, LR, MOMENTUM, ParamScheduler, ParamSchedulerKind, ScheduleArgs, Window, WindowKeys, positive};

register!(ParamSchedulerKind, "ExponentialLR", Config<LR>);
register!(ParamSchedulerKind, "ExponentialMomentum", Config<MOMENTUM>);

/// Multiplies the value by `gamma` with each epoch (or step).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config<const FORM: u8> {
    /// The factor.
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
        let curve = Exponential(self.gamma);
        Ok(ParamScheduler::curve(FORM, window, curve))
    }
}

#[derive(Debug)]
struct Exponential(f64);

impl Curve for Exponential {
    fn next(&self, step: usize, value: f64, _: f64) -> f64 {
        if step == 0 { value } else { value * self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{near, walk},
        *,
    };

    #[test]
    fn each_step_multiplies() {
        near(&walk(&Exponential(0.9), 20, 0.1), |step| 0.1 * 0.9f64.powf(step));
    }
}
