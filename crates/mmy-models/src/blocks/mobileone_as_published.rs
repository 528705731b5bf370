//! MobileOne in a YOLOv5 list as it was published, where each repeat repeats again: `J.m.I`.

use mmy_registry::{Build, BuildError, register, warn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    blocks::{
        args::one,
        c3::Row,
        mobileone::{Pair, check},
    },
    kinds::{Block, BlockArgs, BuiltBlock},
};

register!(Block, "MobileOneAsPublished", Config);

/// `MobileOne` as it was published: the line's number n goes into the block, which makes n pairs, and the block is made n
/// times all the same, so that there are n². Each pair has the stride again, so that only 1 makes sense, and the channels
/// have to stay. In order: channels, kernels side by side, stride.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Kernels side by side.
    #[serde(default = "four")]
    pub k: i64,
    /// Has to be 1.
    #[serde(default = "one")]
    pub s: i64,
}

fn four() -> i64 {
    4
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (repeats, input, channels) = (args.repeats(), args.input()?, args.width(self.c2)?);
        check(self.k, self.s)?;
        if (self.s, input.channels) != (1, channels) {
            let message = "as published, every pair has the same stride and the same two numbers of channels";
            return Err(BuildError::new(message).at("c2").help("use `MobileOne`, which heeds both"));
        }
        if repeats > 1 {
            let message = format!("{repeats} repeats are built as {} pairs, as published", repeats * repeats);
            warn(BuildError::new(message).help("`MobileOne` builds as many as the line says"));
        }
        let pair = |scope: &mmy_nn::Scope, i| {
            Pair::new(&(scope / "m" / i), (channels, channels), (self.k, 1), args.list.norm, false)
        };
        let row = |j| {
            // A row of one has no number of its own in the original.
            let scope = if repeats == 1 { args.scope.clone() } else { args.scope / j };
            Row((0..repeats).map(|i| pair(&scope, i)).collect())
        };
        Ok(BuiltBlock::map(Row((0..repeats).map(row).collect()), input))
    }
}
