//! A factor over a window.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Curve, LR, MOMENTUM, ParamScheduler, ParamSchedulerKind, ScheduleArgs, Window, WindowKeys};

register!(ParamSchedulerKind, "ConstantLR", Config<LR>);
register!(ParamSchedulerKind, "ConstantMomentum", Config<MOMENTUM>);

/// Multiplies the value by `factor` at the beginning of the window, and takes it back at its last step.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config<const FORM: u8> {
    /// The factor, above 0 and up to 1.
    #[serde(default = "super::third")]
    pub factor: f64,
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
        if !(self.factor > 0.0 && self.factor <= 1.0) {
            let error = BuildError::new(format!("`factor` is {}", self.factor)).at("factor");
            return Err(error.help("use a number above 0 and up to 1"));
        }
        let Config { begin, end, by_epoch, convert_to_iter_based, .. } = *self;
        let window = Window::new(WindowKeys { begin, end, by_epoch, convert_to_iter_based }, args)?;
        let curve = Constant { factor: self.factor, last: window.len() - 1 };
        Ok(ParamScheduler::curve(FORM, window, curve))
    }
}

#[derive(Debug)]
struct Constant {
    factor: f64,
    /// The last step of the window.
    last: usize,
}

impl Curve for Constant {
    fn next(&self, step: usize, value: f64, _: f64) -> f64 {
        match step {
            0 => value * self.factor,
            _ if step == self.last => value * (1.0 / self.factor),
            _ => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::walk, *};

    #[test]
    fn the_factor_holds_within_the_window() {
        let curve = Constant { factor: 0.5, last: 3 };
        assert_eq!(walk(&curve, 5, 0.1), [0.05, 0.05, 0.05, 0.1, 0.1]);
    }
}
