//! One rise and one fall.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Curve, LR, ParamScheduler, ParamSchedulerKind, ScheduleArgs, Window, WindowKeys, at_least_one, positive};

register!(ParamSchedulerKind, "OneCycleLR", Config<LR>);

/// One rise from `eta_max / div_factor` to `eta_max` and one fall to `eta_max / div_factor / final_div_factor` (Smith and
/// Topin 2018), whatever the value was before.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config<const FORM: u8> {
    /// The highest value.
    pub eta_max: f64,
    /// Epochs (or steps) of the whole; by default those of the window.
    #[serde(default)]
    pub total_steps: Option<usize>,
    /// Share of the whole that the rise takes, 0 to 1.
    #[serde(default = "pct_start")]
    pub pct_start: f64,
    /// Shape of rise and fall.
    #[serde(default)]
    pub anneal_strategy: Anneal,
    /// The highest value by the first.
    #[serde(default = "div_factor")]
    pub div_factor: f64,
    /// The first value by the last.
    #[serde(default = "final_div_factor")]
    pub final_div_factor: f64,
    /// Whether the fall stops at the first value, as long after the top as the rise took, and goes on in a third phase.
    #[serde(default)]
    pub three_phase: bool,
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

fn pct_start() -> f64 {
    0.3
}

fn div_factor() -> f64 {
    25.0
}

fn final_div_factor() -> f64 {
    1e4
}

/// Shape of a rise or fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cos,
    /// A straight line.
    Linear,
}

impl<const FORM: u8> Build<ParamSchedulerKind> for Config<FORM> {
    fn build(&self, args: ScheduleArgs) -> Result<ParamScheduler, BuildError> {
        for (key, value) in
            [("eta_max", self.eta_max), ("div_factor", self.div_factor), ("final_div_factor", self.final_div_factor)]
        {
            positive(key, value)?;
        }
        if !(0.0..=1.0).contains(&self.pct_start) {
            let error = BuildError::new(format!("`pct_start` is {}", self.pct_start)).at("pct_start");
            return Err(error.help("use a share from 0 to 1"));
        }
        self.total_steps.map_or(Ok(()), |it| at_least_one("total_steps", it))?;
        let Config { begin, end, by_epoch, convert_to_iter_based, .. } = *self;
        let window = Window::new(WindowKeys { begin, end, by_epoch, convert_to_iter_based }, args)?;
        let total = self.total_steps.map_or(window.len(), |it| it * window.scale);
        if total < window.len() {
            let error =
                BuildError::new(format!("the cycle of {total} steps is over before its window of {}", window.len()));
            return Err(error.at("total_steps").help("leave it out, or end the window earlier"));
        }
        let (total, rise) = (total as f64, self.pct_start);
        let first = self.eta_max / self.div_factor;
        let last = first / self.final_div_factor;
        let top = (rise * total - 1.0, first, self.eta_max);
        let phases = match self.three_phase {
            true => vec![top, (2.0 * rise * total - 2.0, self.eta_max, first), (total - 1.0, first, last)],
            false => vec![top, (total - 1.0, self.eta_max, last)],
        };
        let curve = OneCycle { phases, anneal: self.anneal_strategy };
        Ok(ParamScheduler::curve(FORM, window, curve))
    }
}

#[derive(Debug)]
struct OneCycle {
    /// Last step, first value and last value of each phase.
    phases: Vec<(f64, f64, f64)>,
    anneal: Anneal,
}

impl Curve for OneCycle {
    fn next(&self, step: usize, _: f64, _: f64) -> f64 {
        let (step, mut begin) = (step as f64, 0.0);
        for (at, &(end, from, to)) in self.phases.iter().enumerate() {
            if step <= end || at + 1 == self.phases.len() {
                // A phase of one step is over at once.
                let part = if end > begin { (step - begin) / (end - begin) } else { 1.0 };
                return match self.anneal {
                    Anneal::Cos => to + (from - to) / 2.0 * ((std::f64::consts::PI * part).cos() + 1.0),
                    Anneal::Linear => (to - from) * part + from,
                };
            }
            begin = end;
        }
        unreachable!("the last phase takes every step")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::walk, *};

    #[test]
    fn one_rise_and_one_fall() {
        let phases = vec![(3.0, 0.1, 1.0), (9.0, 1.0, 0.01)];
        let curve = OneCycle { phases, anneal: Anneal::Linear };
        // Whatever the value was.
        let values = walk(&curve, 10, 77.0);
        assert_eq!((values[0], values[3]), (0.1, 1.0));
        assert!((values[9] - 0.01).abs() < 1e-15);
        assert!(values[..4].is_sorted() && values[3..].is_sorted_by(|a, b| a >= b));
    }
}
