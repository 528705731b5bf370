//! Convolution, normalisation, activation.

use tch::Tensor;

use crate::{
    Scope,
    layers::{Activation, BatchNorm2d, Conv, Conv2d, Norm},
    reparam::{Kernel, Trained, Unmade},
};

/// Convolution, then normalisation if any, then activation: `conv`, `bn`, with mmcv's names. Deployed, the normalisation
/// is part of the convolution, which then has a bias.
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
        let (path, norm) = (scope.path().to_owned(), norm.into());
        if norm.is_some() && scope.is_deployed() {
            let trained = Self::reader(scope, in_channels, out_channels, conv, norm);
            let conv = Conv2d::merged(scope, "conv", (in_channels, out_channels), conv, trained);
            return ConvModule { path, conv, bn: None, act };
        }
        ConvModule {
            path,
            conv: Conv2d::new(&(scope / "conv"), in_channels, out_channels, conv),
            bn: norm.map(|norm| BatchNorm2d::new(&(scope / "bn"), out_channels, norm)),
            act,
        }
    }

    /// Reads a trained module of that make, without its activation, as one convolution.
    pub fn reader(
        scope: &Scope,
        in_channels: i64,
        out_channels: i64,
        conv: Conv,
        norm: Option<Norm>,
    ) -> impl Fn(&Trained<'_>) -> Result<Kernel, Unmade> + Clone + Send + Sync + use<> {
        let read = Conv2d::reader(&(scope / "conv"), in_channels, out_channels, conv);
        move |module| {
            let kernel = read(&(module / "conv"))?;
            match norm {
                Some(norm) => kernel.normed(&(module / "bn"), norm.eps),
                None => Ok(kernel),
            }
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
