//! Two convolutions and a way past them.

use mmy_nn::layers::{ConvModule, add_into};
use mmy_torch::autograd::is_grad_enabled;
use tch::Tensor;

/// Two convolutions, and a way past them unless it is switched off.
#[derive(Debug)]
pub struct Bottleneck {
    /// The first convolution.
    pub first: ConvModule,
    /// The second one.
    pub second: ConvModule,
    /// Whether the input is added to what they give; they then have to keep channels and size.
    pub add: bool,
}

impl Bottleneck {
    /// (B, C, H, W) to (B, C', H', W').
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let y = self.second.forward(&self.first.forward(x, train), train);
        match self.add {
            // An activation's gradient may need its result, which must then stay as it is.
            true if is_grad_enabled() => x + y,
            true => add_into(y, x),
            false => y,
        }
    }
}
