//! Attention and convolution over the same three maps (ACmix, arXiv 2111.14556): `rate1`, `rate2`, `conv1` … `conv3`,
//! `conv_p`, `fc`, `dep_conv`.

use mmy_nn::{
    Init, Role, Scope,
    layers::{Conv, Conv2d},
};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{
    blocks::args::one,
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer, in_range},
};

register!(Block, "ACmix", Config);

/// Attention in a window around each pixel, and a convolution that is put together from the same three maps, weighted and
/// added (arXiv 2111.14556). In order: channels, attention window, heads, kernel, stride, dilation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Side of the window that a pixel attends to, odd.
    #[serde(default = "seven")]
    pub kernel_att: i64,
    /// Heads, which divide the channels.
    #[serde(default = "four")]
    pub head: i64,
    /// Side of the convolution's kernel, odd.
    #[serde(default = "three")]
    pub kernel_conv: i64,
    /// Pixels from one window to the next.
    #[serde(default = "one")]
    pub stride: i64,
    /// Taken because the original takes it; only 1 makes sense there.
    #[serde(default = "one")]
    pub dilation: i64,
}

fn seven() -> i64 {
    7
}

fn four() -> i64 {
    4
}

fn three() -> i64 {
    3
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        for (key, side) in [("kernel_att", self.kernel_att), ("kernel_conv", self.kernel_conv)] {
            if side % 2 == 0 || !(1..=31).contains(&side) {
                let message = format!("a window of {side} pixels has no middle or no sense");
                return Err(BuildError::new(message).at(key).help("give an odd number from 1 to 31"));
            }
        }
        in_range("head", self.head, 1..=channels)?;
        in_range("stride", self.stride, 1..=2)?;
        in_range("dilation", self.dilation, 1..=1)?;
        if channels % self.head != 0 {
            let message = format!("{channels} channels cannot be split into {} heads", self.head);
            return Err(BuildError::new(message).at("head").help("give a number that divides the channels"));
        }
        let layer = AcMix::new(args.scope, input.channels, channels, self);
        Ok(BuiltBlock::map(layer, FeatureInfo { channels, stride: input.stride * self.stride }))
    }
}

#[derive(Debug)]
struct AcMix {
    rate1: Tensor,
    rate2: Tensor,
    qkv: [Conv2d; 3],
    conv_p: Conv2d,
    fc: Conv2d,
    dep_conv: Conv2d,
    window: i64,
    heads: i64,
    /// Channels of a head.
    width: i64,
    stride: i64,
}

impl AcMix {
    fn new(scope: &Scope, from: i64, to: i64, config: &Config) -> Self {
        let (width, taps) = (to / config.head, config.kernel_conv * config.kernel_conv);
        let point = Conv::new(1, 1);
        let rate = |name| scope.param(name, &[1], Init::Const(0.5), Role::Weight);
        let (rate1, rate2) = (rate("rate1"), rate("rate2"));
        let qkv = ["conv1", "conv2", "conv3"].map(|it| Conv2d::new(&(scope / it), from, to, point.with_bias()));
        let conv_p = Conv2d::new(&(scope / "conv_p"), 2, width, point.with_bias());
        let fc = Conv2d::new(&(scope / "fc"), 3 * config.head, taps, point);
        let shifts = Conv::new(config.kernel_conv, config.stride).groups(width);
        let dep_conv = Conv2d::new(&(scope / "dep_conv"), width * taps, to, shifts);
        if !scope.store().is_dry() {
            // Slice j of every kernel moves its input by tap j, so that the sum over taps is a convolution.
            let k = config.kernel_conv;
            let each = Tensor::eye(taps, (Kind::Float, Device::Cpu)).view([1, taps, k, k]);
            tch::no_grad(|| dep_conv.weight().shallow_clone().copy_(&each.expand([to, -1, -1, -1], false)));
        }
        let (window, heads, stride) = (config.kernel_att, config.head, config.stride);
        AcMix { rate1, rate2, qkv, conv_p, fc, dep_conv, window, heads, width, stride }
    }

    /// (N, width, H, W) to the windows around every pixel, (N, width, window², H', W').
    fn windows(&self, x: &Tensor, (height, width): (i64, i64)) -> Tensor {
        let pad = self.window / 2;
        // A map that is no larger than the padding has nothing to mirror.
        let small = x.size()[2..].iter().any(|side| *side <= pad);
        let padded = if small { x.replication_pad2d([pad; 4]) } else { x.reflection_pad2d([pad; 4]) };
        let columns = padded.im2col([self.window; 2], [1, 1], [0, 0], [self.stride; 2]);
        columns.view([-1, self.width, self.window * self.window, height, width])
    }

    /// Where each pixel is, −1 to 1 across and down: (1, 2, H, W).
    fn places(like: &Tensor) -> Tensor {
        let size = like.size();
        let (height, width) = (size[2], size[3]);
        let steps = |n| Tensor::linspace(-1.0, 1.0, n, (Kind::Float, like.device()));
        let across = steps(width).view([1, 1, 1, width]).expand([1, 1, height, width], false);
        let down = steps(height).view([1, 1, height, 1]).expand([1, 1, height, width], false);
        Tensor::cat(&[across, down], 1).to_kind(like.kind())
    }

    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let size = q.size();
        let (batch, height, width) = (size[0], size[2] / self.stride, size[3] / self.stride);
        let places = self.conv_p.forward(&AcMix::places(q));
        let heads = |x: &Tensor| x.contiguous().view([batch * self.heads, self.width, size[2], size[3]]);
        let every = |x: Tensor| match self.stride {
            1 => x,
            by => x.slice(2, 0, None, by).slice(3, 0, None, by),
        };
        let query = every(heads(q) * (self.width as f64).powf(-0.5)).unsqueeze(2);
        let own_place = every(places.shallow_clone()).unsqueeze(2);
        let (keys, values) = (self.windows(&heads(k), (height, width)), self.windows(&heads(v), (height, width)));
        let near = keys + own_place - self.windows(&places, (height, width));
        let attention = (query * near).sum_dim_intlist(1i64, false, None::<Kind>).softmax(1, None::<Kind>);
        let out = (attention.unsqueeze(1) * values).sum_dim_intlist(2i64, false, None::<Kind>);
        out.view([batch, self.heads * self.width, height, width])
    }

    fn convolve(&self, qkv: &[Tensor; 3]) -> Tensor {
        let size = qkv[0].size();
        let (batch, pixels) = (size[0], size[2] * size[3]);
        let rows = qkv.each_ref().map(|it| it.contiguous().view([batch, self.heads, self.width, pixels]));
        let taps = self.fc.forward(&Tensor::cat(&rows, 1)).permute([0, 2, 1, 3]);
        self.dep_conv.forward(&taps.reshape([batch, -1, size[2], size[3]]))
    }
}

impl MapLayer for AcMix {
    fn forward(&self, x: &Tensor, _train: bool) -> Tensor {
        let qkv = self.qkv.each_ref().map(|it| it.forward(x));
        let attended = self.attend(&qkv[0], &qkv[1], &qkv[2]);
        &self.rate1 * attended + &self.rate2 * self.convolve(&qkv)
    }
}
