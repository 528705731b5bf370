//! Cross-stage partial block as CSPNet has it (arXiv 1911.11929): `cv1`, `cv2`, `cv3`, `cv4`, `bn`, `m.J`.

use mmy_nn::layers::{Activation, BatchNorm2d, Conv, Conv2d, ConvModule};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::{
        args::{Act, check_groups, half, hidden, one, yes},
        bottleneck::bottleneck,
        c3::Row,
    },
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer},
    layers::Bottleneck,
};

register!(Block, "BottleneckCSP", Config);

/// Half of the channels go through bottlenecks, as many as the line's number says, and a bare convolution, half through a
/// bare convolution alone; both are normalised together. In order: channels, whether bottlenecks have a way past them,
/// their groups, share of the channels inside, activation after the joint normalisation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Whether bottlenecks add their input.
    #[serde(default = "yes")]
    pub shortcut: bool,
    /// Groups of the bottlenecks' second convolutions.
    #[serde(default = "one")]
    pub g: i64,
    /// Channels of each half, as a share of those given.
    #[serde(default = "half")]
    pub e: f64,
    /// The activation after the joint normalisation, which was `{ type = "LeakyReLU", negative_slope = 0.1 }` before
    /// YOLOv5's sixth version: `true` for the list's own, `false` for none, or a table.
    #[serde(default)]
    pub act: Act,
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let repeats = args.repeats();
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        let mid = hidden(channels, self.e)?;
        check_groups(self.g, &[mid])?;
        let (scope, list, point) = (args.scope, args.list, Conv::new(1, 1));
        let cv1 = list.conv(&(scope / "cv1"), input.channels, mid, point);
        let cv2 = Conv2d::new(&(scope / "cv2"), input.channels, mid, point);
        let cv3 = Conv2d::new(&(scope / "cv3"), mid, mid, point);
        let cv4 = list.conv(&(scope / "cv4"), 2 * mid, channels, point);
        let bn = BatchNorm2d::new(&(scope / "bn"), 2 * mid, list.norm);
        let block = |j| bottleneck(&(scope / "m" / j), (mid, mid, mid), (1, 3), self.shortcut, self.g, list);
        let m = Row((0..repeats).map(block).collect());
        let (act, path) = (self.act.or(list.act), format!("{}.act", scope.path()));
        Ok(BuiltBlock::map(BottleneckCsp { cv1, cv2, cv3, cv4, bn, m, act, path }, FeatureInfo { channels, ..input }))
    }
}

#[derive(Debug)]
struct BottleneckCsp {
    cv1: ConvModule,
    cv2: Conv2d,
    cv3: Conv2d,
    cv4: ConvModule,
    bn: BatchNorm2d,
    m: Row<Bottleneck>,
    act: Activation,
    path: String,
}

impl MapLayer for BottleneckCsp {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let main = self.cv3.forward(&self.m.forward(&self.cv1.forward(x, train), train));
        let joined = Tensor::cat(&[main, self.cv2.forward(x)], 1);
        self.cv4.forward(&self.bn.forward_act(&joined, self.act, train, &self.path), train)
    }
}
