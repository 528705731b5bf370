//! What each stage lends to a hook.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mmy_data::Transform;
use mmy_eval::Evaluation;
use mmy_registry::Slot;
use mmy_structures::{Batch, Detections};

use crate::{
    Checkpoint, MessageHub, Model, Progress, RunInfo,
    optim::{OptimWrapper, ParamGroup},
};

/// Which of the two passes without training is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Validation, between epochs of training.
    Val,
    /// A test on its own.
    Test,
}

impl Mode {
    /// `val` or `test`, as log lines and scalar names have it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Val => "val",
            Mode::Test => "test",
        }
    }
}

/// The start and the end of a run.
pub struct RunContext<'a> {
    /// What does not change in a run.
    pub run: &'a RunInfo,
    /// How far it has come.
    pub progress: &'a Progress,
    /// The model; nothing is loaded into it yet at the start.
    pub model: &'a mut Model,
    /// Scalars for log lines.
    pub messages: &'a mut MessageHub,
}

/// A checkpoint that was read.
pub struct LoadContext<'a> {
    /// Its content; what stands under the plain names goes into the model.
    pub checkpoint: &'a mut Checkpoint,
    /// Its file.
    pub path: &'a Path,
    /// Whether the run goes on from it, or takes nothing but its weights.
    pub resume: bool,
}

/// A checkpoint that will be written.
pub struct SaveContext<'a> {
    /// Its content so far: the model's own tensors.
    pub checkpoint: &'a mut Checkpoint,
    /// What does not change in a run.
    pub run: &'a RunInfo,
    /// The model.
    pub model: &'a Model,
    /// Whether it carries what a resume needs.
    pub resumable: bool,
}

/// Training, between steps.
pub struct TrainContext<'a> {
    /// What does not change in a run.
    pub run: &'a RunInfo,
    /// How far it has come.
    pub progress: &'a Progress,
    /// The model.
    pub model: &'a mut Model,
    /// The optimiser with its parameter groups.
    pub optim: &'a mut OptimWrapper,
    /// Scalars for log lines.
    pub messages: &'a mut MessageHub,
    /// What the runner shall do after this stage.
    pub requests: &'a mut Requests,
}

impl TrainContext<'_> {
    /// The optimiser's parameter groups.
    pub fn groups(&mut self) -> &mut [ParamGroup] {
        self.optim.groups_mut()
    }
}

/// A step that is about to run.
pub struct TrainIterContext<'a> {
    /// What lies around the step.
    pub train: TrainContext<'a>,
    /// What it will learn from.
    pub batch: &'a Batch,
}

/// A step that has run.
pub struct TrainStepContext<'a> {
    /// What lies around the step.
    pub train: TrainContext<'a>,
    /// What it learnt from.
    pub batch: &'a Batch,
    /// The parts of the loss, and `loss`, their sum.
    pub losses: &'a [(String, f64)],
    /// Where its time went.
    pub times: StepTimes,
}

/// Where the time of a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepTimes {
    /// Forward pass and losses.
    pub forward: Duration,
    /// Backward pass.
    pub backward: Duration,
    /// Clipping and the optimiser's step; nothing where gradients are only gathered.
    pub optimizer: Duration,
}

/// A validation or a test.
pub struct EvalContext<'a> {
    /// Which of the two.
    pub mode: Mode,
    /// What does not change in a run.
    pub run: &'a RunInfo,
    /// How far training has come.
    pub progress: &'a Progress,
    /// Batches of the pass.
    pub batches: usize,
    /// The model.
    pub model: &'a mut Model,
    /// Scalars for log lines.
    pub messages: &'a mut MessageHub,
}

/// A batch that was predicted.
pub struct EvalIterContext<'a> {
    /// What lies around the batch.
    pub eval: EvalContext<'a>,
    /// Its index from 0.
    pub index: usize,
    /// The batch.
    pub batch: &'a Batch,
    /// What was found, one for each picture.
    pub detections: &'a [Detections],
}

/// A pass with its metrics.
pub struct EvalEpochContext<'a> {
    /// What lies around the pass.
    pub eval: EvalContext<'a>,
    /// The optimiser's parameter groups; none in a test.
    pub groups: &'a mut [ParamGroup],
    /// The metrics.
    pub evaluation: &'a Evaluation,
    /// What the runner shall do after this stage.
    pub requests: &'a mut Requests,
}

/// What hooks ask of the runner.
#[derive(Debug, Default)]
pub struct Requests(pub(crate) Vec<Request>);

impl Requests {
    /// Asks for one more thing.
    pub fn ask(&mut self, request: Request) {
        self.0.push(request);
    }
}

/// One thing that a hook asks of the runner.
#[derive(Debug, Clone)]
pub enum Request {
    /// Write a checkpoint.
    Save(SaveRequest),
    /// End the training after the current epoch, for this reason.
    Stop(String),
    /// Make the batches of later epochs by another pipeline.
    TrainPipeline(Vec<Slot<Transform>>),
}

/// A checkpoint that a hook wants.
#[derive(Debug, Clone, PartialEq)]
pub struct SaveRequest {
    /// Where to.
    pub path: PathBuf,
    /// Whether it carries what a resume needs (optimiser, hook states); otherwise it is for inference.
    pub resumable: bool,
    /// Files to delete, once the new one is safely there.
    pub then_remove: Vec<PathBuf>,
    /// Whether `last_checkpoint` shall name it.
    pub newest: bool,
    /// Metrics to note in it.
    pub metrics: Vec<(String, f64)>,
}
