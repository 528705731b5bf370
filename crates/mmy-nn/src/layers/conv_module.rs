//! Convolution, normalisation, activation.

use tch::Tensor;

use crate::{
    Scope,
    layers::{Activation, BatchNorm2d, Conv, Conv2d, Norm},
};

/// Convolution, then normalisation if any, then activation: `conv`, `bn`, with mmcv's names.
#[derive(Debug)]
pub struct ConvModule {
    path: String,
    conv: Conv2d,
    bn: Option<BatchNorm2d>,
    act: Activation,
}

impl ConvModule {
    /// Makes the layers at `scope`.
    pub fn new(
        scope: &Scope,
        in_channels: i64,
        out_channels: i64,
        conv: Conv,
        norm: impl Into<Option<Norm>>,
        act: Activation,
    ) -> Self {
        ConvModule {
            path: scope.path().to_owned(),
            conv: Conv2d::new(&(scope / "conv"), in_channels, out_channels, conv),
            bn: norm.into().map(|norm| BatchNorm2d::new(&(scope / "bn"), out_channels, norm)),
            act,
        }
    }

    /// (B, in, H, W) to (B, out, H', W').
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let x = self.conv.forward(x);
        let act_path = format_args!("{}.activate", self.path);
        match &self.bn {
            Some(bn) => bn.forward_act(&x, self.act, train, act_path),
            None => self.act.forward(x, act_path),
        }
    }
}
