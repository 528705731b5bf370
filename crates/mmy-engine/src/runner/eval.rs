//! Validation and test.

use mmy_eval::Evaluation;

use super::{Evaluating, Resume, Runner};
use crate::{EngineError, Pass, Progress, error::Result, guard::guarded, hooks::Mode};

impl Runner {
    /// Predicts the test data and computes the metrics.
    ///
    /// # Errors
    /// When the checkpoint does not fit, or the data cannot be read.
    pub fn test(&mut self, from: &Resume) -> Result<Evaluation> {
        self.at_run(|hook, cx| hook.before_run(cx))?;
        self.start_from(from)?;
        let test = self.test.take().expect("Runner::for_testing makes it");
        let (test, evaluation) = self.evaluate(Mode::Test, Pass::Test, test);
        self.test = Some(test);
        let evaluation = evaluation?;
        self.at_run(|hook, cx| hook.after_run(cx))?;
        Ok(evaluation)
    }

    /// The validation, where one is due.
    pub(crate) fn validate_if_due(&mut self) -> Result<()> {
        if !self.progress.val_pending {
            return Ok(());
        }
        let val = self.val.take().ok_or_else(|| EngineError::Unfit("the config has no validation".into()))?;
        let (val, evaluation) = self.evaluate(Mode::Val, Pass::Val { epoch: self.progress.epoch }, val);
        self.val = Some(val);
        evaluation.map(drop)
    }

    /// A pass over the data; gives `over` back, whatever happens.
    fn evaluate(&mut self, mode: Mode, pass: Pass, mut over: Evaluating) -> (Evaluating, Result<Evaluation>) {
        let result = self.pass(mode, pass, &mut over);
        self.observer.pass_ends(pass);
        (over, result)
    }

    fn pass(&mut self, mode: Mode, pass: Pass, over: &mut Evaluating) -> Result<Evaluation> {
        let batches = over.loader.len();
        self.at_eval(mode, batches, pick(mode, |h, cx| h.before_val(cx), |h, cx| h.before_test(cx)))?;
        self.at_eval(mode, batches, pick(mode, |h, cx| h.before_val_epoch(cx), |h, cx| h.before_test_epoch(cx)))?;
        self.observer.pass_begins(pass, 0, batches);
        for (index, batch) in over.loader.epoch(0, 0).enumerate() {
            let batch = batch?;
            self.at_eval(mode, batches, pick(mode, |h, cx| h.before_val_iter(cx), |h, cx| h.before_test_iter(cx)))?;
            let predict = || tch::no_grad(|| self.model.net.predict(&batch));
            let detections = guarded(&batch.inputs.size(), || Ok(over.how.precision.run(predict)??))?;
            over.metric.process(&batch.metas, &detections, &batch.ground_truth);
            self.after_eval_iter(mode, batches, (index, &batch, &detections))?;
            self.observer.batch_done(pass, batch.len(), &self.messages);
            self.end_if_asked()?;
        }
        let evaluation = over.metric.evaluate()?;
        self.resume_point = Progress { val_pending: false, ..self.progress };
        self.after_eval_epoch(mode, batches, &evaluation)?;
        self.progress = self.resume_point;
        self.at_eval(mode, batches, pick(mode, |h, cx| h.after_val(cx), |h, cx| h.after_test(cx)))?;
        Ok(evaluation)
    }
}

type Stage = fn(&mut crate::hooks::Registered, &mut crate::hooks::EvalContext<'_>) -> Result<()>;

fn pick(mode: Mode, val: Stage, test: Stage) -> Stage {
    match mode {
        Mode::Val => val,
        Mode::Test => test,
    }
}
