//! Pooling and resampling.

use tch::Tensor;

use crate::{Scope, trace};

/// Maximum over square windows, floor mode.
#[derive(Debug)]
pub struct MaxPool2d {
    path: String,
    kernel: i64,
    stride: i64,
    padding: i64,
}

impl MaxPool2d {
    /// Windows of `kernel` × `kernel` every `stride` pixels, `padding` pixels of −∞ around the input.
    pub fn new(scope: &Scope, kernel: i64, stride: i64, padding: i64) -> Self {
        MaxPool2d { path: scope.path().to_owned(), kernel, stride, padding }
    }

    /// (B, C, H, W) to (B, C, H', W').
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let y = x.max_pool2d([self.kernel; 2], [self.stride; 2], [self.padding; 2], [1, 1], false);
        trace::report("MaxPool2d", &self.path, &y, 0, 0);
        y
    }
}

/// Enlarges (B, C, H, W) by a whole factor, repeating pixels.
pub fn upsample_nearest(x: &Tensor, factor: i64) -> Tensor {
    let size = x.size();
    x.upsample_nearest2d([size[2] * factor, size[3] * factor], None, None)
}
