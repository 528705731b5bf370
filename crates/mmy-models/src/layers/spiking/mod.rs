//! Layers of spiking networks (EMS-YOLO, arXiv 2307.11411).
//!
//! Time is folded into the batch: a map of T steps of B pictures is (T · B, C, H, W), step after step. A convolution, a
//! pool and a batch norm over time then are the ordinary ones, and only [`Neurons`] look at the steps.

mod conv;
pub mod meter;
mod neurons;

pub use conv::{Kernels, SpikingConv2d};
use mmy_nn::{
    Scope,
    layers::{BatchNorm2d, Norm},
};
pub use neurons::{Membrane, Neurons};
use tch::Tensor;

/// Where the scale of a norm that feeds neurons starts: at their threshold.
pub const NORM_SCALE: f64 = 0.5;

/// Where the scale of a block's last norm starts.
pub const LAST_NORM_SCALE: f64 = 0.1;

/// Threshold-dependent batch norm over time, batch and pixels: `bn`, with PyTorch's eps and momentum.
#[derive(Debug)]
pub struct TimeNorm(BatchNorm2d);

impl TimeNorm {
    /// Makes the layer at `scope`, its scale at `start`.
    pub fn new(scope: &Scope, channels: i64, start: f64) -> Self {
        TimeNorm(BatchNorm2d::with_scale(&(scope / "bn"), channels, Norm::TORCH, start))
    }

    /// (T · B, C, H, W) to the same shape.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.0.forward(x, train)
    }
}

/// The mean over the steps: (T · B, …) to (B, …).
pub fn mean_over_time(x: &Tensor, steps: i64) -> Tensor {
    if steps == 1 {
        return x.shallow_clone();
    }
    let size = x.size();
    let mut shape = vec![steps, size[0] / steps];
    shape.extend(&size[1..]);
    x.view(shape.as_slice()).mean_dim(0i64, false, x.kind())
}

#[cfg(test)]
mod tests {
    use mmy_nn::testing::{assert_close, field};
    use tch::Kind;

    use super::*;

    #[test]
    fn a_step_is_a_slice_of_the_batch() {
        let x = field("x", &[6, 2, 3, 4]);
        let want = (x.narrow(0, 0, 2) + x.narrow(0, 2, 2) + x.narrow(0, 4, 2)) / 3.0;
        assert_close("mean", &mean_over_time(&x, 3), &want, 1e-6);
        assert_eq!(mean_over_time(&x, 1), x);
        assert_eq!(want.kind(), Kind::Float);
    }
}
