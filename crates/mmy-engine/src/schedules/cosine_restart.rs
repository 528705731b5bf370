//! Half cosines with restarts.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Curve, Floor, LR, MOMENTUM, ParamScheduler, ParamSchedulerKind, ScheduleArgs, Window, WindowKeys, along_cosine,
    at_least_one,
};

register!(ParamSchedulerKind, "CosineRestartLR", Config<LR>);
register!(ParamSchedulerKind, "CosineRestartMomentum", Config<MOMENTUM>);

/// Lets the value fall along half a cosine in each period and start anew in the next one (Loshchilov and Hutter 2017);
/// after the last period it stays.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config<const FORM: u8> {
    /// Epochs (or steps) of each period.
    pub periods: Vec<usize>,
    /// The value at the start of each period, as a share of the config's.
    #[serde(default = "one")]
    pub restart_weights: Vec<f64>,
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

fn one() -> Vec<f64> {
    vec![1.0]
}

impl<const FORM: u8> Build<ParamSchedulerKind> for Config<FORM> {
    fn build(&self, args: ScheduleArgs) -> Result<ParamScheduler, BuildError> {
        self.periods.iter().try_for_each(|it| at_least_one("periods", *it))?;
        let (periods, weights) = (self.periods.len(), self.restart_weights.len());
        if periods != weights || periods == 0 {
            let error = BuildError::new(format!("{periods} periods and {weights} weights")).at("restart_weights");
            return Err(error.help("give each period a weight, such as 1.0"));
        }
        let Config { begin, end, by_epoch, convert_to_iter_based, .. } = *self;
        let window = Window::new(WindowKeys { begin, end, by_epoch, convert_to_iter_based }, args)?;
        let steps = self.periods.iter().map(|it| it * window.scale);
        let periods = steps.zip(self.restart_weights.iter().copied()).collect();
        let curve = Restarts { periods, floor: Floor::new(self.eta_min, self.eta_min_ratio)? };
        Ok(ParamScheduler::curve(FORM, window, curve))
    }
}

#[derive(Debug)]
struct Restarts {
    /// Steps and weight of each period.
    periods: Vec<(usize, f64)>,
    floor: Floor,
}

impl Curve for Restarts {
    fn next(&self, step: usize, value: f64, base: f64) -> f64 {
        let mut begin = 0;
        for &(len, weight) in &self.periods {
            if step == begin {
                return base * weight;
            }
            if step < begin + len {
                return along_cosine(step - begin, len, value, self.floor.of(base));
            }
            begin += len;
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{near, walk},
        *,
    };

    #[test]
    fn each_period_starts_at_its_weight() {
        let curve = Restarts { periods: vec![(4, 1.0), (6, 0.5)], floor: Floor::Value(0.0) };
        let values = walk(&curve, 12, 0.1);
        assert_eq!((values[0], values[4]), (0.1, 0.05));
        assert!(values[3] > 0.0 && values[9] > 0.0 && values[10] == values[9] && values[11] == values[9]);
        near(&values[4..10], |step| 0.05 * (1.0 + (std::f64::consts::PI * step / 6.0).cos()) / 2.0);
    }
}
