//! What can end a run early.

use std::path::{Path, PathBuf};

use mmy_data::DataError;
use mmy_eval::EvalError;
use mmy_models::kinds::ModelError;
use mmy_registry::BuildError;

use crate::{CheckpointError, Difference};

/// What most functions of this crate return.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// What can end a run early.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A part could not be built from its config.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The data could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model could not run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The metrics could not be computed.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// A checkpoint could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// The C++ edge reported an error.
    #[error(transparent)]
    Edge(#[from] mmy_torch::Error),
    /// A file of the run could not be written or read.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A loss or a gradient is not a number.
    #[error(
        "{what} is not finite at iteration {iter} (epoch {epoch}): {parts}\n  pictures of the batch: {pictures}\n  \
         {replay}\n  a lower learning rate, a longer warm-up or gradient clipping usually helps; look at these pictures' \
         boxes too"
    )]
    NotFinite {
        /// The loss, or the gradient of a parameter.
        what: String,
        /// How to run the step again.
        replay: String,
        /// Training step, from 1.
        iter: usize,
        /// Epoch, from 1.
        epoch: usize,
        /// Every part with its value.
        parts: String,
        /// Their files.
        pictures: String,
    },
    /// A checkpoint is of a run that computes something else.
    #[error("`{}` is of another run than this one:\n  {}\n  go on all the same with --resume-anyway, or start from its \
             weights with --load-from", path.display(), list(differences))]
    AnotherRun {
        /// The checkpoint.
        path: PathBuf,
        /// Where the two differ.
        differences: Vec<Difference>,
    },
    /// The gradient of this parameter is not finite.
    #[error("the gradient of `{0}` is not finite")]
    Gradient(String),
    /// libtorch got no memory.
    #[error(
        "out of memory: the step does not fit with pictures of {shape:?} (batch, channels, height, width){}\n  lower \
         `batch_size` of the dataloader (`optim_wrapper.accumulative_counts` makes up for it), the size of the pictures \
         or the model's width; `num_workers` · `prefetch_factor` batches wait in memory besides",
        asked.map(|it| format!("; libtorch asked for {:.1} MB more", it as f64 / 1e6)).unwrap_or_default()
    )]
    OutOfMemory {
        /// Shape of the batch's pictures.
        shape: Vec<i64>,
        /// Bytes that could not be had, where they are known.
        asked: Option<u64>,
    },
    /// Somebody asked the run to end; its state is saved.
    #[error("interrupted")]
    Interrupted {
        /// The checkpoint to go on from; none where nothing was trained.
        resume_from: Option<PathBuf>,
    },
    /// The run's settings contradict each other or what is there.
    #[error("{0}")]
    Unfit(String),
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

impl EngineError {
    /// For `map_err` on file operations.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> EngineError {
        let path = path.to_owned();
        move |source| EngineError::Io { action, path, source }
    }
}
