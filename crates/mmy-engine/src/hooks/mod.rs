//! What may act at the 22 stages of a run, and what each stage lends it.
//!
//! The stages, priorities and order are mmengine's. A hook names its stages ([`Hook::stages`]) and never calls the runner:
//! it *asks* ([`Requests`]), and the runner does what was asked once every hook has had its turn at the stage. Each stage
//! lends a context that holds just what that stage may touch.

mod checkpoint;
mod context;
mod det_visualization;
mod early_stopping;
mod ema;
mod iter_timer;
mod logger;
mod mode_switch;
mod monitor;
mod param_scheduler;
mod ppyoloe_param_scheduler;
mod profiler;
mod runtime_info;
mod stage;
mod switch_to_deploy;
mod without_effect;
mod yolov5_param_scheduler;

pub(crate) use checkpoint::PASSING;
pub use context::{
    EvalContext, EvalEpochContext, EvalIterContext, LoadContext, Mode, Request, Requests, RunContext, SaveContext,
    SaveRequest, StepTimes, TrainContext, TrainIterContext, TrainStepContext,
};
pub use ema::Averaging;
pub use mode_switch::PipelineOutline;
pub use monitor::Rule;
pub(crate) use monitor::monitored;
pub use stage::{Registered, Stage, in_order, order_table};

use mmy_registry::Kind;
use serde_json::Value;

use crate::{Priority, Progress, error::Result, optim::ParamGroup, schedules::Schedules};

/// The kind of hooks.
pub struct HookKind;

impl Kind for HookKind {
    const NAME: &'static str = "hook";
    type Args<'a> = ();
    type Output = Box<dyn Hook>;
}

/// How long a hook or a schedule warms up, as a fact of its [`mmy_registry::Outline`]: the longer of the two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmupOutline {
    /// Epochs.
    pub epochs: f64,
    /// The key that says so.
    pub epochs_key: &'static str,
    /// Steps.
    pub min_steps: usize,
    /// The key that says so.
    pub min_steps_key: &'static str,
}

/// From which epoch (from 0) on a hook does what it is for, as a fact of its [`mmy_registry::Outline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartOutline {
    /// The epoch.
    pub epoch: usize,
    /// The key that says so.
    pub key: &'static str,
}

/// Acts at some of the stages of a run. Every stage does nothing unless a hook says otherwise.
pub trait Hook: std::fmt::Debug {
    /// When it runs among the hooks of one stage.
    fn priority(&self) -> Priority {
        Priority::NORMAL
    }

    /// The stages at which it acts: at no other is it called.
    fn stages(&self) -> &'static [Stage];

    /// Sets learning rates and momenta for the step that comes next at `progress`, where this hook is the one that does.
    /// Training calls it through the hook's stages; called with ascending progress it shows a schedule without training.
    ///
    /// # Errors
    /// When a schedule cannot be built.
    fn set_rates(&mut self, _schedules: &Schedules, _at: &Progress, _groups: &mut [ParamGroup]) -> Result<()> {
        Ok(())
    }

    /// Whether weights can come to depend on it. A run goes on from a checkpoint of one that had other hooks of those that
    /// only look on.
    fn changes_training(&self) -> bool {
        true
    }

    /// Everything that it has to remember across a kill and a resume, as plain data.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Takes back what [`Hook::state`] gave.
    ///
    /// # Errors
    /// When the data is not of the form that this hook writes.
    fn load_state(&mut self, _state: &Value) -> Result<()> {
        Ok(())
    }

