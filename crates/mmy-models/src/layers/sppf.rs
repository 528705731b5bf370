//! Spatial pyramid pooling, the fast form of YOLOv5.

use mmy_nn::{
    Scope,
    layers::{Activation, Conv, ConvModule, MaxPool2d, Norm},
};
use tch::Tensor;

/// Three maximum poolings one after the other, which see 5, 9 and 13 cells with a kernel of 5, beside the input: `conv1`,
/// `conv2`, as MMYOLO names them.
#[derive(Debug)]
pub struct SPPFBottleneck {
    conv1: ConvModule,
    conv2: ConvModule,
    pool: MaxPool2d,
}

impl SPPFBottleneck {
    /// From `in_channels` to `out_channels`; half of the former are pooled.
    pub fn new(scope: &Scope, in_channels: i64, out_channels: i64, norm: Norm, act: Activation) -> Self {
        SPPFBottleneck::named(scope, ["conv1", "conv2"], (in_channels, out_channels), 5, norm, act)
    }

    /// With these names and an odd kernel.
    pub fn named(
        scope: &Scope,
        names: [&str; 2],
        (in_channels, out_channels): (i64, i64),
        kernel: i64,
        norm: Norm,
        act: Activation,
    ) -> Self {
        let mid = in_channels / 2;
        SPPFBottleneck {
            conv1: ConvModule::new(&(scope / names[0]), in_channels, mid, Conv::new(1, 1), norm, act),
            conv2: ConvModule::new(&(scope / names[1]), 4 * mid, out_channels, Conv::new(1, 1), norm, act),
            pool: MaxPool2d::new(&(scope / "poolings"), kernel, 1, kernel / 2),
        }
    }

    /// (B, in, H, W) to (B, out, H, W).
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let x = self.conv1.forward(x, train);
        let p1 = self.pool.forward(&x);
        let p2 = self.pool.forward(&p1);
        let p3 = self.pool.forward(&p2);
        self.conv2.forward(&Tensor::cat(&[x, p1, p2, p3], 1), train)
    }
}
