//! Convolutional block attention (arXiv 1807.06521): `channel_attention.shared_MLP.{0,2}`, `spatial_attention.conv2d`.

use mmy_nn::layers::{Activation, Conv, Conv2d, Linear};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{
    blocks::args::kept,
    kinds::{Block, BlockArgs, BuiltBlock, MapLayer, in_range},
};

register!(Block, "CBAM", Config);

/// Convolutional block attention (arXiv 1807.06521): each channel, then each pixel, is scaled by what means and maxima over
/// the others say. In order: channels, how many times fewer channels there are inside.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`; as many as it takes.
    pub c2: i64,
    /// How many times fewer channels there are inside.
    #[serde(default = "reduction")]
    pub reduction: i64,
}

fn reduction() -> i64 {
    16
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, kept(&args, self.c2)?);
        in_range("reduction", self.reduction, 1..=channels)?;
        let (mlp, mid) = (args.scope / "channel_attention" / "shared_MLP", channels / self.reduction);
        let layer = Cbam {
            narrow: Linear::new(&(&mlp / 0), channels, mid),
            widen: Linear::new(&(&mlp / 2), mid, channels),
            spatial: Conv2d::new(&(args.scope / "spatial_attention" / "conv2d"), 2, 1, Conv::new(7, 1).with_bias()),
            path: args.scope.path().to_owned(),
        };
        Ok(BuiltBlock::map(layer, input))
    }
}

#[derive(Debug)]
struct Cbam {
    narrow: Linear,
    widen: Linear,
    spatial: Conv2d,
    path: String,
}

impl MapLayer for Cbam {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        let pixels = [2i64, 3].as_slice();
        // Means and maxima go through the same two layers, as rows of one matrix.
        let (mean, max) = (x.mean_dim(pixels, false, None::<Kind>), x.amax(pixels, false));
        let inside = self.narrow.forward(&Tensor::stack(&[mean, max], 0));
        let leaky = Activation::LeakyReLU { negative_slope: 0.1 };
        let inside = leaky.forward(inside, format_args!("{}.channel_attention.act", self.path));
        let gate = self.widen.forward(&inside).sum_dim_intlist(0i64, false, None::<Kind>).sigmoid();
        let x = x * gate.unsqueeze(-1).unsqueeze(-1);
        let over_channels = [x.mean_dim(1i64, true, None::<Kind>), x.amax(1i64, true)];
        let gate = self.spatial.forward(&Tensor::cat(&over_channels, 1)).sigmoid();
        x * gate
    }
}
