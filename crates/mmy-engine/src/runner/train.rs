//! Training: the step, and what lies around it.

use std::path::PathBuf;

use mmy_data::Batches;
use mmy_structures::Batch;

use super::{Resume, Runner};
use crate::{EngineError, Pass, Progress, error::Result, hooks::SaveRequest};

impl Runner {
    /// Trains to the end of the run.
    ///
    /// # Errors
    /// [`EngineError::Interrupted`] once the state is saved, and whatever ends a run early.
    pub fn train(&mut self, from: &Resume) -> Result<()> {
        self.at_run(|hook, cx| hook.before_run(cx))?;
        self.start_from(from)?;
        if self.progress.epoch >= self.progress.max_epochs {
            tracing::warn!(
                "nothing is left to train: the checkpoint is at epoch {} of {}; a greater `train_cfg.max_epochs` goes on",
                self.progress.epoch,
                self.progress.max_epochs
            );
        }
        // The loop acts on the runner that owns it.
        let schedule = std::mem::replace(&mut self.training_mut().schedule, Box::new(NoLoop));
        let ended = schedule.run(self);
        self.training_mut().schedule = schedule;
        ended?;
        self.at_run(|hook, cx| hook.after_run(cx))
    }

    fn training_mut(&mut self) -> &mut super::Training {
        self.train.as_mut().expect("Runner::for_training makes it")
    }

    /// The batches of the current epoch that are left.
    pub(crate) fn train_batches(&mut self, pass: Pass) -> Batches {
        let (epoch, first) = (self.progress.epoch, self.progress.batch);
        self.observer.pass_begins(pass, first, self.progress.epoch_len);
        self.training().loader.epoch(epoch as u64, first)
    }

    /// One step: hooks, forward and backward pass, optimiser, hooks.
    pub(crate) fn train_step(&mut self, pass: Pass, batch: &Batch) -> Result<()> {
        let Progress { iter, batch: index, .. } = self.progress;
        self.resume_point = Progress { iter: iter + 1, batch: index + 1, ..self.progress };
        self.before_step(batch)?;
        let losses = self.learn(batch)?;
        self.after_step(batch, &losses)?;
        self.progress = self.resume_point;
        self.observer.batch_done(pass, batch.len(), &self.messages);
        self.end_if_asked()
    }

    /// Forward pass, loss, backward pass, optimiser; the loss and its parts.
    fn learn(&mut self, batch: &Batch) -> Result<Vec<(String, f64)>> {
        // What a layer draws at random is a function of seed and step, so that nothing of it has to be saved.
        mmy_torch::rng::seed(self.run.seed ^ (self.progress.iter as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let steps_left = self.progress.max_iters().saturating_sub(self.progress.iter + 1);
        let optim = &mut self.train.as_mut().expect("Runner::for_training makes it").optim;
        let losses = optim.precision().run(|| self.model.net.loss(batch))??;
        let total = losses.total();
        let mut values = vec![("loss".to_owned(), total.double_value(&[]))];
        values.extend(losses.0.iter().map(|(name, value)| ((*name).to_owned(), value.double_value(&[]))));
        if values.iter().any(|(_, value)| !value.is_finite()) {
            return Err(self.not_finite(&values, batch));
        }
        if let Some(norm) = optim.update(&total, steps_left)? {
            values.push(("grad_norm".to_owned(), norm));
        }
        Ok(values)
    }

    fn not_finite(&self, values: &[(String, f64)], batch: &Batch) -> EngineError {
        let list = |items: Vec<String>| items.join(", ");
        EngineError::NonFiniteLoss {
            iter: self.progress.iter + 1,
            epoch: self.progress.epoch + 1,
            parts: list(values.iter().map(|(name, value)| format!("{name} {value}")).collect()),
            pictures: list(batch.metas.iter().map(|it| it.img_path.display().to_string()).collect()),
        }
    }

    /// The epoch is over: hooks, then the next one is due, or a validation.
    pub(crate) fn epoch_ends(&mut self, val_due: bool) -> Result<()> {
        let val_pending = val_due && self.val.is_some();
        let epoch = self.progress.epoch + 1;
        self.resume_point = Progress { epoch, batch: 0, val_pending, ..self.progress };
        self.at_train(|hook, cx| hook.after_train_epoch(cx))?;
        self.progress = self.resume_point;
        Ok(())
    }

    pub(crate) fn pass_ends(&mut self, pass: Pass) {
        self.observer.pass_ends(pass);
    }

    /// Saves and ends the run, if somebody asked for it.
    pub(crate) fn end_if_asked(&mut self) -> Result<()> {
        if !self.interrupt.is_set() {
            return Ok(());
        }
        if self.train.is_none() {
            return Err(EngineError::Interrupted { resume_from: None });
        }
        let path: PathBuf = self.run.work_dir.path().join(format!("iter_{}.safetensors", self.progress.iter));
        self.resume_point = self.progress;
        self.save(&SaveRequest {
            path: path.clone(),
            resumable: true,
            then_remove: Vec::new(),
            newest: true,
            metrics: Vec::new(),
        })?;
        Err(EngineError::Interrupted { resume_from: Some(path) })
    }
}

/// Stands in for the loop while it runs.
#[derive(Debug)]
struct NoLoop;

impl crate::loops::TrainLoop for NoLoop {
    fn max_epochs(&self) -> usize {
        0
    }
    fn validates_after(&self, _: usize) -> bool {
        false
    }
    fn run(&self, _: &mut Runner) -> Result<()> {
        Ok(())
    }
}
