//! Schedules of learning rate and momentum: what the root's `param_scheduler` list names.
//!
//! Each schedule acts within a window of epochs or steps and computes a value from the one before it, as mmengine's do, so
//! that several can follow or overlap one another. [`Timeline`] runs them. Values are a function of config and progress
//! alone (with [`reduce_on_plateau`], of past validations too): a resumed run computes them anew from the start.

mod constant;
mod cosine_annealing;
mod cosine_restart;
mod exponential;
mod linear;
mod multi_step;
mod one_cycle;
mod poly;
mod preview;
pub mod reduce_on_plateau;
mod step;
mod timeline;

pub use preview::preview;
pub use timeline::{Plateaus, Timeline};

use mmy_registry::{BuildError, Kind, Slot};

use crate::Progress;
use reduce_on_plateau::Plateau;

/// The kind of schedules.
pub struct ParamSchedulerKind;

impl Kind for ParamSchedulerKind {
    const NAME: &'static str = "param_scheduler";
    type Args<'a> = ScheduleArgs;
    type Output = ParamScheduler;
}

/// The root's `param_scheduler` list.
pub type Schedules = [Slot<ParamSchedulerKind>];

/// The run that a schedule is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleArgs {
    /// Steps of one epoch.
    pub epoch_len: usize,
    /// Epochs of the run.
    pub max_epochs: usize,
    /// Steps of the run.
    pub max_iters: usize,
}

impl From<&Progress> for ScheduleArgs {
    fn from(it: &Progress) -> Self {
        ScheduleArgs { epoch_len: it.epoch_len, max_epochs: it.max_epochs, max_iters: it.max_iters() }
    }
}

/// The forms of a schedule, as parameters of its config: `Config<LR>` is that of `…LR`.
pub(crate) const LR: u8 = 0;
/// `Config<MOMENTUM>` is that of `…Momentum`.
pub(crate) const MOMENTUM: u8 = 1;

/// What a schedule changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Param {
    /// The learning rate.
    Lr,
    /// The momentum, or Adam's first beta.
    Momentum,
}

impl Param {
    fn of(form: u8) -> Self {
        if form == LR { Param::Lr } else { Param::Momentum }
    }
}

/// A schedule in its window.
#[derive(Debug)]
pub struct ParamScheduler {
    param: Param,
    window: Window,
    motion: Motion,
}

/// How the next value comes about.
#[derive(Debug)]
enum Motion {
    Curve(Box<dyn Curve>),
    Plateau(Plateau),
}

/// A value that changes from step to step.
pub trait Curve: std::fmt::Debug {
    /// The value at `step` of the window (from 0). `value` is the one so far, `base` that of the config.
    fn next(&self, step: usize, value: f64, base: f64) -> f64;
}

impl ParamScheduler {
    fn curve(form: u8, window: Window, curve: impl Curve + 'static) -> Self {
        ParamScheduler { param: Param::of(form), window, motion: Motion::Curve(Box::new(curve)) }
    }
}

/// The four keys that every schedule has.
#[derive(Debug, Clone, Copy)]
struct WindowKeys {
    begin: usize,
    end: Option<usize>,
    by_epoch: bool,
    convert_to_iter_based: bool,
}

/// When a schedule acts, in epochs or steps from 0, the end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    begin: usize,
    end: usize,
    by_epoch: bool,
    /// Steps for each unit that the config counts in: an epoch's, where epochs were turned into steps.
    scale: usize,
}

impl Window {
    fn new(keys: WindowKeys, args: ScheduleArgs) -> Result<Self, BuildError> {
        let WindowKeys { begin, end, by_epoch, convert_to_iter_based } = keys;
        if convert_to_iter_based && !by_epoch {
            let error = BuildError::new("`convert_to_iter_based` turns epochs into steps, but `by_epoch` is false");
            return Err(error.at("convert_to_iter_based").help("leave one of the two out"));
        }
        let (unit, last) = if by_epoch { ("epochs", args.max_epochs) } else { ("steps", args.max_iters) };
        let open = end.is_none();
        let end = end.unwrap_or(last);
        if end <= begin {
            let run = if open { format!(", the end of the run of {last} {unit}") } else { String::new() };
            let error = BuildError::new(format!("the schedule begins at {begin} and ends at {end}{run}")).at("begin");
            return Err(error.help(format!("it counts in {unit}; `end` has to be greater than `begin`")));
        }
        if begin >= last {
            tracing::warn!("a schedule begins at {begin} {unit}; the run ends at {last}, so that it never acts");
        }
        let scale = if convert_to_iter_based { args.epoch_len } else { 1 };
        let by_epoch = by_epoch && !convert_to_iter_based;
        Ok(Window { begin: begin * scale, end: end * scale, by_epoch, scale })
    }

    fn len(self) -> usize {
        self.end - self.begin
    }

    /// The step within the window that `at` of the run is.
    fn step(self, at: usize) -> Option<usize> {
        (self.begin..self.end).contains(&at).then(|| at - self.begin)
    }
}

/// Where a value ends: at `eta_min`, or at a share of its base.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Floor {
    Value(f64),
    Ratio(f64),
}

impl Floor {
    fn new(eta_min: Option<f64>, eta_min_ratio: Option<f64>) -> Result<Self, BuildError> {
        match (eta_min, eta_min_ratio) {
            (Some(_), Some(_)) => {
                Err(BuildError::new("`eta_min` and `eta_min_ratio` exclude each other").at("eta_min_ratio"))
            }
            (None, Some(ratio)) => Ok(Floor::Ratio(ratio)),
            (value, None) => Ok(Floor::Value(value.unwrap_or(0.0))),
        }
    }

    fn of(self, base: f64) -> f64 {
        match self {
            Floor::Value(value) => value,
            Floor::Ratio(ratio) => base * ratio,
        }
    }
}

/// From one value on a half cosine over `period` steps to the next; `step` is at least 1.
fn along_cosine(step: usize, period: usize, value: f64, floor: f64) -> f64 {
    let height = |step: usize| 1.0 + (std::f64::consts::PI * step as f64 / period as f64).cos();
    height(step) / height(step - 1) * (value - floor) + floor
}

// Defaults of mmengine's that several schedules have.

fn yes() -> bool {
    true
}

fn tenth() -> f64 {
    0.1
}

fn third() -> f64 {
    1.0 / 3.0
}

/// Refuses a number that is not finite and above 0.
fn positive(key: &str, value: f64) -> Result<(), BuildError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(BuildError::new(format!("`{key}` is {value}")).at(key).help("use a number above 0"))
}

/// Refuses 0 where something is counted.
fn at_least_one(key: &str, value: usize) -> Result<(), BuildError> {
    if value > 0 { Ok(()) } else { Err(BuildError::new(format!("`{key}` is 0")).at(key).help("use at least 1")) }
}

/// What the schedules' tests share.
#[cfg(test)]
mod testing {
    use super::Curve;

    /// The first `steps` values of a window that `base` comes into.
    pub fn walk(curve: &dyn Curve, steps: usize, base: f64) -> Vec<f64> {
        let mut value = base;
        let next = |step| {
            value = curve.next(step, value, base);
            value
        };
        (0..steps).map(next).collect()
    }

    /// Each value against the closed form; a chain of products rounds in the last bits.
    pub fn near(values: &[f64], closed: impl Fn(f64) -> f64) {
        for (step, value) in values.iter().enumerate() {
            let want = closed(step as f64);
            assert!((value - want).abs() < 1e-13, "step {step}: {value} is not {want}");
        }
    }
}
