//! Global context (GCNet, arXiv 1904.11492): `conv_mask`, `channel_add_conv.{0,1,3}`, `channel_mul_conv.{0,1,3}`.

use mmy_nn::{
    Init, Role, Scope, Start,
    layers::{Conv, Conv2d},
};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{
    blocks::args::kept,
    kinds::{Block, BlockArgs, BuiltBlock, MapLayer},
};

register!(Block, "CB2D", Config);

/// Global context (arXiv 1904.11492): what a weighted mean over all pixels says is added to every pixel, or scales its
/// channels, or both. In order: channels, pooling, fusions.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`; as many as it takes.
    pub c2: i64,
    /// How pixels become one.
    #[serde(default)]
    pub pool: Pool,
    /// What the context does to every pixel; the scaling comes first.
    #[serde(default = "both")]
    pub fusions: Vec<Fusion>,
}

/// How pixels become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pool {
    /// As their mean, weighted by a softmax of what a convolution says of each.
    #[default]
    Att,
    /// As their mean.
    Avg,
}

/// What the context does to every pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fusion {
    /// It is added.
    ChannelAdd,
    /// It scales.
    ChannelMul,
}

fn both() -> Vec<Fusion> {
    vec![Fusion::ChannelAdd, Fusion::ChannelMul]
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, kept(&args, self.c2)?);
        if self.fusions.is_empty() {
            let message = "without a fusion the context has no effect";
            return Err(BuildError::new(message).at("fusions").help("name channel_add, channel_mul or both"));
        }
        if channels < 4 {
            return Err(BuildError::new(format!("of {channels} channels none are left inside")).at("c2"));
        }
        let layer = GlobalContext::new(args.scope, channels, self.pool, &self.fusions);
        Ok(BuiltBlock::map(layer, input))
    }
}

/// The layers.
#[derive(Debug)]
pub(super) struct GlobalContext {
    conv_mask: Option<Conv2d>,
    add: Option<Transform>,
    mul: Option<Transform>,
}

impl GlobalContext {
    /// For at least 4 channels.
    pub(super) fn new(scope: &Scope, channels: i64, pool: Pool, fusions: &[Fusion]) -> Self {
        // As He et al. start layers in front of a ReLU, by the width of what they read.
        let normal = scope.starting(Start::Normal { std: (2.0 / channels as f64).sqrt() });
        let branch = |fusion, name| fusions.contains(&fusion).then(|| Transform::new(&(scope / name), channels));
        GlobalContext {
            conv_mask: (pool == Pool::Att)
                .then(|| Conv2d::new(&(&normal / "conv_mask"), channels, 1, Conv::new(1, 1).with_bias())),
            add: branch(Fusion::ChannelAdd, "channel_add_conv"),
            mul: branch(Fusion::ChannelMul, "channel_mul_conv"),
        }
    }

    /// (B, C, H, W) to (B, C, 1, 1).
    fn context(&self, x: &Tensor) -> Tensor {
        let Some(mask) = &self.conv_mask else { return x.mean_dim([2i64, 3].as_slice(), true, None::<Kind>) };
        let weights = mask.forward(x).flatten(2, 3).softmax(2, None::<Kind>);
        x.flatten(2, 3).matmul(&weights.transpose(1, 2)).unsqueeze(-1)
    }
}

impl MapLayer for GlobalContext {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        let context = self.context(x);
        let scaled = match &self.mul {
            Some(mul) => x * mul.forward(&context).sigmoid(),
            None => x.shallow_clone(),
        };
        match &self.add {
            Some(add) => scaled + add.forward(&context),
            None => scaled,
        }
    }
}

/// Two convolutions of 1×1 with a layer norm between them, the last of which starts at nothing.
#[derive(Debug)]
struct Transform {
    narrow: Conv2d,
    weight: Tensor,
    bias: Tensor,
    widen: Conv2d,
}

impl Transform {
    fn new(scope: &Scope, channels: i64) -> Self {
        let (mid, point) = (channels / 4, Conv::new(1, 1).with_bias());
        let norm = scope / 1;
        Transform {
            narrow: Conv2d::new(&(scope / 0), channels, mid, point),
            weight: norm.param("weight", &[mid, 1, 1], Init::Const(1.0), Role::NormWeight),
            bias: norm.param("bias", &[mid, 1, 1], Init::Const(0.0), Role::Bias),
            widen: Conv2d::new(&(scope.starting(Start::Normal { std: 0.0 }) / 3), mid, channels, point),
        }
    }

    fn forward(&self, context: &Tensor) -> Tensor {
        let y = self.narrow.forward(context);
        let y = y.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), 1e-5, false);
        self.widen.forward(&y.relu())
    }
}
