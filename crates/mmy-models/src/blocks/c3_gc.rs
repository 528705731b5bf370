//! `C3` whose second half begins with global context: `gc`, `cv1`, `cv2`, `cv3`, `m.J`.

use mmy_nn::layers::{Conv, ConvModule};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::{
        args::{check_groups, half, hidden, one, yes},
        bottleneck::bottleneck,
        c3::Row,
        cb2d::{Fusion, GlobalContext, Pool},
    },
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer},
    layers::Bottleneck,
};

register!(Block, "C3GC", Config);

/// Half of the channels go through bottlenecks, as many as the line's number says, half through global context. In order:
/// channels, whether bottlenecks have a way past them, their groups, share of the channels inside.
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
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        let mid = hidden(channels, self.e)?;
        check_groups(self.g, &[mid])?;
        if input.channels < 4 {
            return Err(BuildError::new(format!("of {} channels none are left inside the context", input.channels)));
        }
        let (scope, list, point) = (args.scope, args.list, Conv::new(1, 1));
        let fusions = [Fusion::ChannelAdd, Fusion::ChannelMul];
        let block = |j| bottleneck(&(scope / "m" / j), (mid, mid, mid), (1, 3), self.shortcut, self.g, list);
        let layer = C3Gc {
            gc: GlobalContext::new(&(scope / "gc"), input.channels, Pool::Att, &fusions),
            cv1: list.conv(&(scope / "cv1"), input.channels, mid, point),
            cv2: list.conv(&(scope / "cv2"), input.channels, mid, point),
            cv3: list.conv(&(scope / "cv3"), 2 * mid, channels, point),
            m: Row((0..repeats).map(block).collect()),
        };
        Ok(BuiltBlock::map(layer, FeatureInfo { channels, ..input }))
    }
}

#[derive(Debug)]
struct C3Gc {
    gc: GlobalContext,
    cv1: ConvModule,
    cv2: ConvModule,
    cv3: ConvModule,
    m: Row<Bottleneck>,
}

impl MapLayer for C3Gc {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let main = self.m.forward(&self.cv1.forward(x, train), train);
        let short = self.cv2.forward(&self.gc.forward(x, train), train);
        self.cv3.forward(&Tensor::cat(&[main, short], 1), train)
    }
}
