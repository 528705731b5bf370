//! `C3` around spatial pyramid pooling: `cv1`, `cv2`, `cv3`, `m.cv1`, `m.cv2`.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    blocks::{
        args::{half, one, yes},
        c3::csp,
        spp::{Spp, check_pyramid, pyramid},
    },
    kinds::{Block, BlockArgs, BuiltBlock, in_range},
};

register!(Block, "C3SPP", Config);

/// Half of the channels go through spatial pyramid pooling, half go past it. In order: channels, kernels, and three that
/// the original takes and does not use.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Widths and heights of the pooling windows, odd.
    #[serde(default = "pyramid")]
    pub k: Vec<i64>,
    /// Taken because the original takes a count here, and without effect: there is one pyramid.
    #[serde(default = "one")]
    pub n: i64,
    /// Taken because the original takes it, and without effect.
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
        check_pyramid(&self.k)?;
        in_range("n", self.n, 1..=1000)?;
        csp(&args, self.c2, self.e, |mid| {
            in_range("c2", mid, 2..=i64::MAX)?;
            Ok(Spp::new(&(args.scope / "m"), mid, mid, &self.k, args.list))
        })
    }
}
