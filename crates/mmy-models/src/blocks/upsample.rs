//! Maps made larger.

use mmy_nn::layers::upsample_nearest;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::args::number_or_none,
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer, in_range},
};

register!(Block, "Upsample", Config);

/// Repeats each pixel. In order: size, factor, mode.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Taken as `"None"` because YOLOv5's lists give it: a map's size depends on the picture.
    #[serde(deserialize_with = "number_or_none")]
    pub size: Option<i64>,
    /// How many times as wide and high.
    pub scale_factor: i64,
    /// How pixels between pixels are made.
    pub mode: Mode,
}

impl Default for Config {
    fn default() -> Self {
        Config { size: None, scale_factor: 2, mode: Mode::Nearest }
    }
}

/// How pixels between pixels are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As the nearest one.
    Nearest,
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let input = args.input()?;
        if self.size.is_some() {
            let message = "a map's size depends on the picture, so it cannot be given";
            return Err(BuildError::new(message).at("size").help("set it to \"None\" and give a scale_factor"));
        }
        in_range("scale_factor", self.scale_factor, 1..=64)?;
        if input.stride % self.scale_factor != 0 {
            let message =
                format!("a map of stride {} cannot be made {} times as large", input.stride, self.scale_factor);
            return Err(BuildError::new(message).at("scale_factor"));
        }
        Ok(BuiltBlock::map(
            Upsample(self.scale_factor),
            FeatureInfo { stride: input.stride / self.scale_factor, ..input },
        ))
    }
}

#[derive(Debug)]
struct Upsample(i64);

impl MapLayer for Upsample {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        upsample_nearest(x, self.0)
    }
}
