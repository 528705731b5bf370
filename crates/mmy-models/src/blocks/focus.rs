//! Four pictures of half the size, one behind the other, under a convolution: `conv.conv`, `conv.bn`.

use mmy_nn::layers::{Conv, ConvModule};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::{
        args::{Act, check_groups, check_kernel, number_or_none, one},
        space_to_depth::space_to_depth,
    },
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer, in_range},
};

register!(Block, "Focus", Config);

/// Every second pixel of every second row, four ways, as channels of a map of half the size, under a convolution. In order:
/// channels, kernel, stride, padding, groups, activation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Width and height of the kernel.
    #[serde(default = "one")]
    pub k: i64,
    /// Stride of the convolution, on top of the halving.
    #[serde(default = "one")]
    pub s: i64,
    /// Zeros around the convolution's input; by default as many as keep its size at stride 1.
    #[serde(default, deserialize_with = "number_or_none")]
    pub p: Option<i64>,
    /// Groups of the convolution.
    #[serde(default = "one")]
    pub g: i64,
    /// The activation: `true` for the list's own, `false` for none, or a table such as `{ type = "ReLU" }`.
    #[serde(default)]
    pub act: Act,
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        check_kernel(self.k, self.s)?;
        let padding = self.p.unwrap_or(self.k / 2);
        in_range("p", padding, 0..=1024)?;
        check_groups(self.g, &[4 * input.channels, channels])?;
        let (conv, act) = (Conv::new(self.k, self.s).padding(padding).groups(self.g), self.act.or(args.list.act));
        let scope = args.scope / "conv";
        let layer = Focus(ConvModule::new(&scope, 4 * input.channels, channels, conv, args.list.norm, act));
        Ok(BuiltBlock::map(layer, FeatureInfo { channels, stride: 2 * input.stride * self.s }))
    }
}

#[derive(Debug)]
struct Focus(ConvModule);

impl MapLayer for Focus {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.0.forward(&space_to_depth(x), train)
    }
}
