//! Spatial pyramid pooling, the fast form: `cv1`, `cv2`.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer},
    layers::SPPFBottleneck,
};

register!(Block, "SPPF", Config);

/// Three maximum poolings one after the other beside the input. In order: channels, kernel.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Width and height of the pooling windows, odd.
    #[serde(default = "five")]
    pub k: i64,
}

fn five() -> i64 {
    5
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        if self.k % 2 == 0 || !(1..=63).contains(&self.k) {
            let message = format!("windows of {} pixels have no middle or no sense", self.k);
            return Err(BuildError::new(message).at("k").help("give an odd number from 1 to 63"));
        }
        if input.channels < 2 {
            return Err(BuildError::new("it pools half of the channels, and there is only one"));
        }
        let (names, widths) = (["cv1", "cv2"], (input.channels, channels));
        let layer = SPPFBottleneck::named(args.scope, names, widths, self.k, args.list.norm, args.list.act);
        Ok(BuiltBlock::map(layer, FeatureInfo { channels, ..input }))
    }
}

impl MapLayer for SPPFBottleneck {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        SPPFBottleneck::forward(self, x, train)
    }
}
