//! Live progress, for whoever shows it.

use crate::MessageHub;

/// A pass over batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// An epoch of training.
    Train {
        /// From 1.
        epoch: usize,
        /// Of the whole run.
        max_epochs: usize,
    },
    /// Training that is counted in steps.
    Steps {
        /// Of the whole run.
        max_iters: usize,
    },
    /// A validation after this many epochs.
    Val {
        /// From 1.
        epoch: usize,
    },
    /// A test.
    Test,
}

/// Sees a run go on, to show it; the library itself prints nothing.
pub trait Observer: Send {
    /// A pass begins at batch (or step) `first` of `batches`.
    fn pass_begins(&mut self, _pass: Pass, _first: usize, _batches: usize) {}
    /// A batch with that many pictures is done.
    fn batch_done(&mut self, _pass: Pass, _pictures: usize, _messages: &MessageHub) {}
    /// The pass is over.
    fn pass_ends(&mut self, _pass: Pass) {}
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Observer for Quiet {}
