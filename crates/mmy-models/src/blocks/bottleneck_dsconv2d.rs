//! YOLOv5's bottleneck with DSConv's kernels (arXiv 1901.01928): `cv1`, `cv2`.

use mmy_nn::layers::DsKernel;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    blocks::{
        args::{check_groups, half, hidden, one, yes},
        bottleneck::bottleneck,
        dsconv2d::{bits, block_size, place},
    },
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo},
};

register!(Block, "Bottleneck_DSConv2D", Config);

/// `Bottleneck` whose kernels are made of whole numbers of a few bits (DSConv, arXiv 1901.01928). In order: channels,
/// whether there is a way past, groups, share of the channels inside, bits, channels that share a scale, what is trained.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Whether the input is added, where it has as many channels as the output.
    #[serde(default = "yes")]
    pub shortcut: bool,
    /// Groups of the second convolution.
    #[serde(default = "one")]
    pub g: i64,
    /// Channels between the two convolutions, as a share of those given.
    #[serde(default = "half")]
    pub e: f64,
    /// Bits of each number, 2 to 8.
    #[serde(default = "bits")]
    pub bits: u8,
    /// Input channels that share a scale.
    #[serde(default = "block_size")]
    pub block_size: i64,
    /// What is trained, as in `DSConv2D`.
    #[serde(default)]
    pub kernel: DsKernel,
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        let mid = hidden(channels, self.e)?;
        check_groups(self.g, &[mid, channels])?;
        let scope = place(args.scope, self.bits, self.block_size, self.kernel)?;
        let layer = bottleneck(&scope, (input.channels, mid, channels), (1, 3), self.shortcut, self.g, args.list);
        Ok(BuiltBlock::map(layer, FeatureInfo { channels, ..input }))
    }
}
