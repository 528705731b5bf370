//! Squeeze and excitation (arXiv 1709.01507) of convolutions.

use mmy_nn::{
    Scope,
    layers::{Activation, Conv, Conv2d},
};
use tch::{Kind, Tensor};

/// Each channel is multiplied with a number between 0 and 1 that follows from the means of all channels: two 1×1
/// convolutions with biases and a sixteenth of the channels between them, as MobileOne has it.
#[derive(Debug)]
pub struct SqueezeExcite {
    reduce: Conv2d,
    expand: Conv2d,
    path: String,
}

impl SqueezeExcite {
    /// Makes the two convolutions, called `names`.
    pub fn new(scope: &Scope, names: [&str; 2], channels: i64) -> Self {
        let (point, squeezed) = (Conv::new(1, 1).with_bias(), (channels / 16).max(1));
        SqueezeExcite {
            reduce: Conv2d::new(&(scope / names[0]), channels, squeezed, point),
            expand: Conv2d::new(&(scope / names[1]), squeezed, channels, point),
            path: scope.path().to_owned(),
        }
    }

    /// (B, C, H, W) to the same shape.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let mean = x.mean_dim([2i64, 3].as_slice(), true, None::<Kind>);
        let squeezed = Activation::ReLU.forward(self.reduce.forward(&mean), format_args!("{}.act", self.path));
        x * Activation::Sigmoid.forward(self.expand.forward(&squeezed), format_args!("{}.gate", self.path))
    }
}
