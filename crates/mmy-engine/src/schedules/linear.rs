//! A straight line between two factors.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Curve, LR, MOMENTUM, ParamScheduler, ParamSchedulerKind, ScheduleArgs, Window, WindowKeys};

register!(ParamSchedulerKind, "LinearLR", Config<LR>);
register!(ParamSchedulerKind, "LinearMomentum", Config<MOMENTUM>);

/// Multiplies the value by a factor that goes in a straight line from `start_factor` to `end_factor` over the window: the
/// usual warm-up.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config<const FORM: u8> {
    /// The factor at the beginning, above 0 and up to 1.
    #[serde(default = "super::third")]
    pub start_factor: f64,
    /// The factor at the window's last step, 0 to 1.
    #[serde(default = "whole")]
    pub end_factor: f64,
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

fn whole() -> f64 {
    1.0
}

impl<const FORM: u8> Build<ParamSchedulerKind> for Config<FORM> {
    fn build(&self, args: ScheduleArgs) -> Result<ParamScheduler, BuildError> {
        if !(self.start_factor > 0.0 && self.start_factor <= 1.0) {
            let error = BuildError::new(format!("`start_factor` is {}", self.start_factor)).at("start_factor");
            return Err(
                error.help("use a number above 0 and up to 1, such as 0.001: each value comes from the one before")
            );
        }
        if !(0.0..=1.0).contains(&self.end_factor) {
            let error = BuildError::new(format!("`end_factor` is {}", self.end_factor)).at("end_factor");
            return Err(error.help("use a number from 0 to 1"));
        }
        let Config { begin, end, by_epoch, convert_to_iter_based, .. } = *self;
        let window = Window::new(WindowKeys { begin, end, by_epoch, convert_to_iter_based }, args)?;
        let last = (window.len() - 1) as f64;
        let curve = Linear { start: self.start_factor, end: self.end_factor, last };
        Ok(ParamScheduler::curve(FORM, window, curve))
    }
}

#[derive(Debug)]
struct Linear {
    start: f64,
    end: f64,
    /// The last step of the window.
    last: f64,
}

impl Curve for Linear {
    fn next(&self, step: usize, value: f64, _: f64) -> f64 {
        let rise = self.end - self.start;
        match step {
            0 => value * self.start,
            _ => value * (1.0 + rise / (self.last * self.start + (step - 1) as f64 * rise)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{near, walk},
        *,
    };

    #[test]
    fn the_factor_is_a_straight_line() {
        let curve = Linear { start: 0.2, end: 1.0, last: 4.0 };
        near(&walk(&curve, 5, 0.1), |step| 0.1 * (0.2 + 0.8 * step / 4.0));
    }
}
