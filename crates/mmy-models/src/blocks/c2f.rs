//! Cross-stage partial block of YOLOv8, which keeps what every bottleneck gives: `cv1`, `cv2`, `m.J`.

use mmy_nn::layers::{Conv, ConvModule};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::{
        args::{check_groups, half, hidden, one},
        bottleneck::bottleneck,
    },
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer},
    layers::Bottleneck,
};

register!(Block, "C2f", Config);

/// Half of the channels go through bottlenecks of 3×3, as many as the line's number says; both halves and what each
/// bottleneck gives are joined. In order: channels, whether bottlenecks have a way past them, their groups, share of the
/// channels inside.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Whether bottlenecks add their input.
    #[serde(default)]
    pub shortcut: bool,
    /// Groups of the bottlenecks' second convolutions.
    #[serde(default = "one")]
    pub g: i64,
    /// Channels of each half, as a share of those given.
    #[serde(default = "half")]
    pub e: f64,
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let repeats = args.repeats();
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        let mid = hidden(channels, self.e)?;
        check_groups(self.g, &[mid])?;
        let (scope, list, point) = (args.scope, args.list, Conv::new(1, 1));
        let cv1 = list.conv(&(scope / "cv1"), input.channels, 2 * mid, point);
        let cv2 = list.conv(&(scope / "cv2"), (2 + repeats) * mid, channels, point);
        let block = |j| bottleneck(&(scope / "m" / j), (mid, mid, mid), (3, 3), self.shortcut, self.g, list);
        let m = (0..repeats).map(block).collect();
        Ok(BuiltBlock::map(C2f { cv1, cv2, m }, FeatureInfo { channels, ..input }))
    }
}

#[derive(Debug)]
struct C2f {
    cv1: ConvModule,
    cv2: ConvModule,
    m: Vec<Bottleneck>,
}

impl MapLayer for C2f {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let mut maps = self.cv1.forward(x, train).chunk(2, 1);
        for block in &self.m {
            maps.push(block.forward(&maps[maps.len() - 1], train));
        }
        self.cv2.forward(&Tensor::cat(&maps, 1), train)
    }
}
