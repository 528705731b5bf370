//! Training by steps, with a validation between them.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Intervals, TrainLoop, TrainLoopKind};
use crate::{Pass, Runner, error::Result, progress::Length};

register!(TrainLoopKind, "IterBasedTrainLoop", Config);

/// Trains for a number of steps and validates between them.
///
/// As in mmengine the whole training is one long epoch to the hooks: the stages around an epoch come once. The order of
/// the data is that of epochs all the same, one after the other without a seam.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Steps of the whole run.
    pub max_iters: usize,
    /// Steps between two validations; the last step is always validated.
    #[serde(default = "thousand")]
    pub val_interval: usize,
    /// The first step (from 1) that may be validated.
    #[serde(default = "one")]
    pub val_begin: usize,
    /// Pairs of a step (from 1) and the interval that holds from it on.
    #[serde(default)]
    pub dynamic_intervals: Vec<(usize, usize)>,
}

fn one() -> usize {
    1
}

fn thousand() -> usize {
    1000
}

impl Build<TrainLoopKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn TrainLoop>, BuildError> {
        self.intervals().check("max_iters")?;
        Ok(Box::new(self.clone()))
    }
}

impl TrainLoop for Config {
    fn length(&self) -> Length {
        Length::Iters(self.max_iters)
    }

    fn run(&self, runner: &mut Runner) -> Result<()> {
        runner.at_train(|hook, cx| hook.before_train(cx))?;
        runner.at_train(|hook, cx| hook.before_train_epoch(cx))?;
        runner.validate_if_due()?;
        while !runner.progress().is_over() && !runner.is_stopped() {
            self.run_steps(runner)?;
            runner.validate_if_due()?;
        }
        runner.at_train(|hook, cx| hook.after_train_epoch(cx))?;
        runner.at_train(|hook, cx| hook.after_train(cx))
    }
}

impl Config {
    /// Steps to the end of the data, to the next validation, or to the end of the run.
    fn run_steps(&self, runner: &mut Runner) -> Result<()> {
        let pass = Pass::Steps { max_iters: self.max_iters };
        for batch in runner.train_batches(pass) {
            let due = self.intervals().due(runner.progress().iter + 1);
            runner.train_step(pass, &batch?, due)?;
            if due || runner.is_stopped() {
                break;
            }
        }
        runner.pass_ends(pass);
        Ok(())
    }

    fn intervals(&self) -> Intervals<'_> {
        Intervals {
            end: self.max_iters,
            interval: self.val_interval,
            begin: self.val_begin,
            dynamic: &self.dynamic_intervals,
        }
    }
}

#[cfg(test)]
mod tests {
    use mmy_registry::Slot;

    use super::*;

    #[test]
    fn steps_are_its_length_and_its_keys_are_checked() {
        let build = |more: &str| {
            let json = format!(r#"{{"type": "IterBasedTrainLoop", "max_iters": 7{more}}}"#);
            serde_json::from_str::<Slot<TrainLoopKind>>(&json).unwrap().build(())
        };
        assert_eq!(build("").unwrap().length(), Length::Iters(7));
        assert_eq!(build(r#", "val_interval": 0"#).unwrap_err().path, ["val_interval"]);
    }
}
