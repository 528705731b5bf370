//! ConvNeXt's block (arXiv 2201.03545).

use mmy_nn::{
    Init, Role, Scope,
    layers::{Activation, Conv, Conv2d, DropPath, LayerNorm, Linear},
    trace,
};
use tch::Tensor;

/// A depthwise convolution, a norm over channels and two linear maps with a GELU between them, beside the input:
/// `dwconv`, `norm`, `pwconv1`, `pwconv2`, `gamma`.
#[derive(Debug)]
pub struct ConvNextBlock {
    path: String,
    dwconv: Conv2d,
    norm: LayerNorm,
    pwconv1: Linear,
    pwconv2: Linear,
    gamma: Tensor,
    drop_path: DropPath,
}

/// Where the factor of the branch starts.
const LAYER_SCALE: f64 = 1e-6;

impl ConvNextBlock {
    /// From and to `channels`, by way of `hidden`; the depthwise kernel is `kernel` × `kernel`.
    pub fn new(scope: &Scope, channels: i64, hidden: i64, kernel: i64, drop_path: DropPath) -> Self {
        // PyTorch lists a module's own parameters before those of its children.
        let gamma = scope.param("gamma", &[channels], Init::Const(LAYER_SCALE), Role::Weight);
        let depthwise = Conv::new(kernel, 1).groups(channels).with_bias();
        ConvNextBlock {
            path: scope.path().to_owned(),
            dwconv: Conv2d::new(&(scope / "dwconv"), channels, channels, depthwise),
            norm: LayerNorm::new(&(scope / "norm"), channels, 1e-6),
            pwconv1: Linear::new(&(scope / "pwconv1"), channels, hidden),
            pwconv2: Linear::new(&(scope / "pwconv2"), hidden, channels),
            gamma,
            drop_path,
        }
    }

    /// (B, C, H, W) to the same shape.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let y = self.norm.forward(&self.dwconv.forward(x).permute([0, 2, 3, 1]));
        let y = Activation::GELU.forward(self.pwconv1.forward(&y), format_args!("{}.act", self.path));
        let y = self.pwconv2.forward(&y);
        let sum = if trace::shapes_only() {
            x.shallow_clone()
        } else {
            // gamma is float32, so the sum is too, whatever kind the layers computed in.
            self.drop_path.forward((y * &self.gamma).permute([0, 3, 1, 2]), train) + x
        };
        trace::report("LayerScale", format_args!("{}.gamma", self.path), &sum, self.gamma.numel() as u64, 0);
        sum
    }
}
