//! Convolution in as many groups as channels before and after allow: `conv`, `bn`.

use mmy_nn::layers::{Conv, ConvModule};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    blocks::args::{Act, check_kernel, gcd, one},
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, in_range},
};

register!(Block, "DWConv", Config);

/// Convolution in as many groups as divide the channels before and after, depthwise where those are equal; then batch norm
/// and activation. In order: channels, kernel, stride, dilation, activation.
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
        let act = self.act.or(args.list.act);
        let conv = Conv::new(self.k, self.s)
            .padding((self.d * (self.k - 1) + 1) / 2)
            .groups(gcd(input.channels, channels))
            .dilation(self.d);
        let layer = ConvModule::new(args.scope, input.channels, channels, conv, args.list.norm, act);
        Ok(BuiltBlock::map(layer, FeatureInfo { channels, stride: input.stride * self.s }))
    }
}
