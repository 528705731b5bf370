//! Everything a run consists of, and the steps that loops put together.

mod build;
mod eval;
mod stages;
mod state;
mod train;

pub use build::{Start, build_hooks};

use std::{collections::BTreeMap, path::PathBuf};

use mmy_data::Loader;
use mmy_eval::MetricSink;
use mmy_registry::Slot;

use crate::{
    Fingerprint, Interrupt, MessageHub, Model, Observer, Progress, RunConfig, WorkDir,
    hooks::{Registered, Requests},
    loops::{EvalLoop, TrainLoop},
    optim::OptimWrapper,
    schedules::ParamSchedulerKind,
    trace::Tracer,
};

/// What does not change in a run.
#[derive(Debug, Clone)]
pub struct RunInfo {
    /// The config's name, without folder and extension.
    pub name: String,
    /// The resolved config, as TOML.
    pub config: String,
    /// Where the run writes.
    pub work_dir: WorkDir,
    /// Class names, by index.
    pub classes: Vec<String>,
    /// The seed of everything.
    pub seed: u64,
    /// Steps over which log lines average.
    pub log_window: usize,
    /// Schedules of learning rate and momentum.
    pub param_scheduler: Vec<Slot<ParamSchedulerKind>>,
}

/// What a run starts from.
#[derive(Debug, Clone, PartialEq)]
pub enum Resume {
    /// Initial values.
    No,
    /// The weights of a checkpoint.
    Weights(PathBuf),
    /// A checkpoint of this run, to go on from.
    From(PathBuf),
    /// The same, also where its run's config or data differ.
    Anyway(PathBuf),
}

/// Everything a run consists of. [`crate::loops`] say what happens when.
pub struct Runner {
    config: RunConfig,
    run: RunInfo,
    model: Model,
    hooks: Vec<Registered>,
    train: Option<Training>,
    val: Option<Evaluating>,
    test: Option<Evaluating>,
    /// What the data sets are.
    data: Vec<Fingerprint>,
    /// The crates that the parts come from.
    parts: BTreeMap<String, String>,
    progress: Progress,
    /// Where a run goes on that starts from a checkpoint written now.
    resume_point: Progress,
    messages: MessageHub,
    requests: Requests,
    stopped: Option<String>,
    interrupt: Interrupt,
    observer: Box<dyn Observer>,
    /// What is left for a verification; nothing before training starts.
    tracer: Option<Tracer>,
}

/// What training needs.
struct Training {
    loader: Loader,
    schedule: Box<dyn TrainLoop>,
    optim: OptimWrapper,
}

/// What a pass without training needs.
struct Evaluating {
    loader: Loader,
    how: EvalLoop,
    metric: Box<dyn MetricSink>,
}

impl Runner {
    /// How far the run has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether a hook asked for the end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What does not change in the run.
    pub fn info(&self) -> &RunInfo {
        &self.run
    }

    /// The hooks in the order in which they run.
    pub fn hooks(&self) -> &[Registered] {
        &self.hooks
    }

    fn training(&self) -> &Training {
        self.train.as_ref().expect("Runner::train checks that there is something to train")
    }
}
