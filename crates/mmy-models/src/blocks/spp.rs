//! Spatial pyramid pooling (arXiv 1406.4729), YOLOv5's first form: `cv1`, `cv2`.

use mmy_nn::{
    Scope,
    layers::{Conv, ConvModule, MaxPool2d},
};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, ListSettings, MapLayer};

register!(Block, "SPP", Config);

/// Maximum poolings of several sizes beside the input. In order: channels, kernels.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Widths and heights of the pooling windows, odd.
    #[serde(default = "pyramid")]
    pub k: Vec<i64>,
}

/// Windows of 5, 9 and 13 cells.
pub(super) fn pyramid() -> Vec<i64> {
    vec![5, 9, 13]
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        check_pyramid(&self.k)?;
        if input.channels < 2 {
            return Err(BuildError::new("it pools half of the channels, and there is only one"));
        }
        let layer = Spp::new(args.scope, input.channels, channels, &self.k, args.list);
        Ok(BuiltBlock::map(layer, FeatureInfo { channels, ..input }))
    }
}

/// Errors unless `kernels`, at the key `k`, have a middle.
pub(super) fn check_pyramid(kernels: &[i64]) -> Result<(), BuildError> {
    match kernels.iter().enumerate().find(|(_, it)| *it % 2 == 0 || !(1..=63).contains(*it)) {
        Some((at, kernel)) => Err(BuildError::new(format!("windows of {kernel} pixels have no middle or no sense"))
            .at(&format!("k.{at}"))
            .help("give an odd number from 1 to 63")),
        None => Ok(()),
    }
}

/// The layers.
#[derive(Debug)]
pub(super) struct Spp {
    cv1: ConvModule,
    cv2: ConvModule,
    pools: Vec<MaxPool2d>,
}

impl Spp {
    pub(super) fn new(scope: &Scope, from: i64, to: i64, kernels: &[i64], list: &ListSettings) -> Self {
        let mid = from / 2;
        let joined = mid * (kernels.len() as i64 + 1);
        Spp {
            cv1: list.conv(&(scope / "cv1"), from, mid, Conv::new(1, 1)),
            cv2: list.conv(&(scope / "cv2"), joined, to, Conv::new(1, 1)),
            pools: kernels.iter().map(|&k| MaxPool2d::new(&(scope / "m"), k, 1, k / 2)).collect(),
        }
    }
}

impl MapLayer for Spp {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let x = self.cv1.forward(x, train);
        let pooled = self.pools.iter().map(|it| it.forward(&x));
        let all: Vec<_> = std::iter::once(x.shallow_clone()).chain(pooled).collect();
        self.cv2.forward(&Tensor::cat(&all, 1), train)
    }
}
