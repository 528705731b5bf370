//! Affine maps over the last axis.

use tch::{Kind, Tensor};

use crate::{Role, Scope, trace};

/// An affine map, `weight` (out, in) and perhaps `bias` (out); starts as the scope has it ([`Scope::starting`]), by
/// default as PyTorch's `Linear`.
#[derive(Debug)]
pub struct Linear {
    path: String,
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Makes the parameters at `scope`, with a bias.
    pub fn new(scope: &Scope, in_features: i64, out_features: i64) -> Self {
        let bias = scope.start().bias(in_features);
        let it = Linear::without_bias(scope, in_features, out_features);
        Linear { bias: Some(scope.param("bias", &[out_features], bias, Role::Bias)), ..it }
    }

    /// Makes the weight alone at `scope`.
    pub fn without_bias(scope: &Scope, in_features: i64, out_features: i64) -> Self {
        let weight = scope.param("weight", &[out_features, in_features], scope.start().weight(), Role::Weight);
        Linear { path: scope.path().to_owned(), weight, bias: None }
    }

    /// (…, in) to (…, out).
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let y = if trace::shapes_only() {
            let mut shape = x.size();
            if let Some(last) = shape.last_mut() {
                *last = self.weight.size()[0];
            }
            Tensor::zeros([1], (Kind::Float, x.device())).expand(shape, false)
        } else {
            x.linear(&self.weight, self.bias.as_ref())
        };
        let params = self.weight.numel() + self.bias.as_ref().map_or(0, Tensor::numel);
        trace::report("Linear", &self.path, &y, params as u64, y.numel() as u64 * self.weight.size()[1] as u64);
        y
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::{ParamStore, Start};

    #[test]
    fn maps_the_last_axis_and_counts_itself() {
        let store = ParamStore::new(Device::Cpu, 0);
        let layer = Linear::new(&(store.root().starting(Start::Normal { std: 0.02 }) / "fc"), 3, 5);
        let x = Tensor::ones([2, 4, 3], (Kind::Float, Device::Cpu));
        let (y, rows) = trace::record(|| layer.forward(&x));
        let (dry, dry_rows) = trace::shapes(|| layer.forward(&x));
        assert_eq!((dry.size(), &dry_rows), (y.size(), &rows));
        assert_eq!((rows[0].params, rows[0].macs), (20, 8 * 15));
        let sums = store.get("fc.weight").unwrap().sum_dim_intlist(1i64, false, Kind::Float);
        assert!((y.select(0, 1).select(0, 2) - sums).abs().max().double_value(&[]) < 1e-6);
        assert_eq!(store.get("fc.bias").unwrap().abs().max().double_value(&[]), 0.0);
    }
}
