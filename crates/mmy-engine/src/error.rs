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
    /// A loss is not a number.
    #[error(
        "the loss is not finite at iteration {iter} (epoch {epoch}): {parts}\n  pictures of the batch: {pictures}\n  a \
         lower learning rate, a longer warm-up or gradient clipping usually helps; look at these pictures' boxes too"
    )]
    NonFiniteLoss {
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
