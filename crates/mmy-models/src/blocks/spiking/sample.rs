//! Enlarges each step.

use mmy_nn::layers::upsample_nearest;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer, in_range};

register!(Block, "Sample", Config);

/// Enlarges each step by repeating its pixels, as EMS-YOLO (arXiv 2307.11411) calls it; of spikes it makes spikes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Taken because the original's lists write `None` here; has to be left out or `"None"`.
    #[serde(default)]
    pub size: Option<String>,
    /// How many times as high and wide.
    #[serde(default = "two")]
    pub scale_factor: i64,
    /// How pixels in between are found.
    #[serde(default)]
    pub mode: Mode,
}

/// Ways to find the pixels in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As the pixel that is nearest.
    #[default]
    Nearest,
}

fn two() -> i64 {
    2
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let input = args.input()?;
        if let Some(size) = self.size.as_ref().filter(|it| *it != "None") {
            let error = BuildError::new(format!("a size of its own (`{size}`) is not taken"));
            return Err(error.at("size").help("leave it out and give `scale_factor`"));
        }
        in_range("scale_factor", self.scale_factor, 1..=32)?;
        if input.stride % self.scale_factor != 0 {
            let message = format!("a map of stride {} cannot be enlarged {} times", input.stride, self.scale_factor);
            return Err(BuildError::new(message).at("scale_factor"));
        }
        let output = FeatureInfo { stride: input.stride / self.scale_factor, ..input };
        Ok(BuiltBlock::map(Sample { factor: self.scale_factor }, output))
    }
}

#[derive(Debug)]
struct Sample {
    factor: i64,
}

impl MapLayer for Sample {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        upsample_nearest(x, self.factor)
    }
}
