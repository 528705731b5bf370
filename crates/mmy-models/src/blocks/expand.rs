//! Channels to pixels, the inverse of `Contract`.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer, in_range};

register!(Block, "Expand", Config);

/// Channels as the pixels of squares of a larger map, the inverse of `Contract`. In order: side of the square.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Side of the square in pixels.
    pub gain: i64,
}

impl Default for Config {
    fn default() -> Self {
        Config { gain: 2 }
    }
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let input = args.input()?;
        in_range("gain", self.gain, 1..=32)?;
        let pixels = self.gain * self.gain;
        if input.channels % pixels != 0 || input.stride % self.gain != 0 {
            let FeatureInfo { channels, stride } = input;
            let message = format!("{channels} channels of stride {stride} do not make squares of {pixels} pixels");
            return Err(BuildError::new(message).at("gain"));
        }
        let output = FeatureInfo { channels: input.channels / pixels, stride: input.stride / self.gain };
        Ok(BuiltBlock::map(Expand(self.gain), output))
    }
}

#[derive(Debug)]
struct Expand(i64);

impl MapLayer for Expand {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        let (size, gain) = (x.size(), self.0);
        let (b, c, h, w) = (size[0], size[1] / (gain * gain), size[2], size[3]);
        let squares = x.reshape([b, gain, gain, c, h, w]).permute([0, 3, 4, 1, 5, 2]);
        squares.reshape([b, c, h * gain, w * gain])
    }
}
