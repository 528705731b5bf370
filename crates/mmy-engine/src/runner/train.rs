//! Training: the step, and what lies around it.

use std::{iter::Take, path::PathBuf, time::Instant};

use mmy_data::{Batches, Pipeline, Transform};
use mmy_registry::Slot;
use mmy_structures::Batch;

use super::{Resume, Runner};
use crate::{
    Checkpoint, EngineError, FailedStep, Manifest, Pass, Progress,
    error::Result,
    failed_step,
    guard::guarded,
    hooks::{PASSING, SaveRequest, StepTimes},
    progress::Length,
    trace::{self, Origin, Tracer},
};

impl Runner {
    /// Trains to the end of the run.
    ///
    /// # Errors
    /// [`EngineError::Interrupted`] once the state is saved, and whatever ends a run early.
    pub fn train(&mut self, from: &Resume) -> Result<()> {
        self.at_run(|hook, cx| hook.before_run(cx))?;
        self.start_from(from)?;
        self.trace_from(from)?;
        if self.progress.is_over() {
            let Progress { epoch, max_epochs, iter, .. } = self.progress;
            match self.progress.max_iters {
                Some(all) => tracing::warn!("nothing is left to train: the checkpoint is at step {iter} of {all}"),
                None => tracing::warn!("nothing is left to train: the checkpoint is at epoch {epoch} of {max_epochs}"),
            }
        }
        // The loop acts on the runner that owns it.
        let schedule = std::mem::replace(&mut self.training_mut().schedule, Box::new(NoLoop));
        let ended = schedule.run(self);
        self.training_mut().schedule = schedule;
        ended?;
        self.at_run(|hook, cx| hook.after_run(cx))
    }

    fn trace_from(&mut self, from: &Resume) -> Result<()> {
        let whole = |it: &PathBuf| std::path::absolute(it).unwrap_or_else(|_| it.clone());
        let origin = match from {
            Resume::No => Origin::Initial,
            Resume::Weights(path) => Origin::Weights(whole(path)),
            Resume::From(path) | Resume::Anyway(path) => Origin::Resumed(whole(path)),
        };
        let start = trace::Start { origin, manifest: self.manifest(Vec::new(), false) };
        self.tracer = Some(Tracer::start(&self.run.work_dir.own(), &start, &self.model)?);
        Ok(())
    }

    fn training_mut(&mut self) -> &mut super::Training {
        self.train.as_mut().expect("Runner::for_training makes it")
    }

    /// The batches that are left: of the current epoch, or of the run where steps count and the sampler has no end. The
    /// loader begins with the very batch, so going on within an epoch takes no longer than beginning one.
    pub(crate) fn train_batches(&mut self, pass: Pass) -> Take<Batches> {
        let Progress { epoch, iter, batch, epoch_len, .. } = self.progress;
        let all = self.progress.max_iters();
        match pass {
            Pass::Steps { .. } => self.observer.pass_begins(pass, iter, all),
            _ => self.observer.pass_begins(pass, batch, epoch_len),
        }
        let left = if self.progress.by_iter() { all - iter } else { epoch_len - batch };
        let loader = &self.training().loader;
        let (epoch, first) = if loader.is_endless() { (0, iter) } else { (epoch, batch) };
        loader.epoch(epoch as u64, first).take(left)
    }

    /// One step: hooks, forward and backward pass, optimiser, hooks. `val_due` tells whether a validation comes next.
    pub(crate) fn train_step(&mut self, pass: Pass, batch: &Batch, val_due: bool) -> Result<()> {
        self.resume_point = Progress { val_pending: val_due && self.val.is_some(), ..self.progress.after_step() };
        self.before_step(batch)?;
        let (losses, times) = self.learn(batch)?;
        self.after_step(batch, &losses, times)?;
        if let Some(tracer) = &mut self.tracer {
            tracer.step(self.resume_point.iter, &losses, &self.model)?;
        }
        self.progress = self.resume_point;
        self.observer.batch_done(pass, batch.len(), &self.messages);
        self.end_if_asked()
    }

    /// Forward pass, loss, backward pass, optimiser; the loss and its parts, and where the time went.
    fn learn(&mut self, batch: &Batch) -> Result<(Vec<(String, f64)>, StepTimes)> {
        let started = Instant::now();
        failed_step::seed_layers(self.run.seed, self.progress.iter);
        let steps_left = self.progress.max_iters().saturating_sub(self.progress.iter + 1);
        let optim = &mut self.train.as_mut().expect("Runner::for_training makes it").optim;
        let shape = batch.inputs.size();
        let losses = guarded(&shape, || Ok(optim.precision().run(|| self.model.net.loss(batch))??))?;
        let total = losses.total();
        let mut values = failed_step::values(&losses, &total);
        let forward = started.elapsed();
        if values.iter().any(|(_, value)| !value.is_finite()) {
            return Err(self.failed("the loss", &values, batch));
        }
        match guarded(&shape, || optim.update(&total, steps_left)) {
            Ok(norm) => values.extend(norm.map(|it| ("grad_norm".to_owned(), it))),
            Err(EngineError::Gradient(name)) => {
                return Err(self.failed(&format!("the gradient of `{name}`"), &values, batch));
            }
            Err(error) => return Err(error),
        }
        let (backward, optimizer) = self.training().optim.last_times();
        Ok((values, StepTimes { forward, backward, optimizer }))
    }

    /// Goes on with batches that another pipeline makes; those of an epoch that has begun stay as they are.
    pub(super) fn switch_pipeline(&mut self, steps: &[Slot<Transform>]) -> Result<()> {
        let pipeline = Pipeline::build(steps)?;
        let training = self.training_mut();
        let switched = training.loader.with_pipeline(pipeline);
        training.loader =
            switched.ok_or_else(|| EngineError::Unfit("the training data set has no pipeline to exchange".into()))?;
        Ok(())
    }

    /// Saves the batch and the state of a step that went wrong; no weight has moved yet.
    fn failed(&self, what: &str, values: &[(String, f64)], batch: &Batch) -> EngineError {
        let list = |items: Vec<String>| items.join(", ");
        let path = self.run.work_dir.own().join(failed_step::FILE);
        let failed = FailedStep {
            reason: format!("{what} is not finite"),
            metas: batch.metas.clone(),
            losses: values.iter().map(|(name, value)| (name.clone(), value.to_string())).collect(),
        };
        let checkpoint = Checkpoint {
            manifest: Some(Manifest {
                progress: self.progress,
                failed: Some(failed),
                ..self.manifest(Vec::new(), false)
            }),
            model: self.model.tensors(),
            optimizer: self.training().optim.state(),
            batch: failed_step::tensors(batch),
            ..Checkpoint::default()
        };
        let replay = match checkpoint.write(&path) {
            Ok(()) => format!("to run this step again: mmy replay {}", path.display()),
            Err(error) => format!("the step could not be saved for a replay: {error}"),
        };
        EngineError::NotFinite {
            what: what.to_owned(),
            replay,
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
        let path = self.run.work_dir.path().join(PASSING);
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
    fn length(&self) -> Length {
        Length::Epochs(0)
    }
    fn run(&self, _: &mut Runner) -> Result<()> {
        Ok(())
    }
}
