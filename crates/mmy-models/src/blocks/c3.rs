//! Cross-stage partial block with three convolutions (CSPNet, arXiv 1911.11929): `cv1`, `cv2`, `cv3`, `m.J`.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::{
        args::{check_groups, half, hidden, one, yes},
        bottleneck::bottleneck,
    },
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer},
    layers::CspConvs,
};

register!(Block, "C3", Config);

/// Half of the channels go through bottlenecks, as many as the line's number says, half go past them. In order: channels,
/// whether bottlenecks have a way past them, their groups, share of the channels inside.
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
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let repeats = args.repeats();
        csp(&args, self.c2, self.e, |mid| {
            check_groups(self.g, &[mid])?;
            let scope = args.scope / "m";
            let block = |j| bottleneck(&(&scope / j), (mid, mid, mid), (1, 3), self.shortcut, self.g, args.list);
            Ok(Row((0..repeats).map(block).collect()))
        })
    }
}

/// A block whose three convolutions lie around what `inner` makes for that many channels.
pub(super) fn csp<M: MapLayer + 'static>(
    args: &BlockArgs<'_>,
    c2: i64,
    e: f64,
    inner: impl FnOnce(i64) -> Result<M, BuildError>,
) -> Result<BuiltBlock, BuildError> {
    let (input, channels) = (args.input()?, args.width(c2)?);
    let mid = hidden(channels, e)?;
    let (norm, act) = (args.list.norm, args.list.act);
    let outer = CspConvs::new(args.scope, ["cv1", "cv2", "cv3"], (input.channels, mid, channels), norm, act);
    Ok(BuiltBlock::map(Csp { outer, inner: inner(mid)? }, FeatureInfo { channels, ..input }))
}

#[derive(Debug)]
struct Csp<M> {
    outer: CspConvs,
    inner: M,
}

impl<M: MapLayer> MapLayer for Csp<M> {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.outer.forward(x, train, |x| self.inner.forward(&x, train))
    }
}

/// Layers one after the other.
#[derive(Debug)]
pub(super) struct Row<M>(pub(super) Vec<M>);

impl<M: MapLayer> MapLayer for Row<M> {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.0.iter().fold(x.shallow_clone(), |x, it| it.forward(&x, train))
    }
}
