//! `C3` around cross convolutions: `cv1`, `cv2`, `cv3`, `m.J`.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    blocks::{
        args::{check_groups, half, one, yes},
        c3::{Row, csp},
        cross_conv::cross_conv,
    },
    kinds::{Block, BlockArgs, BuiltBlock},
};

register!(Block, "C3x", Config);

/// Half of the channels go through cross convolutions, as many as the line's number says, half go past them. In order:
/// channels, whether cross convolutions have a way past them, their groups, share of the channels inside.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Whether cross convolutions add their input.
    #[serde(default = "yes")]
    pub shortcut: bool,
    /// Groups of the cross convolutions' second ones.
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
            let block = |j| cross_conv(&(&scope / j), (mid, mid, mid), (3, 1), self.g, self.shortcut, args.list);
            Ok(Row((0..repeats).map(block).collect()))
        })
    }
}
