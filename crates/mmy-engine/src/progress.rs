//! How far a run has come: all that decides what it does next.

use serde::{Deserialize, Serialize};

/// How far a run has come. Together with the config and the tensors of a checkpoint it decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Epochs (passes over the training data) that are over. While one runs this is its index from 0, as mmengine counts.
    pub epoch: usize,
    /// Training steps that are over, in all epochs.
    pub iter: usize,
    /// Training steps of the current epoch that are over.
    pub batch: usize,
    /// Whether the validation that is due now still has to run.
    pub val_pending: bool,
    /// Epochs of the whole run; the last may be cut short where the run is counted in steps.
    pub max_epochs: usize,
    /// Steps of the whole run, where it is counted in steps and not in epochs.
    #[serde(default)]
    pub max_iters: Option<usize>,
    /// Steps of one epoch.
    pub epoch_len: usize,
}

impl Progress {
    /// Nothing is done yet of a run of this length.
    pub fn start(length: Length, epoch_len: usize) -> Self {
        let (max_epochs, max_iters) = match length {
            Length::Epochs(epochs) => (epochs, None),
            Length::Iters(iters) => (iters.div_ceil(epoch_len.max(1)), Some(iters)),
        };
        Progress { max_epochs, max_iters, epoch_len, ..Progress::default() }
    }

    /// Steps of the whole run.
    pub fn max_iters(&self) -> usize {
        self.max_iters.unwrap_or(self.max_epochs * self.epoch_len)
    }

    /// Whether the run is counted in steps and not in epochs.
    pub fn by_iter(&self) -> bool {
        self.max_iters.is_some()
    }

    /// Whether nothing is left to train.
    pub fn is_over(&self) -> bool {
        match self.max_iters {
            Some(iters) => self.iter >= iters,
            None => self.epoch >= self.max_epochs,
        }
    }

    /// One step later. Where epochs count, the end of one is a point of its own, with hooks before and after; where
    /// steps count, the next epoch begins at once.
    #[must_use]
    pub fn after_step(&self) -> Self {
        let mut next = Progress { iter: self.iter + 1, batch: self.batch + 1, ..*self };
        if self.by_iter() && next.batch == next.epoch_len {
            (next.epoch, next.batch) = (next.epoch + 1, 0);
        }
        next
    }
}

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Passes over the training data.
    Epochs(usize),
    /// Training steps.
    Iters(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_follow_from_steps_where_steps_count() {
        let mut at = Progress::start(Length::Iters(7), 3);
        assert_eq!((at.max_epochs, at.max_iters(), at.is_over()), (3, 7, false));
        let mut seen = Vec::new();
        while !at.is_over() {
            at = at.after_step();
            seen.push((at.epoch, at.batch));
        }
        assert_eq!(seen, [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]);
    }

    #[test]
    fn the_end_of_an_epoch_is_a_point_of_its_own_where_epochs_count() {
        let at = Progress::start(Length::Epochs(2), 1).after_step();
        assert_eq!((at.epoch, at.batch, at.iter, at.max_iters()), (0, 1, 1, 2));
    }
}
