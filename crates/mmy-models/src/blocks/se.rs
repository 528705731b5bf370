//! Squeeze and excitation (arXiv 1709.01507): `fc.0`, `fc.2`.

use mmy_nn::layers::Linear;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{
    blocks::args::kept,
    kinds::{Block, BlockArgs, BuiltBlock, MapLayer, in_range},
};

register!(Block, "SE", Config);

/// Squeeze and excitation (arXiv 1709.01507): each channel is scaled by what the means of all channels say. In order:
/// channels, how many times fewer channels there are inside.
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
        let (scope, mid) = (args.scope / "fc", channels / self.reduction);
        let layer = SqueezeExcite {
            squeeze: Linear::without_bias(&(&scope / 0), channels, mid),
            excite: Linear::without_bias(&(&scope / 2), mid, channels),
        };
        Ok(BuiltBlock::map(layer, input))
    }
}

#[derive(Debug)]
struct SqueezeExcite {
    squeeze: Linear,
    excite: Linear,
}

impl MapLayer for SqueezeExcite {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        let means = x.mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
        let gate = self.excite.forward(&self.squeeze.forward(&means).relu()).sigmoid();
        x * gate.unsqueeze(-1).unsqueeze(-1)
    }
}
