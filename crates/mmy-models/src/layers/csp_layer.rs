//! Cross-stage partial layer (CSPNet, arXiv 1911.11929), YOLOv5's C3.

use mmy_nn::{
    Scope,
    layers::{Activation, Conv, ConvModule, Norm},
};
use tch::Tensor;

use crate::layers::Bottleneck;

/// Half of the channels go through bottlenecks, half go past them: `main_conv`, `short_conv`, `final_conv`,
/// `blocks.J.conv1`, `blocks.J.conv2`, as MMDetection names them.
#[derive(Debug)]
pub struct CSPLayer {
    outer: CspConvs,
    blocks: Vec<Bottleneck>,
}

/// The three convolutions of 1×1 around what a cross-stage partial layer holds.
#[derive(Debug)]
pub struct CspConvs {
    main: ConvModule,
    short: ConvModule,
    last: ConvModule,
}

impl CspConvs {
    /// From `in_channels` to twice `mid` channels and to `out_channels`; the convolutions are called `names`.
    pub fn new(
        scope: &Scope,
        names: [&str; 3],
        (in_channels, mid, out_channels): (i64, i64, i64),
        norm: Norm,
        act: Activation,
    ) -> Self {
        let point = |name, from, to| ConvModule::new(&(scope / name), from, to, Conv::new(1, 1), norm, act);
        CspConvs {
            main: point(names[0], in_channels, mid),
            short: point(names[1], in_channels, mid),
            last: point(names[2], 2 * mid, out_channels),
        }
    }

    /// (B, in, H, W) to (B, out, H, W), one half through `inner`.
    pub fn forward(&self, x: &Tensor, train: bool, inner: impl FnOnce(Tensor) -> Tensor) -> Tensor {
        let short = self.short.forward(x, train);
        let main = inner(self.main.forward(x, train));
        self.last.forward(&Tensor::cat(&[main, short], 1), train)
    }
}

impl CSPLayer {
    /// `blocks` bottlenecks between `in_channels` and `out_channels`, each with a way past it if `add_identity`.
    pub fn new(
        scope: &Scope,
        (in_channels, out_channels): (i64, i64),
        blocks: i64,
        add_identity: bool,
        norm: Norm,
        act: Activation,
    ) -> Self {
        let mid = out_channels / 2;
        let names = ["main_conv", "short_conv", "final_conv"];
        let block = |j| {
            let scope = scope / "blocks" / j;
            Bottleneck {
                first: ConvModule::new(&(&scope / "conv1"), mid, mid, Conv::new(1, 1), norm, act),
                second: ConvModule::new(&(&scope / "conv2"), mid, mid, Conv::new(3, 1), norm, act),
                add: add_identity,
            }
        };
        CSPLayer {
            outer: CspConvs::new(scope, names, (in_channels, mid, out_channels), norm, act),
            blocks: (0..blocks).map(block).collect(),
        }
    }

    /// (B, in, H, W) to (B, out, H, W).
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.outer.forward(x, train, |x| self.blocks.iter().fold(x, |x, it| it.forward(&x, train)))
    }
}
