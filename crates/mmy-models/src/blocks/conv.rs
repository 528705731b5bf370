//! Convolution, batch norm, activation: `conv`, `bn`.

use mmy_nn::layers::{self, ConvModule};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::args::{Act, check_groups, check_kernel, number_or_none, one},
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer, in_range},
};

register!(Block, "Conv", Config);

/// Convolution, batch norm, activation. In order: channels, kernel, stride, padding, groups, dilation, activation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Width and height of the kernel.
    #[serde(default = "one")]
    pub k: i64,
    /// Pixels from one window to the next.
    #[serde(default = "one")]
    pub s: i64,
    /// Zeros around the input; by default as many as keep its size at stride 1.
    #[serde(default, deserialize_with = "number_or_none")]
    pub p: Option<i64>,
    /// Groups of channels that do not see each other.
    #[serde(default = "one")]
    pub g: i64,
    /// Pixels from one tap of the kernel to the next.
    #[serde(default = "one")]
    pub d: i64,
    /// The activation: `true` for the list's own, `false` for none, or a table such as `{ type = "ReLU" }`.
    #[serde(default)]
    pub act: Act,
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        check_kernel(self.k, self.s)?;
        in_range("d", self.d, 1..=64)?;
        let padding = self.p.unwrap_or((self.d * (self.k - 1) + 1) / 2);
        in_range("p", padding, 0..=1024)?;
        check_groups(self.g, &[input.channels, channels])?;
        let conv = layers::Conv::new(self.k, self.s).padding(padding).groups(self.g).dilation(self.d);
        let act = self.act.or(args.list.act);
        let layer = ConvModule::new(args.scope, input.channels, channels, conv, args.list.norm, act);
        Ok(BuiltBlock::map(layer, FeatureInfo { channels, stride: input.stride * self.s }))
    }
}

impl MapLayer for ConvModule {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        ConvModule::forward(self, x, train)
    }
}
