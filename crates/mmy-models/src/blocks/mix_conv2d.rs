//! Kernels of several sizes side by side (MixConv, arXiv 1907.09595): `m.i`, `bn`.

use mmy_nn::layers::{Activation, BatchNorm2d, Conv, Conv2d};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::args::{Act, check_kernel, gcd, one, yes},
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer},
};

register!(Block, "MixConv2d", Config);

/// Grouped convolutions of several kernel sizes, each of which gives its share of the channels, normalised together. In
/// order: channels, kernels, stride, whether shares are equal in channels, activation, whether the input is added.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Widths and heights of the kernels.
    #[serde(default = "kernels")]
    pub k: Vec<i64>,
    /// Pixels from one window to the next.
    #[serde(default = "one")]
    pub s: i64,
    /// Whether every kernel gives as many channels; other shares, equal in parameters, are not supported.
    #[serde(default = "yes")]
    pub equal_ch: bool,
    /// The activation: `true` for the list's own, `false` for none, or a table such as `{ type = "ReLU" }`.
    #[serde(default)]
    pub act: Act,
    /// Whether the input is added, as the versions of 2020 had it; sizes and channels then have to stay.
    #[serde(default)]
    pub add: bool,
}

fn kernels() -> Vec<i64> {
    vec![1, 3]
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (input, channels) = (args.input()?, args.width(self.c2)?);
        for (at, &kernel) in self.k.iter().enumerate() {
            check_kernel(kernel, self.s).map_err(|mut it| {
                if it.path == ["k"] {
                    it.path.push(at.to_string());
                }
                it
            })?;
            if kernel % 2 == 0 {
                let message = format!("kernels of {kernel} and of odd sizes give maps of different sizes");
                return Err(BuildError::new(message).at(&format!("k.{at}")).help("give odd numbers"));
            }
        }
        if !self.equal_ch {
            let message = "shares that are equal in parameters are not supported";
            return Err(BuildError::new(message).at("equal_ch").help("set it to true"));
        }
        let shares = shares(channels, self.k.len());
        if shares.is_empty() || shares.contains(&0) {
            let message = format!("{channels} channels cannot be shared by {} kernels", self.k.len());
            return Err(BuildError::new(message).at("k"));
        }
        if self.add && (input.channels != channels || self.s != 1) {
            let message = format!("{} channels cannot be added to {channels} at stride {}", input.channels, self.s);
            return Err(BuildError::new(message).at("add").help("set it to false"));
        }
        let conv = |(i, (&k, &share)): (usize, (&i64, &i64))| {
            let conv = Conv::new(k, self.s).groups(gcd(input.channels, share));
            Conv2d::new(&(args.scope / "m" / i), input.channels, share, conv)
        };
        let m = self.k.iter().zip(&shares).enumerate().map(conv).collect();
        let bn = BatchNorm2d::new(&(args.scope / "bn"), channels, args.list.norm);
        let (act, path) = (self.act.or(args.list.act), format!("{}.act", args.scope.path()));
        Ok(BuiltBlock::map(
            MixConv { m, bn, act, path, add: self.add },
            FeatureInfo { channels, stride: input.stride * self.s },
        ))
    }
}

/// `channels` dealt out to so many kernels: channel c of C goes to kernel floor(c · (n − 1e-6) / (C − 1)).
fn shares(channels: i64, kernels: usize) -> Vec<i64> {
    let mut shares = vec![0; kernels];
    let step = (kernels as f64 - 1e-6) / (channels - 1).max(1) as f64;
    for channel in 0..channels {
        if let Some(share) = shares.get_mut((channel as f64 * step).floor() as usize) {
            *share += 1;
        }
    }
    shares
}

#[derive(Debug)]
struct MixConv {
    m: Vec<Conv2d>,
    bn: BatchNorm2d,
    act: Activation,
    path: String,
    add: bool,
}

impl MapLayer for MixConv {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let maps: Vec<_> = self.m.iter().map(|it| it.forward(x)).collect();
        let y = self.bn.forward_act(&Tensor::cat(&maps, 1), self.act, train, &self.path);
        if self.add { x + y } else { y }
    }
}
