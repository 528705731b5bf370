//! Two ghost convolutions and a way past them (GhostNet, arXiv 1911.11907): `conv.0` … `conv.2`, `shortcut.0`, `shortcut.1`.

use mmy_nn::{
    Scope,
    layers::{Activation, Conv, ConvModule},
};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::{args::one, ghost_conv::GhostConv},
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, ListSettings, MapLayer, in_range},
};

register!(Block, "GhostBottleneck", Config);

/// Two ghost convolutions and a way past them; at stride 2, with a depthwise convolution between them and another on the
/// way past. In order: channels, kernel, stride.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Width and height of the depthwise kernels.
    #[serde(default = "three")]
    pub k: i64,
    /// 1, which keeps size and channels, or 2.
    #[serde(default = "one")]
    pub s: i64,
}

fn three() -> i64 {
    3
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        in_range("k", self.k, 1..=63)?;
        in_range("s", self.s, 1..=2)?;
        if self.s == 1 && channels != input.channels {
            let message =
                format!("at stride 1 it gives as many channels as it takes: {}, not {channels}", input.channels);
            return Err(BuildError::new(message).at("c2").help("set s = 2, or take the channels that come in"));
        }
        if channels % 4 != 0 {
            let message = format!("{channels} channels cannot be halved twice");
            return Err(BuildError::new(message).at("c2"));
        }
        let layer = GhostBottleneck::new(args.scope, (input.channels, channels), self.k, self.s, args.list);
        Ok(BuiltBlock::map(layer, FeatureInfo { channels, stride: input.stride * self.s }))
    }
}

/// The layers.
#[derive(Debug)]
pub(super) struct GhostBottleneck {
    narrow: GhostConv,
    down: Option<ConvModule>,
    widen: GhostConv,
    shortcut: Option<(ConvModule, ConvModule)>,
}

impl GhostBottleneck {
    /// From channels to channels, a multiple of 4 and, at stride 1, as many.
    pub(super) fn new(scope: &Scope, (from, to): (i64, i64), k: i64, stride: i64, list: &ListSettings) -> Self {
        let (mid, point, none) = (to / 2, Conv::new(1, 1), Activation::Identity);
        let module =
            |place: Scope, from, to, conv| ConvModule::new(&place, from, to, conv, list.norm, Activation::Identity);
        let depthwise = |channels| Conv::new(k, stride).groups(channels);
        GhostBottleneck {
            narrow: GhostConv::new(&(scope / "conv" / 0), from, mid, point, list.act, list),
            down: (stride == 2).then(|| module(scope / "conv" / 1, mid, mid, depthwise(mid))),
            widen: GhostConv::new(&(scope / "conv" / 2), mid, to, point, none, list),
            shortcut: (stride == 2).then(|| {
                let scope = scope / "shortcut";
                (module(&scope / 0, from, from, depthwise(from)), module(&scope / 1, from, to, point))
            }),
        }
    }
}

impl MapLayer for GhostBottleneck {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let mut y = self.narrow.forward(x, train);
        if let Some(down) = &self.down {
            y = down.forward(&y, train);
        }
        let y = self.widen.forward(&y, train);
        match &self.shortcut {
            Some((down, widen)) => y + widen.forward(&down.forward(x, train), train),
            None => y + x,
        }
    }
}
