//! Maps of one size joined.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::args::one,
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, Layer},
};

register!(Block, "Concat", Config);

/// Joins maps of one size along their channels, in the order of the line's indices. In order: axis.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The axis, that of the channels: 1, or 2 as lists write it whose maps have time in front.
    #[serde(default = "one")]
    pub dimension: i64,
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let timed = args.list.time_steps > 1;
        if !(self.dimension == 1 || self.dimension == 2 && timed) {
            let message = format!("maps are joined along their channels, not along axis {}", self.dimension);
            return Err(BuildError::new(message).at("dimension").help("set it to 1"));
        }
        let strides: Vec<_> = args.inputs.iter().map(|it| it.stride).collect();
        if strides.iter().any(|it| *it != strides[0]) {
            let message = format!("maps of strides {strides:?} have different sizes and cannot be joined");
            return Err(BuildError::new(message).help("check the indices, or bring the maps to one size first"));
        }
        let channels = args.inputs.iter().map(|it| it.channels).sum();
        let outputs = vec![FeatureInfo { channels, stride: strides[0] }];
        Ok(BuiltBlock::Layer { layer: Box::new(Concat), outputs })
    }
}

#[derive(Debug)]
struct Concat;

impl Layer for Concat {
    fn forward(&self, inputs: &[Tensor], _train: bool) -> Vec<Tensor> {
        vec![Tensor::cat(inputs, 1)]
    }
}
