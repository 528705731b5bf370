//! Half a cosine.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Curve, Floor, LR, MOMENTUM, ParamScheduler, ParamSchedulerKind, ScheduleArgs, Window, WindowKeys, along_cosine,
    at_least_one,
};

register!(ParamSchedulerKind, "CosineAnnealingLR", Config<LR>);
register!(ParamSchedulerKind, "CosineAnnealingMomentum", Config<MOMENTUM>);

/// Lets the value fall along half a cosine (Loshchilov and Hutter 2017) over `T_max` epochs (or steps), and rise again
/// after them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config<const FORM: u8> {
    /// Epochs (or steps) from the top to the bottom; by default those of the window.
    #[serde(default, rename = "T_max")]
    pub t_max: Option<usize>,
    /// The lowest value; by default 0.
    #[serde(default)]
    pub eta_min: Option<f64>,
    /// The lowest value, as a share of the config's.
    #[serde(default)]
    pub eta_min_ratio: Option<f64>,
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
        self.t_max.map_or(Ok(()), |it| at_least_one("T_max", it))?;
        let Config { begin, end, by_epoch, convert_to_iter_based, .. } = *self;
        let window = Window::new(WindowKeys { begin, end, by_epoch, convert_to_iter_based }, args)?;
        let half = self.t_max.map_or(window.len(), |it| it * window.scale);
        let curve = Cosine { half, floor: Floor::new(self.eta_min, self.eta_min_ratio)? };
        Ok(ParamScheduler::curve(FORM, window, curve))
    }
}

#[derive(Debug)]
struct Cosine {
    half: usize,
    floor: Floor,
}

impl Curve for Cosine {
    fn next(&self, step: usize, value: f64, base: f64) -> f64 {
        let floor = self.floor.of(base);
        if step == 0 {
            value
        } else if (step - 1 + self.half).is_multiple_of(2 * self.half) {
            // One step past the bottom: a ratio to the value there would be one to nothing.
            let rise = 1.0 - (std::f64::consts::PI / self.half as f64).cos();
            value + (base - floor) * rise / 2.0
        } else {
            along_cosine(step, self.half, value, floor)
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
    fn down_and_up_again() {
        let curve = Cosine { half: 10, floor: Floor::Ratio(0.2) };
        let cosine = |step: f64| 0.02 + 0.08 * (1.0 + (std::f64::consts::PI * step / 10.0).cos()) / 2.0;
        near(&walk(&curve, 25, 0.1), cosine);
    }
}
