//! A wide and a high convolution instead of a square one: `cv1`, `cv2`.

use mmy_nn::{Scope, layers::Conv};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    blocks::args::{check_groups, check_kernel, hidden, one},
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, ListSettings},
    layers::Bottleneck,
};

register!(Block, "CrossConv", Config);

/// A convolution of one row, then one of one column, and perhaps a way past them. In order: channels, length of the
/// kernels, stride, groups of the second, share of the channels between them, whether there is a way past.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Length of the kernels.
    #[serde(default = "three")]
    pub k: i64,
    /// Pixels from one window to the next, along each kernel.
    #[serde(default = "one")]
    pub s: i64,
    /// Groups of the second convolution.
    #[serde(default = "one")]
    pub g: i64,
    /// Channels between the two convolutions, as a share of those given.
    #[serde(default = "whole")]
    pub e: f64,
    /// Whether the input is added, where it has as many channels as the output.
    #[serde(default)]
    pub shortcut: bool,
}

fn three() -> i64 {
    3
}

fn whole() -> f64 {
    1.0
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        check_kernel(self.k, self.s)?;
        let mid = hidden(channels, self.e)?;
        check_groups(self.g, &[mid, channels])?;
        if self.shortcut && self.s != 1 && input.channels == channels {
            let message = format!("at stride {} the output is smaller than the input, which cannot be added", self.s);
            return Err(BuildError::new(message).at("shortcut").help("set it to false"));
        }
        let widths = (input.channels, mid, channels);
        let layer = cross_conv(args.scope, widths, (self.k, self.s), self.g, self.shortcut, args.list);
        Ok(BuiltBlock::map(layer, FeatureInfo { channels, stride: input.stride * self.s }))
    }
}

/// The two convolutions, from channels to channels to channels.
pub(super) fn cross_conv(
    scope: &Scope,
    (from, mid, to): (i64, i64, i64),
    (kernel, stride): (i64, i64),
    groups: i64,
    shortcut: bool,
    list: &ListSettings,
) -> Bottleneck {
    Bottleneck {
        first: list.conv(&(scope / "cv1"), from, mid, Conv::row(kernel, stride)),
        second: list.conv(&(scope / "cv2"), mid, to, Conv::column(kernel, stride).groups(groups)),
        add: shortcut && from == to,
    }
}
