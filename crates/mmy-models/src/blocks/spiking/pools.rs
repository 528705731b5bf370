//! Maximum over pixels of each step.

use mmy_nn::layers::MaxPool2d;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer, in_range};

register!(Block, "Pools", Config);

/// Maximum over square windows of each step, as EMS-YOLO (arXiv 2307.11411) calls it; of spikes it makes spikes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Height and width of the window.
    pub k: i64,
    /// Stride.
    pub s: i64,
    /// Pixels of −∞ around the input, at most half of the window.
    #[serde(default)]
    pub p: i64,
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let input = args.input()?;
        in_range("k", self.k, 1..=31)?;
        in_range("s", self.s, 1..=32)?;
        in_range("p", self.p, 0..=self.k / 2)?;
        let pool = Pools(MaxPool2d::new(&(args.scope / "pool"), self.k, self.s, self.p));
        Ok(BuiltBlock::map(pool, FeatureInfo { stride: input.stride * self.s, ..input }))
    }
}

#[derive(Debug)]
struct Pools(MaxPool2d);

impl MapLayer for Pools {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        self.0.forward(x)
    }
}
