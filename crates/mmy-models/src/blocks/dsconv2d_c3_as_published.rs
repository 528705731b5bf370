//! `DSConv2D_C3` as a YOLOv5 list builds it that follows the published text: without a DSConv in it.

use mmy_registry::{Build, BuildError, register, warn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    blocks::{
        bottleneck::bottleneck,
        c3::{Row, csp},
    },
    kinds::{Block, BlockArgs, BuiltBlock},
};

register!(Block, "DSConv2D_C3AsPublished", Config);

/// `DSConv2D_C3` as it was published: the list's rule hands over no number of repeats, so that the switch of the way past,
/// the second argument, is taken for the number of bottlenecks. `false` is none at all. In order: channels, that switch.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Meant for the way past; taken for the number of bottlenecks, 0 or 1.
    #[serde(default)]
    pub shortcut: bool,
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let bottlenecks = i64::from(self.shortcut);
        let message = format!("the block holds {bottlenecks} bottlenecks and no DSConv, as published");
        warn(BuildError::new(message).help("use `DSConv2D_C3`, which heeds the line's number"));
        csp(&args, self.c2, 0.5, |mid| {
            // The published layer's kernel is an ordinary one.
            let block = |j| bottleneck(&(args.scope / "m" / j), (mid, mid, mid), (1, 3), true, 1, args.list);
            Ok(Row((0..bottlenecks).map(block).collect()))
        })
    }
}
