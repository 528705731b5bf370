//! Pixels to channels, the order of YOLOv5's `Focus`.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::args::one,
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer},
};

register!(Block, "space_to_depth", Config);

/// Every second pixel of every second row, four ways, as channels of a map of half the size (SPD-Conv, arXiv 2208.03641).
/// In order: axis.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The axis that grows, that of the channels: 1.
    #[serde(default = "one")]
    pub dimension: i64,
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let input = args.input()?;
        if self.dimension != 1 {
            let message = format!("pixels become channels, not entries of axis {}", self.dimension);
            return Err(BuildError::new(message).at("dimension").help("set it to 1"));
        }
        let output = FeatureInfo { channels: 4 * input.channels, stride: 2 * input.stride };
        Ok(BuiltBlock::map(SpaceToDepth, output))
    }
}

#[derive(Debug)]
struct SpaceToDepth;

impl MapLayer for SpaceToDepth {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        space_to_depth(x)
    }
}

/// (B, C, H, W) to (B, 4 · C, H / 2, W / 2): even rows and columns, odd rows and even columns, even rows and odd columns,
/// odd rows and columns.
pub(super) fn space_to_depth(x: &Tensor) -> Tensor {
    let every_second = |row: i64, column: i64| x.slice(2, row, None, 2).slice(3, column, None, 2);
    Tensor::cat(&[every_second(0, 0), every_second(1, 0), every_second(0, 1), every_second(1, 1)], 1)
}
