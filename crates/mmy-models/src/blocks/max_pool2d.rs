//! Maximum over windows.

use mmy_nn::layers::MaxPool2d;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::args::number_or_none,
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer, in_range},
};

register!(Block, "MaxPool2d", Config);

/// Maximum over square windows. In order: kernel, stride, padding.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Width and height of the windows.
    pub kernel_size: i64,
    /// Pixels from one window to the next; by default as many as a window is wide.
    #[serde(default, deserialize_with = "number_or_none")]
    pub stride: Option<i64>,
    /// Pixels of −∞ around the input, at most half of a window.
    #[serde(default)]
    pub padding: i64,
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let input = args.input()?;
        in_range("kernel_size", self.kernel_size, 1..=63)?;
        let stride = self.stride.unwrap_or(self.kernel_size);
        in_range("stride", stride, 1..=64)?;
        in_range("padding", self.padding, 0..=self.kernel_size / 2)?;
        let layer = Pool(MaxPool2d::new(args.scope, self.kernel_size, stride, self.padding));
        Ok(BuiltBlock::map(layer, FeatureInfo { stride: input.stride * stride, ..input }))
    }
}

#[derive(Debug)]
struct Pool(MaxPool2d);

impl MapLayer for Pool {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        self.0.forward(x)
    }
}
