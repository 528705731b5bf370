//! StarNet ("Rewrite the Stars", arXiv 2403.19967): two branches multiplied element by element.
//!
//! Names are those of the reference, and of timm's `starnet_s1` … without its classifier:
//! `stages.0.1.dwconv.conv.weight`.

use mmy_nn::{
    Scope,
    layers::{Activation, Conv, ConvModule, DropPath, Norm, add_into},
    trace,
};
use mmy_registry::{Build, BuildError, register};
use mmy_torch::star::relu6_mul;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    backbones::check_out_indices,
    kinds::{Backbone, FeatureInfo, Features, in_range},
};

register!(Backbone, "StarNet", Config);

/// StarNet ("Rewrite the Stars", arXiv 2403.19967): a stem and four stages at strides 4, 8, 16, 32. Convolutions have
/// biases and batch norms are PyTorch's (eps 1e-5, momentum 0.1), as in the published weights.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Channels of the first stage; each later stage doubles them.
    pub base_dim: i64,
    /// Star blocks in each stage.
    pub depths: Vec<i64>,
    /// Width of the two branches, as a multiple of the block's channels.
    pub mlp_ratio: i64,
    /// Probability with which training skips the last block, 0 to below 1; it grows linearly from 0 in the first.
    pub drop_path_rate: f64,
    /// Stages whose maps go to the neck, finest first; stage 0 has stride 4, stage 3 stride 32.
    pub out_indices: Vec<usize>,
    /// Taken because the published config gives it; a backbone has no classes, so it has no effect.
    pub num_classes: Option<i64>,
}

impl Default for Config {
    /// StarNet-s1.
    fn default() -> Self {
        Config {
            base_dim: 24,
            depths: vec![2, 2, 8, 3],
            mlp_ratio: 4,
            drop_path_rate: 0.0,
            out_indices: vec![1, 2, 3],
            num_classes: None,
        }
    }
}

/// Channels of the stem.
const STEM: i64 = 32;

impl Build<Backbone> for Config {
    fn build(&self, scope: &Scope) -> Result<Box<dyn Features>, BuildError> {
        in_range("base_dim", self.base_dim, 1..=1024)?;
        in_range("mlp_ratio", self.mlp_ratio, 1..=16)?;
        in_range("drop_path_rate", self.drop_path_rate, 0.0..=0.99)?;
        if !(1..=8).contains(&self.depths.len()) || self.depths.iter().any(|it| !(0..=100).contains(it)) {
            let message = format!("{:?} are no depths: give 1 to 8 stages of 0 to 100 blocks", self.depths);
            return Err(BuildError::new(message).at("depths"));
        }
        check_out_indices(&self.out_indices, self.depths.len())?;

        let mut in_dim = STEM;
        let down = |scope: &Scope, from, to, act| {
            ConvModule::new(scope, from, to, Conv::new(3, 2).with_bias(), Norm::TORCH, act)
        };
        let stem = down(&(scope / "stem" / 0), 3, STEM, Activation::ReLU6);
        let total = self.depths.iter().sum::<i64>() as usize;
        let mut drop_paths = DropPath::linear(self.drop_path_rate, total);
        let mut stages = Vec::new();
        for (i, &depth) in self.depths.iter().enumerate() {
            let (scope, dim) = (scope / "stages" / i, self.base_dim << i);
            let down = down(&(&scope / 0), in_dim, dim, Activation::Identity);
            let blocks = (1..).take(depth as usize).zip(drop_paths.by_ref());
            let blocks = blocks.map(|(j, drop_path)| Block::new(&(&scope / j), dim, self.mlp_ratio, drop_path));
            stages.push(Stage { down, blocks: blocks.collect(), dim });
            in_dim = dim;
        }
        Ok(Box::new(StarNet { stem, stages, out_indices: self.out_indices.clone() }))
    }
}

#[derive(Debug)]
struct StarNet {
    stem: ConvModule,
    stages: Vec<Stage>,
    out_indices: Vec<usize>,
}

#[derive(Debug)]
struct Stage {
    down: ConvModule,
    blocks: Vec<Block>,
    dim: i64,
}

#[derive(Debug)]
struct Block {
    path: String,
    dwconv: ConvModule,
    f1: ConvModule,
    f2: ConvModule,
    g: ConvModule,
    dwconv2: ConvModule,
    drop_path: DropPath,
}

impl Features for StarNet {
    fn feature_info(&self) -> Vec<FeatureInfo> {
        let info = |&i: &usize| FeatureInfo { channels: self.stages[i].dim, stride: 4 << i };
        self.out_indices.iter().map(info).collect()
    }

    fn forward(&self, x: &Tensor, train: bool) -> Vec<Tensor> {
        let mut x = self.stem.forward(x, train);
        let mut outs = Vec::new();
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.blocks.iter().fold(stage.down.forward(&x, train), |x, it| it.forward(&x, train));
            if self.out_indices.contains(&i) {
                outs.push(x.shallow_clone());
            }
        }
        outs
    }
}

impl Block {
    fn new(scope: &Scope, dim: i64, mlp_ratio: i64, drop_path: DropPath) -> Self {
        let wide = mlp_ratio * dim;
        let (depthwise, point) = (Conv::new(7, 1).groups(dim).with_bias(), Conv::new(1, 1).with_bias());
        let module =
            |name, from, to, conv, norm: Option<Norm>, act| ConvModule::new(&(scope / name), from, to, conv, norm, act);
        let none = Activation::Identity;
        Block {
            path: scope.path().to_owned(),
            dwconv: module("dwconv", dim, dim, depthwise, Some(Norm::TORCH), none),
            f1: module("f1", dim, wide, point, None, none),
            f2: module("f2", dim, wide, point, None, none),
            g: module("g", wide, dim, point, Some(Norm::TORCH), none),
            dwconv2: module("dwconv2", dim, dim, depthwise, None, none),
            drop_path,
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let y = self.dwconv.forward(x, train);
        let (f1, f2) = (self.f1.forward(&y, train), self.f2.forward(&y, train));
        // Two tensors of one shape can always be multiplied; libtorch's own operators are the way out all the same.
        let star = relu6_mul(&f1, &f2).unwrap_or_else(|_| f1.relu6() * f2);
        trace::report("ReLU6", format_args!("{}.act", self.path), &star, 0, 0);
        let y = self.dwconv2.forward(&self.g.forward(&star, train), train);
        // A convolution's own gradient does not need its result.
        add_into(self.drop_path.forward(y, train), x)
    }
}
