//! Lends each hook its context, and does what hooks ask for.

use mmy_eval::Evaluation;
use mmy_structures::{Batch, Detections};

use super::Runner;
use crate::{
    error::Result,
    hooks::{
        EvalContext, EvalEpochContext, EvalIterContext, LoadContext, Mode, Registered, Request, RunContext,
        SaveContext, StepTimes, TrainContext, TrainIterContext, TrainStepContext,
    },
};

/// The fields of a runner that a stage lends, borrowed one by one so that the hooks themselves stay free.
macro_rules! train_context {
    ($runner:ident) => {
        TrainContext {
            run: &$runner.run,
            progress: &$runner.progress,
            model: &mut $runner.model,
            optim: &mut $runner.train.as_mut().expect("only training calls its stages").optim,
            messages: &mut $runner.messages,
            requests: &mut $runner.requests,
        }
    };
}

macro_rules! eval_context {
    ($runner:ident, $mode:expr, $batches:expr) => {
        EvalContext {
            mode: $mode,
            run: &$runner.run,
            progress: &$runner.progress,
            batches: $batches,
            model: &mut $runner.model,
            messages: &mut $runner.messages,
        }
    };
}

/// One stage of all hooks in turn, and then what they asked for: so a checkpoint is the state after the whole stage, and
/// a resume neither repeats a hook's share of it nor leaves one out.
macro_rules! each_hook {
    ($runner:ident, $stage:ident, $context:expr) => {{
        for at in 0..$runner.hooks.len() {
            let mut context = $context;
            $stage(&mut $runner.hooks[at], &mut context)?;
        }
        $runner.fulfil()
    }};
}

impl Runner {
    pub(crate) fn at_run(&mut self, stage: fn(&mut Registered, &mut RunContext<'_>) -> Result<()>) -> Result<()> {
        each_hook!(self, stage, {
            RunContext {
                run: &self.run,
                progress: &self.progress,
                model: &mut self.model,
                messages: &mut self.messages,
            }
        })
    }

    pub(crate) fn at_load(&mut self, context: &mut LoadContext<'_>) -> Result<()> {
        self.hooks.iter_mut().try_for_each(|it| it.after_load_checkpoint(context))
    }

    pub(crate) fn at_save(&mut self, checkpoint: &mut crate::Checkpoint, resumable: bool) -> Result<()> {
        let mut context = SaveContext { checkpoint, run: &self.run, model: &self.model, resumable };
        self.hooks.iter_mut().try_for_each(|it| it.before_save_checkpoint(&mut context))
    }

    pub(crate) fn at_train(&mut self, stage: fn(&mut Registered, &mut TrainContext<'_>) -> Result<()>) -> Result<()> {
        each_hook!(self, stage, train_context!(self))
    }

    pub(super) fn before_step(&mut self, batch: &Batch) -> Result<()> {
        let stage = |hook: &mut Registered, cx: &mut TrainIterContext<'_>| hook.before_train_iter(cx);
        each_hook!(self, stage, TrainIterContext { train: train_context!(self), batch })
    }

    pub(super) fn after_step(&mut self, batch: &Batch, losses: &[(String, f64)], times: StepTimes) -> Result<()> {
        let stage = |hook: &mut Registered, cx: &mut TrainStepContext<'_>| hook.after_train_iter(cx);
        each_hook!(self, stage, TrainStepContext { train: train_context!(self), batch, losses, times })
    }

    pub(super) fn at_eval(
        &mut self,
        mode: Mode,
        batches: usize,
        stage: fn(&mut Registered, &mut EvalContext<'_>) -> Result<()>,
    ) -> Result<()> {
        each_hook!(self, stage, eval_context!(self, mode, batches))
    }

    pub(super) fn after_eval_iter(
        &mut self,
        mode: Mode,
        batches: usize,
        (index, batch, detections): (usize, &Batch, &[Detections]),
    ) -> Result<()> {
        let stage = |hook: &mut Registered, cx: &mut EvalIterContext<'_>| match mode {
            Mode::Val => hook.after_val_iter(cx),
            Mode::Test => hook.after_test_iter(cx),
        };
        each_hook!(self, stage, EvalIterContext { eval: eval_context!(self, mode, batches), index, batch, detections })
    }

    pub(super) fn after_eval_epoch(&mut self, mode: Mode, batches: usize, evaluation: &Evaluation) -> Result<()> {
        let stage = |hook: &mut Registered, cx: &mut EvalEpochContext<'_>| match mode {
            Mode::Val => hook.after_val_epoch(cx),
            Mode::Test => hook.after_test_epoch(cx),
        };
        each_hook!(
            self,
            stage,
            EvalEpochContext {
                eval: eval_context!(self, mode, batches),
                groups: self.train.as_mut().map_or(&mut [], |it| it.optim.groups_mut()),
                evaluation,
                requests: &mut self.requests,
            }
        )
    }

    fn fulfil(&mut self) -> Result<()> {
        for request in std::mem::take(&mut self.requests.0) {
            match request {
                Request::Save(save) => self.save(&save)?,
                Request::Stop(reason) => {
                    tracing::info!("{reason}");
                    self.stopped = Some(reason);
                }
                Request::TrainPipeline(steps) => self.switch_pipeline(&steps)?,
            }
        }
        Ok(())
    }
}
