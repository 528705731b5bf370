//! EMS-ResNet's blocks whose branch is added to the input.

use mmy_nn::{
    Scope,
    layers::{MaxPool2d, add_into},
};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::residual::{Residual, Shortcut, Sizes, pool};
use crate::{
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer},
    layers::spiking::Kernels,
};

register!(Block, "BasicBlock_1", Wide);
register!(Block, "BasicBlock_2", Plain);
register!(Block, "BasicBlock_ms", Narrow);

/// EMS-ResNet's block (arXiv 2307.11411) with 1,024 channels between its two convolutions, whatever it takes and gives.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wide {
    /// Channels that it gives, before the list's width.
    pub c2: i64,
    /// Stride.
    #[serde(default = "one")]
    pub s: i64,
    /// What the convolutions multiply by.
    #[serde(default)]
    pub kernels: Kernels,
}

/// EMS-ResNet's block (arXiv 2307.11411) with as many channels between its two convolutions as it gives.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plain {
    /// Channels that it gives, before the list's width.
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

/// EMS-ResNet's membrane-shortcut block (arXiv 2307.11411): fewer channels in the middle, and a way past the branch on
/// which currents are convolved as they are, without neurons before.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Narrow {
    /// Channels that it gives, before the list's width.
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

/// The channels in the middle of [`Wide`].
const WIDE: i64 = 1024;

impl Build<Block> for Wide {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (from, to) = (args.input()?.channels, args.width(self.c2)?);
        let (stride, steps, kernels) = (self.s, args.list.time_steps, self.kernels);
        build(args, Sizes { from, hidden: WIDE, to, kernel: 3, stride, steps, kernels }, true)
    }
}

impl Build<Block> for Plain {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (from, to) = (args.input()?.channels, args.width(self.c2)?);
        let (kernel, stride, steps, kernels) = (self.k, self.s, args.list.time_steps, self.kernels);
        build(args, Sizes { from, hidden: to, to, kernel, stride, steps, kernels }, true)
    }
}

impl Build<Block> for Narrow {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (from, to) = (args.input()?.channels, args.width(self.c2)?);
        let hidden = (to as f64 * self.e) as i64;
        let (kernel, stride, steps, kernels) = (self.k, self.s, args.list.time_steps, self.kernels);
        build(args, Sizes { from, hidden, to, kernel, stride, steps, kernels }, false)
    }
}

fn build(args: BlockArgs<'_>, sizes: Sizes, neurons: bool) -> Result<BuiltBlock, BuildError> {
    sizes.check()?;
    let scope: &Scope = args.scope;
    let changes = sizes.stride != 1 || sizes.from != sizes.to;
    // The shortcut's first place is the pool's; neurons, where there are any, have the second.
    let (neurons_at, at) = if neurons { (Some(1), 2) } else { (None, 1) };
    let residual = Residual::new(scope, sizes);
    let block = Basic {
        residual,
        pool: pool(&(scope / "shortcut" / 0), sizes.stride),
        shortcut: changes.then(|| Shortcut::new(scope, sizes, sizes.to, neurons_at, at)),
    };
    let stride = args.input()?.stride * sizes.stride;
    Ok(BuiltBlock::map(block, FeatureInfo { channels: sizes.to, stride }))
}

#[derive(Debug)]
struct Basic {
    residual: Residual,
    pool: Option<MaxPool2d>,
    shortcut: Option<Shortcut>,
}

impl MapLayer for Basic {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let branch = self.residual.forward(x, train);
        let pooled = self.pool.as_ref().map(|it| it.forward(x));
        let x = pooled.as_ref().unwrap_or(x);
        match &self.shortcut {
            Some(shortcut) => branch + shortcut.forward(x, train),
            // The gradient of a batch norm does not need its result.
            None => add_into(branch, x),
        }
    }
}
