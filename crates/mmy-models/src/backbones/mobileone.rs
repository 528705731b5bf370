//! MobileOne (arXiv 2206.04040): depthwise and pointwise blocks that are trained with branches and run without.
//!
//! Names are timm's (`mobileone_s0` …) without its classifier: `stages.0.1.conv_kxk.0.conv.weight`.

use mmy_nn::Scope;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    backbones::check_out_indices,
    kinds::{Backbone, FeatureInfo, Features, in_range},
    layers::MobileOneBlock,
};

register!(Backbone, "MobileOne", Config);

/// MobileOne (arXiv 2206.04040): a stem and four stages at strides 4, 8, 16, 32. Each block is trained as several
/// convolutions side by side, which `mmy model deploy` merges into one. The published sizes are `mobileone_s0` to
/// `mobileone_s4`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Factors of the channels of the four stages, which are 64, 128, 256, 512.
    pub width_multipliers: [f64; 4],
    /// Pairs of a depthwise and a pointwise block in each stage.
    pub num_blocks: [usize; 4],
    /// Kernels side by side in each block.
    pub num_conv_branches: i64,
    /// How many pairs at the end of each stage weight their channels by squeeze and excitation.
    pub num_se_blocks: [usize; 4],
    /// Stages whose maps go to the neck, finest first; stage 0 has stride 4, stage 3 stride 32.
    pub out_indices: Vec<usize>,
}

impl Config {
    /// One of the published sizes: stage widths, branches of each convolution, blocks with squeeze and excitation.
    pub(super) fn of_size(width_multipliers: [f64; 4], branches: i64, se: [usize; 4], out_indices: &[usize]) -> Self {
        let out_indices = out_indices.to_vec();
        Config { width_multipliers, num_conv_branches: branches, num_se_blocks: se, out_indices, ..Config::default() }
    }
}

impl Default for Config {
    /// MobileOne-s0.
    fn default() -> Self {
        Config {
            width_multipliers: [0.75, 1.0, 1.0, 2.0],
            num_blocks: [2, 8, 10, 1],
            num_conv_branches: 4,
            num_se_blocks: [0; 4],
            out_indices: vec![1, 2, 3],
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), BuildError> {
        in_range("num_conv_branches", self.num_conv_branches, 1..=16)?;
        for i in 0..4 {
            in_range(&format!("width_multipliers.{i}"), self.width_multipliers[i], 0.05..=16.0)?;
            in_range(&format!("num_blocks.{i}"), self.num_blocks[i], 1..=100)?;
            in_range(&format!("num_se_blocks.{i}"), self.num_se_blocks[i], 0..=self.num_blocks[i])?;
        }
        check_out_indices(&self.out_indices, 4)
    }

    fn channels(&self, stage: usize) -> i64 {
        (f64::from(64 << stage) * self.width_multipliers[stage]) as i64
    }
}

impl Build<Backbone> for Config {
    fn build(&self, scope: &Scope) -> Result<Box<dyn Features>, BuildError> {
        self.check()?;
        let mut channels = self.channels(0).min(64);
        let stem = MobileOneBlock::new(&(scope / "stem"), (3, channels), (3, 2, 1), 1, false);
        let mut stages = Vec::new();
        for stage in 0..4 {
            let (scope, out) = (scope / "stages" / stage, self.channels(stage));
            let mut blocks = Vec::new();
            for pair in 0..self.num_blocks[stage] {
                let attention = pair + self.num_se_blocks[stage] >= self.num_blocks[stage];
                let (count, stride) = (self.num_conv_branches, if pair == 0 { 2 } else { 1 });
                let mut push = |to, geometry| {
                    let scope = &scope / blocks.len();
                    blocks.push(MobileOneBlock::new(&scope, (channels, to), geometry, count, attention));
                };
                push(channels, (3, stride, channels));
                push(out, (1, 1, 1));
                channels = out;
            }
            stages.push(Stage { blocks, channels });
        }
        Ok(Box::new(MobileOne { stem, stages, out_indices: self.out_indices.clone() }))
    }
}

#[derive(Debug)]
struct MobileOne {
    stem: MobileOneBlock,
    stages: Vec<Stage>,
    out_indices: Vec<usize>,
}

#[derive(Debug)]
struct Stage {
    blocks: Vec<MobileOneBlock>,
    channels: i64,
}

impl Features for MobileOne {
    fn feature_info(&self) -> Vec<FeatureInfo> {
        let info = |&i: &usize| FeatureInfo { channels: self.stages[i].channels, stride: 4 << i };
        self.out_indices.iter().map(info).collect()
    }

    fn forward(&self, x: &Tensor, train: bool) -> Vec<Tensor> {
        let mut x = self.stem.forward(x, train);
        let mut outs = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.blocks.iter().fold(x, |x, it| it.forward(&x, train));
            if self.out_indices.contains(&i) {
                outs.push(x.shallow_clone());
            }
        }
        outs
    }
}
