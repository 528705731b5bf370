//! Runs the schedules of the root's `param_scheduler` list.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EvalEpochContext, Hook, HookKind, Stage, TrainContext, TrainStepContext};
use crate::{
    EngineError, Priority, Progress,
    error::Result,
    optim::ParamGroup,
    schedules::{Plateaus, ScheduleArgs, Schedules, Timeline},
};

register!(HookKind, "ParamSchedulerHook", Config);

/// Runs the schedules of the root's `param_scheduler` list: after each step, each epoch and each validation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// When it runs among the hooks of one stage.
    pub priority: Priority,
}

impl Default for Config {
    fn default() -> Self {
        Config { priority: Priority::LOW }
    }
}

impl Build<HookKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        Ok(Box::new(ParamScheduler { priority: self.priority, plateaus: Plateaus::default(), timeline: None }))
    }
}

#[derive(Debug)]
struct ParamScheduler {
    priority: Priority,
    /// What a resumed run remembers, until the timeline has it.
    plateaus: Plateaus,
    timeline: Option<Timeline>,
}

impl ParamScheduler {
    /// Brings the groups to where `progress` is.
    fn set(&mut self, progress: &Progress, groups: &mut [ParamGroup]) {
        if let Some(timeline) = &mut self.timeline {
            timeline.advance(progress.iter, progress.epoch, groups);
        }
    }
}

impl Hook for ParamScheduler {
    fn priority(&self) -> Priority {
        self.priority
    }

    fn stages(&self) -> &'static [Stage] {
        &[Stage::BeforeTrain, Stage::AfterTrainIter, Stage::AfterTrainEpoch, Stage::AfterValEpoch]
    }

    fn state(&self) -> Value {
        let plateaus = self.timeline.as_ref().map_or(&self.plateaus, Timeline::plateaus);
        serde_json::to_value(plateaus).expect("plain data serialises")
    }

    fn load_state(&mut self, state: &Value) -> Result<()> {
        let state = serde_json::from_value(state.clone());
        self.plateaus =
            state.map_err(|e| EngineError::Unfit(format!("the checkpoint's ParamSchedulerHook state: {e}")))?;
        Ok(())
    }

    fn set_rates(&mut self, schedules: &Schedules, progress: &Progress, groups: &mut [ParamGroup]) -> Result<()> {
        if self.timeline.is_none() {
            let args = ScheduleArgs::from(progress);
            let built = schedules.iter().map(|it| it.build(args)).collect::<Result<_, _>>()?;
            self.timeline = Some(Timeline::new(built, args, groups, std::mem::take(&mut self.plateaus)));
        }
        self.set(progress, groups);
        Ok(())
    }

    fn before_train(&mut self, cx: &mut TrainContext<'_>) -> Result<()> {
        self.set_rates(&cx.run.param_scheduler, cx.progress, cx.optim.groups_mut())
    }

    fn after_train_iter(&mut self, cx: &mut TrainStepContext<'_>) -> Result<()> {
        self.set(&cx.train.progress.after_step(), cx.train.groups());
        Ok(())
    }

    fn after_train_epoch(&mut self, cx: &mut TrainContext<'_>) -> Result<()> {
        // Where steps count, the epochs are in the progress already.
        if !cx.progress.by_iter() {
            self.set(&Progress { epoch: cx.progress.epoch + 1, ..*cx.progress }, cx.optim.groups_mut());
        }
        Ok(())
    }

    fn after_val_epoch(&mut self, cx: &mut EvalEpochContext<'_>) -> Result<()> {
        if let Some(timeline) = &mut self.timeline {
            timeline.validated(cx.evaluation)?;
        }
        self.set(cx.eval.progress, cx.groups);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mmy_registry::Slot;

    use super::*;

    #[test]
    fn state_is_taken_back_and_a_foreign_one_is_refused() {
        let build = || serde_json::from_str::<Slot<HookKind>>(r#"{"type": "ParamSchedulerHook"}"#).unwrap().build(());
        let state = serde_json::json!({"memories": [{"best": 0.5, "worse": 1, "cooldown": 0}], "drops": [[7, 0]]});
        let mut hook = build().unwrap();
        hook.load_state(&state).unwrap();
        assert_eq!(hook.state(), state);
        assert!(build().unwrap().load_state(&Value::Bool(true)).is_err());
    }
}
