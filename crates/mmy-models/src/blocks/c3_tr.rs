//! `C3` around a transformer: `cv1`, `cv2`, `cv3`, `m.linear`, `m.tr.J`.

use mmy_nn::{Init, Role, Scope, layers::Linear, trace};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::{
        args::{half, one, yes},
        c3::csp,
    },
    kinds::{Block, BlockArgs, BuiltBlock, MapLayer},
};

register!(Block, "C3TR", Config);

/// Half of the channels go through transformer layers with four heads over all pixels, as many layers as the line's number
/// says, half go past them. In order: channels, two that the original takes and does not use, share of the channels inside.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Taken because the original takes it, and without effect: transformer layers always have a way past them.
    #[serde(default = "yes")]
    pub shortcut: bool,
    /// Taken because the original takes it, and without effect.
    #[serde(default = "one")]
    pub g: i64,
    /// Channels of each half, as a share of those given.
    #[serde(default = "half")]
    pub e: f64,
}

/// Heads of the attention.
const HEADS: i64 = 4;

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let repeats = args.repeats();
        csp(&args, self.c2, self.e, |mid| {
            if mid % HEADS != 0 {
                let message = format!("{mid} channels inside cannot be split into {HEADS} heads");
                return Err(BuildError::new(message).at("c2"));
            }
            let scope = args.scope / "m";
            Ok(Transformer {
                linear: Linear::new(&(&scope / "linear"), mid, mid),
                layers: (0..repeats).map(|j| TransformerLayer::new(&(&scope / "tr" / j), mid)).collect(),
            })
        })
    }
}

/// Layers over all pixels, after a learned embedding of each.
#[derive(Debug)]
struct Transformer {
    linear: Linear,
    layers: Vec<TransformerLayer>,
}

impl MapLayer for Transformer {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        let size = x.size();
        let pixels = x.flatten(2, 3).transpose(1, 2);
        let start = &pixels + self.linear.forward(&pixels);
        let out = self.layers.iter().fold(start, |x, it| it.forward(&x));
        out.transpose(1, 2).reshape(size.as_slice())
    }
}

/// Attention and two linear layers, each with a way past it; no normalisation and no activation.
#[derive(Debug)]
struct TransformerLayer {
    qkv: [Linear; 3],
    attention: Attention,
    fc1: Linear,
    fc2: Linear,
}

impl TransformerLayer {
    fn new(scope: &Scope, channels: i64) -> Self {
        let square = |name| Linear::without_bias(&(scope / name), channels, channels);
        TransformerLayer {
            qkv: [square("q"), square("k"), square("v")],
            attention: Attention::new(&(scope / "ma"), channels),
            fc1: square("fc1"),
            fc2: square("fc2"),
        }
    }

    /// (B, pixels, C) to the same shape.
    fn forward(&self, x: &Tensor) -> Tensor {
        let x = self.attention.forward(&self.qkv.each_ref().map(|it| it.forward(x))) + x;
        self.fc2.forward(&self.fc1.forward(&x)) + x
    }
}

/// Attention with several heads, PyTorch's `MultiheadAttention`: `in_proj_weight` (3C, C), `in_proj_bias` (3C),
/// `out_proj.weight` (C, C), `out_proj.bias` (C).
#[derive(Debug)]
struct Attention {
    path: String,
    weight: Tensor,
    bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
}

impl Attention {
    fn new(scope: &Scope, channels: i64) -> Self {
        // The three input maps start as one by Glorot's rule, (C, C) under each other.
        let bound = (6.0 / (4 * channels) as f64).sqrt();
        let out = scope / "out_proj";
        let weight = scope.param("in_proj_weight", &[3 * channels, channels], Init::Uniform { bound }, Role::Weight);
        Attention {
            path: scope.path().to_owned(),
            weight,
            bias: scope.param("in_proj_bias", &[3 * channels], Init::Const(0.0), Role::Weight),
            out_weight: out.param("weight", &[channels, channels], Init::KaimingUniform, Role::Weight),
            out_bias: out.param("bias", &[channels], Init::Const(0.0), Role::Bias),
        }
    }

    /// Queries, keys and values (B, pixels, C) to (B, pixels, C).
    fn forward(&self, qkv: &[Tensor; 3]) -> Tensor {
        let size = qkv[0].size();
        let (pixels, channels) = (size[1], size[2]);
        let (weights, biases) = (self.weight.chunk(3, 0), self.bias.chunk(3, 0));
        let heads = |at: usize| {
            let x = qkv[at].linear(&weights[at], Some(&biases[at]));
            x.view([size[0], pixels, HEADS, channels / HEADS]).transpose(1, 2)
        };
        let out = Tensor::scaled_dot_product_attention(
            &heads(0),
            &heads(1),
            &heads(2),
            None::<Tensor>,
            0.0,
            false,
            None::<f64>,
            false,
        );
        let out = out.transpose(1, 2).reshape(size.as_slice()).linear(&self.out_weight, Some(&self.out_bias));
        let params = 4 * channels * (channels + 1);
        let macs = size[0] * pixels * channels * (4 * channels + 2 * pixels);
        trace::report("MultiheadAttention", &self.path, &out, params as u64, macs as u64);
        out
    }
}
