//! The loops: training by epochs, validation, test.

mod epoch_based_train;
mod eval;

pub use eval::{EvalLoop, TestLoopConfig, ValLoopConfig};

use mmy_registry::Kind;

use crate::{Runner, error::Result};

/// The kind of training loops.
pub struct TrainLoopKind;

impl Kind for TrainLoopKind {
    const NAME: &'static str = "train loop";
    type Args<'a> = ();
    type Output = Box<dyn TrainLoop>;
}

/// The kind of loops without training.
pub struct EvalLoopKind;

impl Kind for EvalLoopKind {
    const NAME: &'static str = "evaluation loop";
    type Args<'a> = ();
    type Output = EvalLoop;
}

/// Runs a whole training.
pub trait TrainLoop: std::fmt::Debug {
    /// Epochs of the whole run.
    fn max_epochs(&self) -> usize;

    /// Whether a validation is due once `epochs` are over.
    fn validates_after(&self, epochs: usize) -> bool;

    /// Trains from `runner`'s progress to the end.
    ///
    /// # Errors
    /// [`crate::EngineError::Interrupted`] once the state is saved, and whatever ends a run early.
    fn run(&self, runner: &mut Runner) -> Result<()>;
}
