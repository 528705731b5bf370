//! Puts learning rates, losses and metrics where log lines find them.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EvalEpochContext, Hook, HookKind, Stage, TrainIterContext, TrainStepContext};
use crate::{Priority, error::Result};

register!(HookKind, "RuntimeInfoHook", Config);

/// Puts learning rates, losses and metrics where log lines find them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// When it runs among the hooks of one stage.
    pub priority: Priority,
}

impl Default for Config {
    fn default() -> Self {
        Config { priority: Priority::VERY_HIGH }
    }
}

impl Build<HookKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        Ok(Box::new(RuntimeInfo { priority: self.priority }))
    }
}

#[derive(Debug)]
struct RuntimeInfo {
    priority: Priority,
}

impl Hook for RuntimeInfo {
    fn changes_training(&self) -> bool {
        false
    }

    fn priority(&self) -> Priority {
        self.priority
    }

    fn stages(&self) -> &'static [Stage] {
        &[Stage::BeforeTrainIter, Stage::AfterTrainIter, Stage::AfterValEpoch, Stage::AfterTestEpoch]
    }

    fn before_train_iter(&mut self, cx: &mut TrainIterContext<'_>) -> Result<()> {
        // mmengine reports the first group's, before a schedule at a later priority changes it.
        if let Some(group) = cx.train.optim.groups().first() {
            let (lr, momentum) = (group.lr, group.momentum);
            cx.train.messages.push("train/lr", lr);
            cx.train.messages.push("train/momentum", momentum);
        }
        Ok(())
    }

    fn after_train_iter(&mut self, cx: &mut TrainStepContext<'_>) -> Result<()> {
        for (name, value) in cx.losses {
            cx.train.messages.push(&format!("train/{name}"), *value);
        }
        Ok(())
    }

    fn after_eval_epoch(&mut self, cx: &mut EvalEpochContext<'_>) -> Result<()> {
        for (name, value) in &cx.evaluation.values {
            cx.eval.messages.push(&format!("{}/{name}", cx.eval.mode.name()), *value);
        }
        Ok(())
    }
}
