//! Heads: layers that predict, losses that teach them, boxes that come out.

mod gather;
pub(crate) mod level_convs;
mod predict;
pub mod yolov5_head;
pub mod yolov5_head_module;

use mmy_registry::BuildError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kinds::in_range;

/// How found boxes are filtered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TestCfg {
    /// Whether one prediction may give a box for each class that passes, or only for its best class.
    pub multi_label: bool,
    /// How many boxes of a picture, the best ones, go into the suppression.
    pub nms_pre: usize,
    /// Boxes that score no more than this are dropped, 0 to 1.
    pub score_thr: f32,
    /// The suppression.
    pub nms: NmsCfg,
    /// How many boxes of a picture are kept.
    pub max_per_img: usize,
}

impl Default for TestCfg {
    fn default() -> Self {
        TestCfg { multi_label: true, nms_pre: 30_000, score_thr: 0.001, nms: NmsCfg::default(), max_per_img: 300 }
    }
}

/// How overlapping boxes of one class are suppressed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NmsCfg {
    /// The method.
    #[serde(rename = "type")]
    pub kind: NmsType,
    /// Boxes that overlap a better one of their class by more than this are dropped, 0 to 1.
    pub iou_threshold: f32,
}

impl Default for NmsCfg {
    fn default() -> Self {
        NmsCfg { kind: NmsType::Nms, iou_threshold: 0.65 }
    }
}

/// Methods of suppression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NmsType {
    /// Greedy, best box first.
    #[default]
    Nms,
}

impl TestCfg {
    /// Errors unless the thresholds are thresholds.
    pub fn check(&self) -> Result<(), BuildError> {
        in_range("score_thr", self.score_thr, 0.0..=1.0)?;
        in_range("nms.iou_threshold", self.nms.iou_threshold, 0.0..=1.0)?;
        in_range("nms_pre", self.nms_pre, 1..=usize::MAX)
    }
}
