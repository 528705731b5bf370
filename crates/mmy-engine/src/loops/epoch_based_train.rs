//! Training by epochs, with a validation between them.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Intervals, TrainLoop, TrainLoopKind};
use crate::{Pass, Runner, error::Result, progress::Length};

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
        self.intervals().check("max_epochs")?;
        Ok(Box::new(self.clone()))
    }
}

impl TrainLoop for Config {
    fn length(&self) -> Length {
        Length::Epochs(self.max_epochs)
    }

    fn run(&self, runner: &mut Runner) -> Result<()> {
        runner.at_train(|hook, cx| hook.before_train(cx))?;
        runner.validate_if_due()?;
        while !runner.progress().is_over() && !runner.is_stopped() {
            self.run_epoch(runner)?;
            runner.validate_if_due()?;
        }
        runner.at_train(|hook, cx| hook.after_train(cx))
    }
}

impl Config {
    fn run_epoch(&self, runner: &mut Runner) -> Result<()> {
        let pass = Pass::Train { epoch: runner.progress().epoch + 1, max_epochs: self.max_epochs };
        runner.at_train(|hook, cx| hook.before_train_epoch(cx))?;
        for batch in runner.train_batches(pass) {
            runner.train_step(pass, &batch?, false)?;
        }
        runner.pass_ends(pass);
        runner.epoch_ends(self.intervals().due(runner.progress().epoch + 1))
    }

    fn intervals(&self) -> Intervals<'_> {
        Intervals {
            end: self.max_epochs,
            interval: self.val_interval,
            begin: self.val_begin,
            dynamic: &self.dynamic_intervals,
        }
    }
}
