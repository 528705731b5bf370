//! Layer normalisation over channels (arXiv 1607.06450).

use tch::Tensor;

use crate::{Init, Role, Scope, trace};

/// Normalises each pixel, or each row, over its channels; `weight` (C) starts at 1, `bias` (C) at 0.
#[derive(Debug)]
pub struct LayerNorm {
    path: String,
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Makes the parameters at `scope`; `eps` is added to the variance.
    pub fn new(scope: &Scope, channels: i64, eps: f64) -> Self {
        LayerNorm {
            path: scope.path().to_owned(),
            weight: scope.param("weight", &[channels], Init::Const(1.0), Role::NormWeight),
            bias: scope.param("bias", &[channels], Init::Const(0.0), Role::Bias),
            eps,
        }
    }

    /// (…, C) to the same shape, over the last axis.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let y = if trace::shapes_only() {
            x.shallow_clone()
        } else {
            x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, false)
        };
        trace::report("LayerNorm", &self.path, &y, 2 * self.weight.numel() as u64, 0);
        y
    }

    /// (B, C, H, W) to the same shape, over the channels of each pixel; channels-last memory stays as it lies.
    pub fn forward_maps(&self, x: &Tensor) -> Tensor {
        self.forward(&x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::{ParamStore, testing::field};

    #[test]
    fn a_pixel_has_mean_0_and_variance_1() {
        let store = ParamStore::new(Device::Cpu, 0);
        let norm = LayerNorm::new(&store.root(), 16, 1e-6);
        let y = norm.forward_maps(&field("x", &[2, 16, 3, 5]));
        assert_eq!(y.size(), [2, 16, 3, 5]);
        assert!(y.mean_dim(1i64, false, Kind::Float).abs().max().double_value(&[]) < 1e-6);
        let variance = y.square().mean_dim(1i64, false, Kind::Float);
        assert!((variance - 1.0).abs().max().double_value(&[]) < 1e-4);
    }
}
