//! A polynomial decay.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Curve, LR, MOMENTUM, ParamScheduler, ParamSchedulerKind, ScheduleArgs, Window, WindowKeys, positive};

register!(ParamSchedulerKind, "PolyLR", Config<LR>);
register!(ParamSchedulerKind, "PolyMomentum", Config<MOMENTUM>);

/// Lets the value fall to `eta_min` at the window's last step, along `(1 − progress)` to the power `power`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config<const FORM: u8> {
    /// The last value.
    #[serde(default)]
    pub eta_min: f64,
    /// 1 is a straight line, more falls faster at first.
    #[serde(default = "one")]
    pub power: f64,
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

fn one() -> f64 {
    1.0
}

impl<const FORM: u8> Build<ParamSchedulerKind> for Config<FORM> {
    fn build(&self, args: ScheduleArgs) -> Result<ParamScheduler, BuildError> {
        positive("power", self.power)?;
        let Config { begin, end, by_epoch, convert_to_iter_based, .. } = *self;
        let window = Window::new(WindowKeys { begin, end, by_epoch, convert_to_iter_based }, args)?;
        let curve = Poly { floor: self.eta_min, power: self.power, last: window.len() - 1 };
        Ok(ParamScheduler::curve(FORM, window, curve))
    }
}

#[derive(Debug)]
struct Poly {
    floor: f64,
    power: f64,
    /// The last step of the window.
    last: usize,
}

impl Curve for Poly {
    fn next(&self, step: usize, value: f64, _: f64) -> f64 {
        if step == 0 {
            return value;
        }
        let left = (self.last + 1 - step) as f64;
        (value - self.floor) * (1.0 - 1.0 / left).powf(self.power) + self.floor
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{near, walk},
        *,
    };

    #[test]
    fn the_decay_is_the_polynomial() {
        let curve = Poly { floor: 0.01, power: 2.0, last: 10 };
        near(&walk(&curve, 11, 0.1), |step| 0.09 * (1.0 - step / 10.0).powi(2) + 0.01);
    }
}
