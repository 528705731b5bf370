//! A convolution with DSConv's kernel (arXiv 1901.01928), batch norm, activation: `conv`, `bn`.

use mmy_nn::{
    Scope,
    layers::{Conv, ConvModule, DsConv, DsKernel},
};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    blocks::args::{Act, check_groups, check_kernel, number_or_none, one},
    detectors::dsconv_detector::check_dsconv,
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, in_range},
};

register!(Block, "DSConv2D", Config);

/// `Conv` whose kernel is made of whole numbers of a few bits (DSConv, arXiv 1901.01928). In order: channels, kernel,
/// stride, padding, groups, dilation, activation, bits, channels that share a scale, what is trained.
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
    /// Bits of each number, 2 to 8.
    #[serde(default = "bits")]
    pub bits: u8,
    /// Input channels that share a scale.
    #[serde(default = "block_size")]
    pub block_size: i64,
    /// What is trained: `shadow` weights that are quantised anew in each step, the scales of `fixed` whole numbers, or
    /// `plain` weights as the published layer has it, which computes its scales and never uses them.
    #[serde(default)]
    pub kernel: DsKernel,
}

/// Default of bits.
pub(super) fn bits() -> u8 {
    4
}

/// Default of blocks.
pub(super) fn block_size() -> i64 {
    32
}

/// The place where convolutions have such kernels, unless all of the detector's have others.
pub(super) fn place(scope: &Scope, bits: u8, block_size: i64, kernel: DsKernel) -> Result<Scope, BuildError> {
    check_dsconv(bits, block_size)?;
    let form = DsConv { bits, block_size, kernel, kds_shift: false, cds: false, min_channels: 1, skip: Vec::new() };
    Ok(scope.dsconv(form))
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        check_kernel(self.k, self.s)?;
        in_range("d", self.d, 1..=64)?;
        let padding = self.p.unwrap_or((self.d * (self.k - 1) + 1) / 2);
        in_range("p", padding, 0..=1024)?;
        check_groups(self.g, &[input.channels, channels])?;
        let scope = place(args.scope, self.bits, self.block_size, self.kernel)?;
        let conv = Conv::new(self.k, self.s).padding(padding).groups(self.g).dilation(self.d);
        let act = self.act.or(args.list.act);
        let layer = ConvModule::new(&scope, input.channels, channels, conv, args.list.norm, act);
        Ok(BuiltBlock::map(layer, FeatureInfo { channels, stride: input.stride * self.s }))
    }
}
