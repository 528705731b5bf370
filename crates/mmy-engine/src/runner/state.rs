//! From a runner to a checkpoint and back.

use std::{fs, path::Path};

use mmy_nn::{LoadPolicy, StateDict};
use serde_json::Map;

use super::{Resume, Runner};
use crate::{
    Checkpoint, EngineError, Manifest, Progress, compare,
    error::Result,
    hooks::{LoadContext, SaveRequest},
};

impl Runner {
    /// Writes a checkpoint, and only then removes what it replaces.
    pub(super) fn save(&mut self, request: &SaveRequest) -> Result<()> {
        let optimizer = match &self.train {
            Some(training) if request.resumable => training.optim.state(),
            _ => Vec::new(),
        };
        let mut checkpoint = Checkpoint { model: self.model.tensors(), optimizer, ..Checkpoint::default() };
        self.at_save(&mut checkpoint, request.resumable)?;
        checkpoint.manifest = Some(self.manifest(request.metrics.clone(), request.resumable));
        checkpoint.write(&request.path)?;
        if request.newest {
            self.run.work_dir.set_last_checkpoint(&request.path)?;
        }
        for old in &request.then_remove {
            match fs::remove_file(old) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!("cannot remove the old checkpoint `{}`: {error}", old.display());
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn manifest(&self, metrics: Vec<(String, f64)>, resumable: bool) -> Manifest {
        let states = self.hooks.iter().map(|it| (it.key.clone(), it.hook.state())).filter(|it| !it.1.is_null());
        Manifest {
            format: Manifest::FORMAT,
            mmy: env!("CARGO_PKG_VERSION").into(),
            libtorch: mmy_libtorch::VERSION.into(),
            name: self.run.name.clone(),
            config: self.run.config.clone(),
            classes: self.run.classes.clone(),
            progress: self.resume_point,
            seed: self.run.seed,
            threads: mmy_torch::threads::intra_op(),
            data: self.data.clone(),
            parts: self.parts.clone(),
            plugins: mmy_registry::plugins(),
            metrics,
            resumable,
            deployed: self.model.params.is_deployed(),
            failed: None,
            hooks: if resumable { states.collect() } else { Map::new() },
            messages: if resumable { self.messages.recent(self.run.log_window) } else { Default::default() },
        }
    }

    /// Sets libtorch's threads, and puts a checkpoint's content in its place.
    pub(super) fn start_from(&mut self, from: &Resume) -> Result<()> {
        let threads = self.config.env_cfg.num_threads.unwrap_or_else(mmy_torch::cpu::physical_cores);
        mmy_torch::threads::set_intra_op(threads)?;
        match from {
            Resume::No => Ok(()),
            Resume::Weights(path) => self.load_weights(path),
            Resume::From(path) => self.resume(path, false),
            Resume::Anyway(path) => self.resume(path, true),
        }
    }

    fn load_weights(&mut self, path: &Path) -> Result<()> {
        let mut checkpoint = Checkpoint::read(path)?;
        let deployed = checkpoint.manifest.as_ref().is_some_and(|it| it.deployed);
        if deployed {
            if self.train.is_some() {
                return Err(EngineError::Unfit(format!(
                    "`{}` holds a deployed model, whose layers are merged for good: start from the checkpoint that it \
                     was made of",
                    path.display()
                )));
            }
            self.model = self.model.deployed_form()?;
        }
        self.at_load(&mut LoadContext { checkpoint: &mut checkpoint, path, resume: false })?;
        let state: StateDict = checkpoint.model.into_iter().collect();
        // Fine-tuning may well bring another head; a test of a model that is not there would mean nothing.
        let policy = if self.train.is_some() { LoadPolicy::Lenient } else { LoadPolicy::Complete };
        let loaded = match deployed {
            true => self.model.params.load_state_by_name(&state, policy),
            false => self.model.params.load_state(&state, policy),
        };
        let report = loaded.map_err(|it| misfit(path, &it))?;
        if report.applied.is_empty() {
            return Err(EngineError::Unfit(format!("`{}` has no tensor of this model:\n{report}", path.display())));
        }
        match report.is_whole() {
            true => tracing::info!("Load checkpoint from {}", path.display()),
            false => tracing::warn!("Load checkpoint from {}: {report}", path.display()),
        }
        tracing::debug!(target: crate::LOG_ONLY, "every name of {}: {}", path.display(), report.in_full());
        Ok(())
    }

    fn resume(&mut self, path: &Path, anyway: bool) -> Result<()> {
        let mut checkpoint = Checkpoint::read(path)?;
        let manifest = checkpoint.manifest.take().filter(|it| it.resumable).ok_or_else(|| {
            EngineError::Unfit(format!(
                "`{}` holds a model, but not what a run needs to go on (optimiser, hooks): resume from the file that \
                 `last_checkpoint` names, or start from its weights with --load-from",
                path.display()
            ))
        })?;
        self.held_against(path, &manifest, anyway)?;
        let epoch_len = self.progress.epoch_len;
        if manifest.progress.epoch_len != epoch_len {
            return Err(EngineError::Unfit(format!(
                "`{}` is from a run with {} batches in an epoch, this one has {epoch_len}: the data or the batch size \
                 changed. Start from its weights with --load-from",
                path.display(),
                manifest.progress.epoch_len
            )));
        }
        self.at_load(&mut LoadContext { checkpoint: &mut checkpoint, path, resume: true })?;
        let state: StateDict = checkpoint.model.into_iter().collect();
        self.model.params.load_state(&state, LoadPolicy::Exact).map_err(|it| misfit(path, &it))?;
        let optimizer = checkpoint.optimizer.into_iter().collect();
        if let Some(training) = &mut self.train {
            training.optim.load_state(&optimizer)?;
        }
        for hook in &mut self.hooks {
            if let Some(state) = manifest.hooks.get(&hook.key) {
                hook.hook.load_state(state)?;
            }
        }
        if manifest.threads != mmy_torch::threads::intra_op() {
            tracing::info!("libtorch takes {} threads, as the checkpoint's run had", manifest.threads);
            mmy_torch::threads::set_intra_op(manifest.threads)?;
        }
        self.messages = manifest.messages;
        let Progress { max_epochs, max_iters, .. } = self.progress;
        self.progress = Progress { max_epochs, max_iters, ..manifest.progress };
        self.resume_point = self.progress;
        tracing::info!(
            "resumed from {}: epoch {}, iteration {}",
            path.display(),
            self.progress.epoch,
            self.progress.iter
        );
        Ok(())
    }
}

impl Runner {
    /// Refuses a checkpoint of a run that computes something else, unless it is wanted `anyway`.
    fn held_against(&self, path: &Path, manifest: &Manifest, anyway: bool) -> Result<()> {
        let unreadable = |error: toml::de::Error| {
            EngineError::Unfit(format!("`{}`: the config in it cannot be read: {error}", path.display()))
        };
        let mut differences = compare::configs(&manifest.config, &self.run.config).map_err(unreadable)?;
        differences.extend(compare::data(&manifest.data, &self.data));
        if !differences.is_empty() && !anyway {
            return Err(EngineError::AnotherRun { path: path.to_owned(), differences });
        }
        for it in differences {
            tracing::warn!("going on all the same: {it}");
        }
        let parts =
            manifest.parts.iter().filter_map(|(name, was)| Some((name.as_str(), was.as_str(), self.parts.get(name)?)));
        let libtorch = ("libtorch", manifest.libtorch.as_str(), &mmy_libtorch::VERSION.to_owned());
        for (name, was, is) in parts.chain([libtorch]).filter(|(_, was, is)| was != is) {
            tracing::warn!("the checkpoint is of {name} {was}, this is {is}: the last bits of results may differ");
        }
        Ok(())
    }
}

fn misfit(path: &Path, error: &mmy_nn::LoadError) -> EngineError {
    EngineError::Unfit(format!("`{}`: {error}", path.display()))
}
