//! EMS-ResNet's blocks that reach their channels by putting the input beside what a convolution makes of it.

use mmy_nn::{Scope, layers::MaxPool2d};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::residual::{Residual, Shortcut, Sizes, pool};
use crate::{
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer},
    layers::spiking::Kernels,
};

register!(Block, "Concat_res2", Plain);
register!(Block, "ConcatBlock_ms", Narrow);

/// EMS-ResNet's block (arXiv 2307.11411) that widens: its shortcut is the input beside a spiking 1×1 convolution of it.
/// As many channels lie between its two convolutions as it gives.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plain {
    /// Channels that it gives, before the list's width; more than it takes.
    pub c2: i64,
    /// Height and width of the kernels.
    #[serde(default = "three")]
    pub k: i64,
    /// Stride.
    #[serde(default = "one")]
    pub s: i64,
    /// What the convolutions multiply by.
    #[serde(default)]
    pub kernels: Kernels,
}

/// EMS-ResNet's block (arXiv 2307.11411) that widens, with fewer channels in the middle: its shortcut is the input
/// beside a spiking 1×1 convolution of it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Narrow {
    /// Channels that it gives, before the list's width; more than it takes.
    pub c2: i64,
    /// Height and width of the kernels.
    #[serde(default = "three")]
    pub k: i64,
    /// Stride.
    #[serde(default = "one")]
    pub s: i64,
    /// Channels between the two convolutions, as a part of those that it gives.
    #[serde(default = "half")]
    pub e: f64,
    /// What the convolutions multiply by.
    #[serde(default)]
    pub kernels: Kernels,
}

fn one() -> i64 {
    1
}

fn three() -> i64 {
    3
}

fn half() -> f64 {
    0.5
}

impl Build<Block> for Plain {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (from, to) = (args.input()?.channels, args.width(self.c2)?);
        let (kernel, stride, steps, kernels) = (self.k, self.s, args.list.time_steps, self.kernels);
        build(args, Sizes { from, hidden: to, to, kernel, stride, steps, kernels })
    }
}

impl Build<Block> for Narrow {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (from, to) = (args.input()?.channels, args.width(self.c2)?);
        let hidden = (to as f64 * self.e) as i64;
        let (kernel, stride, steps, kernels) = (self.k, self.s, args.list.time_steps, self.kernels);
        build(args, Sizes { from, hidden, to, kernel, stride, steps, kernels })
    }
}

fn build(args: BlockArgs<'_>, sizes: Sizes) -> Result<BuiltBlock, BuildError> {
    sizes.check()?;
    let Sizes { from, to, .. } = sizes;
    if from >= to {
        let message = format!("it widens, but is to make {to} channels of {from}");
        let help = format!("give more than {from}, or use `BasicBlock_ms`, which keeps and narrows too");
        return Err(BuildError::new(message).at("c2").help(help));
    }
    let scope: &Scope = args.scope;
    let residual = Residual::new(scope, sizes);
    let block = Concat {
        residual,
        shortcut: Shortcut::new(scope, sizes, to - from, Some(0), 1),
        pool: pool(&(scope / "pools"), sizes.stride),
    };
    let stride = args.input()?.stride * sizes.stride;
    Ok(BuiltBlock::map(block, FeatureInfo { channels: to, stride }))
}

#[derive(Debug)]
struct Concat {
    residual: Residual,
    shortcut: Shortcut,
    pool: Option<MaxPool2d>,
}

impl MapLayer for Concat {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let beside = Tensor::cat(&[self.shortcut.forward(x, train), x.shallow_clone()], 1);
        let past = self.pool.as_ref().map_or_else(|| beside.shallow_clone(), |it| it.forward(&beside));
        self.residual.forward(x, train) + past
    }
}
