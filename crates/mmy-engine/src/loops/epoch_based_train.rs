//! Training by epochs, with a validation between them.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{TrainLoop, TrainLoopKind};
use crate::{Pass, Runner, error::Result};

register!(TrainLoopKind, "EpochBasedTrainLoop", Config);

/// Trains for a number of epochs and validates between them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Epochs of the whole run.
    pub max_epochs: usize,
    /// Epochs between two validations; the last epoch is always validated.
    #[serde(default = "one")]
    pub val_interval: usize,
    /// The first epoch (from 1) that may be validated.
    #[serde(default = "one")]
    pub val_begin: usize,
    /// Pairs of an epoch (from 1) and the interval that holds from it on.
    #[serde(default)]
    pub dynamic_intervals: Vec<(usize, usize)>,
}

fn one() -> usize {
    1
}

impl Build<TrainLoopKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn TrainLoop>, BuildError> {
        for (key, value) in [("max_epochs", self.max_epochs), ("val_interval", self.val_interval)] {
            if value == 0 {
                return Err(BuildError::new(format!("`{key}` is 0")).at(key).help("use at least 1"));
            }
        }
        if let Some((epoch, _)) = self.dynamic_intervals.iter().find(|(_, interval)| *interval == 0) {
            return Err(BuildError::new(format!("the interval from epoch {epoch} on is 0")).at("dynamic_intervals"));
        }
        if !self.dynamic_intervals.is_sorted_by_key(|(epoch, _)| *epoch) {
            return Err(BuildError::new("the epochs do not ascend").at("dynamic_intervals"));
        }
        Ok(Box::new(self.clone()))
    }
}

impl TrainLoop for Config {
    fn max_epochs(&self) -> usize {
        self.max_epochs
    }

    fn validates_after(&self, epochs: usize) -> bool {
        // The original looks the interval up by the epoch that comes next.
        let later = self.dynamic_intervals.iter().rev().find(|(epoch, _)| *epoch <= epochs + 1);
        let interval = later.map_or(self.val_interval, |(_, interval)| *interval);
        epochs >= self.val_begin && (epochs.is_multiple_of(interval) || epochs == self.max_epochs)
    }

    fn run(&self, runner: &mut Runner) -> Result<()> {
        runner.at_train(|hook, cx| hook.before_train(cx))?;
        if runner.progress().val_pending {
            runner.validate()?;
        }
        while runner.progress().epoch < self.max_epochs && !runner.is_stopped() {
            self.run_epoch(runner)?;
            if runner.progress().val_pending {
                runner.validate()?;
            }
        }
        runner.at_train(|hook, cx| hook.after_train(cx))
    }
}

impl Config {
    fn run_epoch(&self, runner: &mut Runner) -> Result<()> {
        let pass = Pass::Train { epoch: runner.progress().epoch + 1, max_epochs: self.max_epochs };
        runner.at_train(|hook, cx| hook.before_train_epoch(cx))?;
        for batch in runner.train_batches(pass) {
            runner.train_step(pass, &batch?)?;
        }
        runner.pass_ends(pass);
        runner.epoch_ends(self.validates_after(runner.progress().epoch + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation_is_due_by_interval_begin_and_at_the_end() {
        let config = Config { max_epochs: 23, val_interval: 10, val_begin: 1, dynamic_intervals: vec![(21, 1)] };
        let due: Vec<_> = (1..=23).filter(|&epochs| config.validates_after(epochs)).collect();
        assert_eq!(due, [10, 20, 21, 22, 23]);
        let late = Config { val_begin: 15, dynamic_intervals: vec![], ..config };
        assert_eq!((1..=23).filter(|&epochs| late.validates_after(epochs)).collect::<Vec<_>>(), [20, 23]);
    }
}
