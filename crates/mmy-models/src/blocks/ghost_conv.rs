//! Half a convolution, and cheap copies of it (GhostNet, arXiv 1911.11907): `cv1`, `cv2`.

use mmy_nn::{
    Scope,
    layers::{Activation, Conv, ConvModule},
};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::args::{Act, check_groups, check_kernel, one},
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, ListSettings, MapLayer},
};

register!(Block, "GhostConv", Config);

/// A convolution that gives half of the channels, and a depthwise one of 5×5 over those that gives the other half. In order:
/// channels, kernel, stride, groups, activation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Width and height of the first kernel.
    #[serde(default = "one")]
    pub k: i64,
    /// Stride of the first convolution.
    #[serde(default = "one")]
    pub s: i64,
    /// Groups of the first convolution.
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
        check_groups(self.g, &[input.channels, channels / 2])?;
        if channels % 2 != 0 {
            return Err(BuildError::new(format!("{channels} channels have no halves")).at("c2"));
        }
        let (conv, act) = (Conv::new(self.k, self.s).groups(self.g), self.act.or(args.list.act));
        let layer = GhostConv::new(args.scope, input.channels, channels, conv, act, args.list);
        Ok(BuiltBlock::map(layer, FeatureInfo { channels, stride: input.stride * self.s }))
    }
}

/// The layers.
#[derive(Debug)]
pub(super) struct GhostConv {
    cv1: ConvModule,
    cv2: ConvModule,
}

impl GhostConv {
    /// From channels to an even number of channels.
    pub(super) fn new(scope: &Scope, from: i64, to: i64, conv: Conv, act: Activation, list: &ListSettings) -> Self {
        let half = to / 2;
        GhostConv {
            cv1: ConvModule::new(&(scope / "cv1"), from, half, conv, list.norm, act),
            cv2: ConvModule::new(&(scope / "cv2"), half, half, Conv::new(5, 1).groups(half), list.norm, act),
        }
    }
}

impl MapLayer for GhostConv {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let y = self.cv1.forward(x, train);
        let copies = self.cv2.forward(&y, train);
        Tensor::cat(&[y, copies], 1)
    }
}
