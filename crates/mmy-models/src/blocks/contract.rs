//! Pixels to channels, the order of YOLOv5's `Contract`.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer, in_range};

register!(Block, "Contract", Config);

/// The pixels of each square as channels of a map that much smaller: pixel (y, x) of a square becomes channels
/// (y · gain + x) · C and following, which is not the order of `Focus`. In order: side of the square.
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
        let output = FeatureInfo { channels: input.channels * self.gain * self.gain, stride: input.stride * self.gain };
        Ok(BuiltBlock::map(Contract(self.gain), output))
    }
}

#[derive(Debug)]
struct Contract(i64);

impl MapLayer for Contract {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        let (size, gain) = (x.size(), self.0);
        let (b, c, h, w) = (size[0], size[1], size[2] / gain, size[3] / gain);
        let squares = x.reshape([b, c, h, gain, w, gain]).permute([0, 3, 5, 1, 2, 4]);
        squares.reshape([b, c * gain * gain, h, w])
    }
}
