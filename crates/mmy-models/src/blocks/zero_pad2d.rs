//! Zeros around a map.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::kinds::{Block, BlockArgs, BuiltBlock, MapLayer};

register!(Block, "ZeroPad2d", Config);

/// Zeros around a map, before a window that would not fit otherwise: YOLOv3-tiny pads right and bottom by one pixel before
/// its last pooling. In order: pixels.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Pixels left, right, top and bottom.
    pub padding: [i64; 4],
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let input = args.input()?;
        if let Some((at, pixels)) = self.padding.iter().enumerate().find(|it| !(0..=64).contains(it.1)) {
            let message = format!("{pixels} pixels are none to pad by");
            return Err(BuildError::new(message).at(&format!("padding.{at}")).help("give a value from 0 to 64"));
        }
        Ok(BuiltBlock::map(ZeroPad(self.padding), input))
    }
}

#[derive(Debug)]
struct ZeroPad([i64; 4]);

impl MapLayer for ZeroPad {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        x.constant_pad_nd(self.0)
    }
}
