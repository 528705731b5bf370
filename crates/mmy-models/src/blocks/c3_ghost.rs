//! `C3` around ghost bottlenecks: `cv1`, `cv2`, `cv3`, `m.J`.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    blocks::{
        args::{half, one, yes},
        c3::{Row, csp},
        ghost_bottleneck::GhostBottleneck,
    },
    kinds::{Block, BlockArgs, BuiltBlock},
};

register!(Block, "C3Ghost", Config);

/// Half of the channels go through ghost bottlenecks, as many as the line's number says, half go past them. In order:
/// channels, two that the original takes and does not use, share of the channels inside.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Taken because the original takes it, and without effect: ghost bottlenecks always have a way past them.
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
            if mid % 4 != 0 {
                return Err(BuildError::new(format!("{mid} channels inside cannot be halved twice")).at("c2"));
            }
            let scope = args.scope / "m";
            let block = |j| GhostBottleneck::new(&(&scope / j), (mid, mid), 3, 1, args.list);
            Ok(Row((0..repeats).map(block).collect()))
        })
    }
}
