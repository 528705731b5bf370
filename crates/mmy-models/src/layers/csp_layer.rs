//! Cross-stage partial layer (CSPNet, arXiv 1911.11929), YOLOv5's C3.

use mmy_nn::{
    Scope,
    layers::{Activation, Conv, ConvModule, Norm, add_into},
};
use mmy_torch::autograd::is_grad_enabled;
use tch::Tensor;

/// Half of the channels go through bottlenecks, half go past them: `main_conv`, `short_conv`, `final_conv`,
/// `blocks.J.conv1`, `blocks.J.conv2`.
#[derive(Debug)]
pub struct CSPLayer {
    main_conv: ConvModule,
    short_conv: ConvModule,
    final_conv: ConvModule,
    blocks: Vec<Bottleneck>,
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
        let point = |name, from, to| ConvModule::new(&(scope / name), from, to, Conv::new(1, 1), norm, act);
        CSPLayer {
            main_conv: point("main_conv", in_channels, mid),
            short_conv: point("short_conv", in_channels, mid),
            final_conv: point("final_conv", 2 * mid, out_channels),
            blocks: (0..blocks)
                .map(|j| {
                    let scope = scope / "blocks" / j;
                    Bottleneck {
                        conv1: ConvModule::new(&(&scope / "conv1"), mid, mid, Conv::new(1, 1), norm, act),
                        conv2: ConvModule::new(&(&scope / "conv2"), mid, mid, Conv::new(3, 1), norm, act),
                        add_identity,
                    }
                })
                .collect(),
        }
    }

    /// (B, in, H, W) to (B, out, H, W).
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let short = self.short_conv.forward(x, train);
        let main = self.blocks.iter().fold(self.main_conv.forward(x, train), |x, it| it.forward(x, train));
        self.final_conv.forward(&Tensor::cat(&[main, short], 1), train)
    }
}

#[derive(Debug)]
struct Bottleneck {
    conv1: ConvModule,
    conv2: ConvModule,
    add_identity: bool,
}

impl Bottleneck {
    fn forward(&self, x: Tensor, train: bool) -> Tensor {
        let y = self.conv2.forward(&self.conv1.forward(&x, train), train);
        match self.add_identity {
            // An activation's gradient may need its result, which must then stay as it is.
            true if is_grad_enabled() => x + y,
            true => add_into(y, &x),
            false => y,
        }
    }
}