    /// Before anything else, once a run.
    fn before_run(&mut self, _: &mut RunContext<'_>) -> Result<()> {
        Ok(())
    }
    /// After a checkpoint was read and before its tensors go into the model.
    fn after_load_checkpoint(&mut self, _: &mut LoadContext<'_>) -> Result<()> {
        Ok(())
    }
    /// Before the first epoch of this process.
    fn before_train(&mut self, _: &mut TrainContext<'_>) -> Result<()> {
        Ok(())
    }
    /// Before the first step of an epoch.
    fn before_train_epoch(&mut self, _: &mut TrainContext<'_>) -> Result<()> {
        Ok(())
    }
    /// Before a step; the batch is there.
    fn before_train_iter(&mut self, _: &mut TrainIterContext<'_>) -> Result<()> {
        Ok(())
    }
    /// After a step. `progress.iter` is still the index of this step.
    fn after_train_iter(&mut self, _: &mut TrainStepContext<'_>) -> Result<()> {
        Ok(())
    }
    /// After the last step of an epoch. `progress.epoch` is still the index of this epoch.
    fn after_train_epoch(&mut self, _: &mut TrainContext<'_>) -> Result<()> {
        Ok(())
    }
    /// Before a validation or a test.
    fn before_eval(&mut self, _: &mut EvalContext<'_>) -> Result<()> {
        Ok(())
    }
    /// Before the pass over the data.
    fn before_eval_epoch(&mut self, _: &mut EvalContext<'_>) -> Result<()> {
        Ok(())
    }
    /// Before a batch is predicted.
    fn before_eval_iter(&mut self, _: &mut EvalContext<'_>) -> Result<()> {
        Ok(())
    }
    /// After a batch was predicted.
    fn after_eval_iter(&mut self, _: &mut EvalIterContext<'_>) -> Result<()> {
        Ok(())
    }
    /// After the metrics were computed.
    fn after_eval_epoch(&mut self, _: &mut EvalEpochContext<'_>) -> Result<()> {
        Ok(())
    }
    /// After a validation or a test.
    fn after_eval(&mut self, _: &mut EvalContext<'_>) -> Result<()> {
        Ok(())
    }
    /// Before a validation.
    fn before_val(&mut self, cx: &mut EvalContext<'_>) -> Result<()> {
        self.before_eval(cx)
    }
    /// Before the validation's pass over the data.
    fn before_val_epoch(&mut self, cx: &mut EvalContext<'_>) -> Result<()> {
        self.before_eval_epoch(cx)
    }
    /// Before a validation batch.
    fn before_val_iter(&mut self, cx: &mut EvalContext<'_>) -> Result<()> {
        self.before_eval_iter(cx)
    }
    /// After a validation batch.
    fn after_val_iter(&mut self, cx: &mut EvalIterContext<'_>) -> Result<()> {
        self.after_eval_iter(cx)
    }
    /// After the validation's metrics.
    fn after_val_epoch(&mut self, cx: &mut EvalEpochContext<'_>) -> Result<()> {
        self.after_eval_epoch(cx)
    }
    /// After a validation.
    fn after_val(&mut self, cx: &mut EvalContext<'_>) -> Result<()> {
        self.after_eval(cx)
    }
    /// Before a checkpoint is written: its content may be changed.
    fn before_save_checkpoint(&mut self, _: &mut SaveContext<'_>) -> Result<()> {
        Ok(())
    }
    /// After the last epoch.
    fn after_train(&mut self, _: &mut TrainContext<'_>) -> Result<()> {
        Ok(())
    }
    /// Before a test.
    fn before_test(&mut self, cx: &mut EvalContext<'_>) -> Result<()> {
        self.before_eval(cx)
    }
    /// Before the test's pass over the data.
    fn before_test_epoch(&mut self, cx: &mut EvalContext<'_>) -> Result<()> {
        self.before_eval_epoch(cx)
    }
    /// Before a test batch.
    fn before_test_iter(&mut self, cx: &mut EvalContext<'_>) -> Result<()> {
        self.before_eval_iter(cx)
    }
    /// After a test batch.
    fn after_test_iter(&mut self, cx: &mut EvalIterContext<'_>) -> Result<()> {
        self.after_eval_iter(cx)
    }
    /// After the test's metrics.
    fn after_test_epoch(&mut self, cx: &mut EvalEpochContext<'_>) -> Result<()> {
        self.after_eval_epoch(cx)
    }
    /// After a test.
    fn after_test(&mut self, cx: &mut EvalContext<'_>) -> Result<()> {
        self.after_eval(cx)
    }
    /// After everything, once a run.
    fn after_run(&mut self, _: &mut RunContext<'_>) -> Result<()> {
        Ok(())
    }
}
