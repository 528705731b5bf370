//! `C3` around ConvNeXt's blocks (arXiv 2201.03545): `cv1`, `cv2`, `cv3`, `m.J`.

use mmy_nn::layers::DropPath;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::{
        args::{half, one, yes},
        c3::{Row, csp},
    },
    kinds::{Block, BlockArgs, BuiltBlock, MapLayer},
    layers::ConvNextBlock,
};

register!(Block, "CNeB", Config);

/// Half of the channels go through ConvNeXt's blocks with kernels of 7×7, as many as the line's number says, half go past
/// them. In order: channels, two that the original takes and does not use, share of the channels inside.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Taken because the original takes it, and without effect: ConvNeXt's blocks always have a way past them.
    #[serde(default = "yes")]
    pub shortcut: bool,
    /// Taken because the original takes it, and without effect.
    #[serde(default = "one")]
    pub g: i64,
    /// Channels of each half, as a share of those given.
    #[serde(default = "half")]
    pub e: f64,
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let repeats = args.repeats();
        csp(&args, self.c2, self.e, |mid| {
            let scope = args.scope / "m";
            let block = |j| ConvNextBlock::new(&(&scope / j), mid, 4 * mid, 7, DropPath::new(0.0));
            Ok(Row((0..repeats).map(block).collect()))
        })
    }
}

impl MapLayer for ConvNextBlock {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        ConvNextBlock::forward(self, x, train)
    }
}
