//! The loops: training by epochs or by steps, validation, test.

mod epoch_based_train;
mod eval;
mod iter_based_train;

pub use eval::{EvalLoop, TestLoopConfig, ValLoopConfig};

use mmy_registry::{BuildError, Kind};

use crate::{Runner, error::Result, progress::Length};

/// The kind of training loops.
pub struct TrainLoopKind;

impl Kind for TrainLoopKind {
    const NAME: &'static str = "train loop";
    type Args<'a> = ();
    type Output = Box<dyn TrainLoop>;
}

/// The kind of loops without training.
pub struct EvalLoopKind;

impl Kind for EvalLoopKind {
    const NAME: &'static str = "evaluation loop";
    type Args<'a> = ();
    type Output = EvalLoop;
}

/// Runs a whole training.
pub trait TrainLoop: std::fmt::Debug {
    /// How long the run is.
    fn length(&self) -> Length;

    /// Trains from `runner`'s progress to the end.
    ///
    /// # Errors
    /// [`crate::EngineError::Interrupted`] once the state is saved, and whatever ends a run early.
    fn run(&self, runner: &mut Runner) -> Result<()>;
}

/// When validations are due, in epochs or in steps.
#[derive(Debug, Clone, Copy)]
struct Intervals<'a> {
    /// How long the run is.
    end: usize,
    /// From one validation to the next.
    interval: usize,
    /// The first time that counts.
    begin: usize,
    /// Pairs of a time (from 1) and the interval that holds from it on.
    dynamic: &'a [(usize, usize)],
}

impl Intervals<'_> {
    /// Refuses what means nothing; `end` is the key of the run's length.
    fn check(&self, end: &str) -> Result<(), BuildError> {
        for (key, value) in [(end, self.end), ("val_interval", self.interval)] {
            if value == 0 {
                return Err(BuildError::new(format!("`{key}` is 0")).at(key).help("use at least 1"));
            }
        }
        if let Some((from, _)) = self.dynamic.iter().find(|(_, interval)| *interval == 0) {
            return Err(BuildError::new(format!("the interval from {from} on is 0")).at("dynamic_intervals"));
        }
        if !self.dynamic.is_sorted_by_key(|(from, _)| *from) {
            return Err(BuildError::new("the times do not ascend").at("dynamic_intervals"));
        }
        Ok(())
    }

    /// Whether a validation is due once `done` epochs or steps are over.
    fn due(&self, done: usize) -> bool {
        // The original looks the interval up by what comes next.
        let later = self.dynamic.iter().rev().find(|(from, _)| *from <= done + 1);
        let interval = later.map_or(self.interval, |(_, interval)| *interval);
        done >= self.begin && (done.is_multiple_of(interval) || done == self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation_is_due_by_interval_begin_and_at_the_end() {
        let intervals = Intervals { end: 23, interval: 10, begin: 1, dynamic: &[(21, 1)] };
        let due: Vec<_> = (1..=23).filter(|&done| intervals.due(done)).collect();
        assert_eq!(due, [10, 20, 21, 22, 23]);
        let late = Intervals { begin: 15, dynamic: &[], ..intervals };
        assert_eq!((1..=23).filter(|&done| late.due(done)).collect::<Vec<_>>(), [20, 23]);
    }

    #[test]
    fn senseless_intervals_are_refused_at_their_keys() {
        let good = Intervals { end: 23, interval: 10, begin: 1, dynamic: &[] };
        let cases = [
            (Intervals { end: 0, ..good }, "max_iters"),
            (Intervals { interval: 0, ..good }, "val_interval"),
            (Intervals { dynamic: &[(5, 0)], ..good }, "dynamic_intervals"),
            (Intervals { dynamic: &[(5, 1), (3, 2)], ..good }, "dynamic_intervals"),
        ];
        assert_eq!(good.check("max_iters"), Ok(()));
        for (intervals, key) in cases {
            assert_eq!(intervals.check("max_iters").unwrap_err().path, [key]);
        }
    }
}
