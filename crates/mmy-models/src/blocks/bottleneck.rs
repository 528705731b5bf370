//! Two convolutions and a way past them: `cv1`, `cv2`.

use mmy_nn::{Scope, layers::Conv};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::args::{check_groups, half, hidden, one, yes},
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, ListSettings, MapLayer},
    layers::Bottleneck,
};

register!(Block, "Bottleneck", Config);

/// A convolution of 1×1 that narrows, one of 3×3 that widens, and a way past them where the channels stay. In order:
/// channels, whether there is a way past, groups, share of the channels inside.
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
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        let mid = hidden(channels, self.e)?;
        check_groups(self.g, &[mid, channels])?;
        let layer = bottleneck(args.scope, (input.channels, mid, channels), (1, 3), self.shortcut, self.g, args.list);
        Ok(BuiltBlock::map(layer, FeatureInfo { channels, ..input }))
    }
}

/// YOLOv5's bottleneck with its names, from channels to channels to channels.
pub(super) fn bottleneck(
    scope: &Scope,
    (from, mid, to): (i64, i64, i64),
    kernels: (i64, i64),
    shortcut: bool,
    groups: i64,
    list: &ListSettings,
) -> Bottleneck {
    Bottleneck {
        first: list.conv(&(scope / "cv1"), from, mid, Conv::new(kernels.0, 1)),
        second: list.conv(&(scope / "cv2"), mid, to, Conv::new(kernels.1, 1).groups(groups)),
        add: shortcut && from == to,
    }
}

impl MapLayer for Bottleneck {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        Bottleneck::forward(self, x, train)
    }
}
