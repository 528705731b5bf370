//! Zeros at the edges of each step.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::kinds::{Block, BlockArgs, BuiltBlock, MapLayer, in_range};

register!(Block, "zeropad", Config);

/// Zeros around each step, as EMS-YOLO (arXiv 2307.11411) calls it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Pixels at the left, right, top and bottom.
    pub padding: [i64; 4],
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        for (i, &pixels) in self.padding.iter().enumerate() {
            in_range(&format!("padding.{i}"), pixels, 0..=64)?;
        }
        Ok(BuiltBlock::map(ZeroPad { padding: self.padding }, args.input()?))
    }
}

#[derive(Debug)]
struct ZeroPad {
    padding: [i64; 4],
}

impl MapLayer for ZeroPad {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        x.constant_pad_nd(self.padding)
    }
}
