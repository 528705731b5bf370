//! Losses.

pub mod cross_entropy;
pub mod iou;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the losses of many elements become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

impl From<Reduction> for tch::Reduction {
    fn from(it: Reduction) -> Self {
        match it {
            Reduction::Mean => tch::Reduction::Mean,
            Reduction::Sum => tch::Reduction::Sum,
        }
    }
}
