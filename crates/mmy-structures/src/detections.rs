//! What a model found in one picture.

use serde::{Deserialize, Serialize};

use crate::BBox;

/// What a model found in one picture, best first; the three lists are of one length.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Detections {
    /// Boxes in pixels of the stored picture (or of the network input, where `rescale` was off).
    pub bboxes: Vec<BBox>,
    /// Scores in 0 to 1.
    pub scores: Vec<f32>,
    /// Class indices from 0.
    pub labels: Vec<u32>,
}

impl Detections {
    /// How many.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// `(box, score, label)` one after the other.
    pub fn iter(&self) -> impl Iterator<Item = (BBox, f32, u32)> + '_ {
        self.bboxes.iter().zip(&self.scores).zip(&self.labels).map(|((b, s), l)| (*b, *s, *l))
    }
}
