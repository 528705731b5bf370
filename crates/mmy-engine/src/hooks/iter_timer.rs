//! How long steps take, how long they wait for data, and how long the rest will take.

use std::time::Instant;

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EvalContext, EvalIterContext, Hook, HookKind, Stage, TrainContext, TrainIterContext, TrainStepContext};
use crate::{MessageHub, Priority, error::Result};

register!(HookKind, "IterTimerHook", Config);

/// How long steps take, how long they wait for data, and how long the rest will take.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// When it runs among the hooks of one stage.
    pub priority: Priority,
}

impl Default for Config {
    fn default() -> Self {
        Config { priority: Priority::NORMAL }
    }
}

impl Build<HookKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        Ok(Box::new(IterTimer { priority: self.priority, since: Instant::now(), spent: 0.0, steps: 0, eval: (0.0, 0) }))
    }
}

#[derive(Debug)]
struct IterTimer {
    priority: Priority,
    /// The end of the last step.
    since: Instant,
    /// Seconds and steps of this process, for the estimate.
    spent: f64,
    steps: usize,
    eval: (f64, usize),
}

impl IterTimer {
    /// Seconds since the last step's end; the next step starts now.
    fn lap(&mut self, messages: &mut MessageHub, prefix: &str) -> f64 {
        let seconds = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        messages.push(&format!("{prefix}/time"), seconds);
        seconds
    }

    fn data(&self, messages: &mut MessageHub, prefix: &str) {
        messages.push(&format!("{prefix}/data_time"), self.since.elapsed().as_secs_f64());
    }
}

impl Hook for IterTimer {
    fn changes_training(&self) -> bool {
        false
    }

    fn priority(&self) -> Priority {
        self.priority
    }

    fn stages(&self) -> &'static [Stage] {
        use Stage::{
            AfterTestIter, AfterTrainIter, AfterValIter, BeforeTestEpoch, BeforeTestIter, BeforeTrainEpoch,
            BeforeTrainIter, BeforeValEpoch, BeforeValIter,
        };
        &[
            BeforeTrainEpoch,
            BeforeTrainIter,
            AfterTrainIter,
            BeforeValEpoch,
            BeforeValIter,
            AfterValIter,
            BeforeTestEpoch,
            BeforeTestIter,
            AfterTestIter,
        ]
    }

    fn before_train_epoch(&mut self, _: &mut TrainContext<'_>) -> Result<()> {
        self.since = Instant::now();
        Ok(())
    }

    fn before_train_iter(&mut self, cx: &mut TrainIterContext<'_>) -> Result<()> {
        self.data(cx.train.messages, "train");
        Ok(())
    }

    fn after_train_iter(&mut self, cx: &mut TrainStepContext<'_>) -> Result<()> {
        self.spent += self.lap(cx.train.messages, "train");
        self.steps += 1;
        let left = cx.train.progress.max_iters().saturating_sub(cx.train.progress.iter + 1);
        cx.train.messages.push("eta/train", self.spent / self.steps as f64 * left as f64);
        Ok(())
    }

    fn before_eval_epoch(&mut self, cx: &mut EvalContext<'_>) -> Result<()> {
        let mode = cx.mode.name();
        cx.messages.forget(&format!("{mode}/"));
        self.eval = (0.0, 0);
        self.since = Instant::now();
        Ok(())
    }

    fn before_eval_iter(&mut self, cx: &mut EvalContext<'_>) -> Result<()> {
        self.data(cx.messages, cx.mode.name());
        Ok(())
    }

    fn after_eval_iter(&mut self, cx: &mut EvalIterContext<'_>) -> Result<()> {
        let mode = cx.eval.mode.name();
        self.eval.0 += self.lap(cx.eval.messages, mode);
        self.eval.1 += 1;
        let left = cx.eval.batches.saturating_sub(cx.index + 1);
        cx.eval.messages.push(&format!("eta/{mode}"), self.eval.0 / self.eval.1 as f64 * left as f64);
        Ok(())
    }
}
