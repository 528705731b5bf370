//! Coordinate attention (arXiv 2103.02907): `conv1`, `bn1`, `conv_h`, `conv_w`.

use mmy_nn::layers::{Activation, BatchNorm2d, Conv, Conv2d};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{
    blocks::args::kept,
    kinds::{Block, BlockArgs, BuiltBlock, MapLayer, in_range},
};

register!(Block, "CA", Config);

/// Coordinate attention (arXiv 2103.02907): each row and each column of a map is scaled by what the means over the other
/// axis say. In order: channels, how many times fewer channels there are inside.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`; as many as it takes.
    pub c2: i64,
    /// How many times fewer channels there are inside; there are 8 at least.
    #[serde(default = "reduction")]
    pub reduction: i64,
}

fn reduction() -> i64 {
    32
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, kept(&args, self.c2)?);
        in_range("reduction", self.reduction, 1..=1024)?;
        let mid = (channels / self.reduction).max(8);
        let point = Conv::new(1, 1).with_bias();
        let layer = CoordinateAttention {
            conv1: Conv2d::new(&(args.scope / "conv1"), channels, mid, point),
            bn1: BatchNorm2d::new(&(args.scope / "bn1"), mid, args.list.norm),
            conv_h: Conv2d::new(&(args.scope / "conv_h"), mid, channels, point),
            conv_w: Conv2d::new(&(args.scope / "conv_w"), mid, channels, point),
            path: args.scope.path().to_owned(),
        };
        Ok(BuiltBlock::map(layer, input))
    }
}

#[derive(Debug)]
struct CoordinateAttention {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv_h: Conv2d,
    conv_w: Conv2d,
    path: String,
}

impl MapLayer for CoordinateAttention {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let (height, width) = (x.size()[2], x.size()[3]);
        let rows = x.mean_dim(3, true, None::<Kind>);
        let columns = x.mean_dim(2, true, None::<Kind>).transpose(2, 3);
        let both = self.conv1.forward(&Tensor::cat(&[rows, columns], 2));
        let both = self.bn1.forward_act(&both, Activation::Hardswish, train, format_args!("{}.act", self.path));
        let rows = self.conv_h.forward(&both.narrow(2, 0, height)).sigmoid();
        let columns = self.conv_w.forward(&both.narrow(2, height, width).transpose(2, 3)).sigmoid();
        x * columns * rows
    }
}
