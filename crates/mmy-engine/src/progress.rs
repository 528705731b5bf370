//! How far a run has come: all that decides what it does next.

use serde::{Deserialize, Serialize};

/// How far a run has come. Together with the config and the tensors of a checkpoint it decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Epochs that are over. While an epoch runs this is its index from 0, as mmengine counts.
    pub epoch: usize,
    /// Training steps that are over, in all epochs.
    pub iter: usize,
    /// Training steps of the current epoch that are over.
    pub batch: usize,
    /// Whether the validation that is due after epoch `epoch` still has to run.
    pub val_pending: bool,
    /// Epochs of the whole run.
    pub max_epochs: usize,
    /// Steps of one epoch.
    pub epoch_len: usize,
}

impl Progress {
    /// Steps of the whole run.
    pub fn max_iters(&self) -> usize {
        self.max_epochs * self.epoch_len
    }
}
