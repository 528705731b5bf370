//! Batch normalisation (arXiv 1502.03167).

use std::fmt::Display;

use mmy_torch::norm_act::{self, Normalisation, batch_norm_act};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{Init, Role, Scope, layers::Activation, trace};

/// Which normalisation; MMYOLO's `norm_cfg`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Norm {
    /// Kind of normalisation.
    #[serde(rename = "type")]
    pub kind: NormType,
    /// Weight of the newest batch in the running statistics, 0 to 1.
    pub momentum: f64,
    /// Added to the variance.
    pub eps: f64,
    /// Whether scale and shift are trained.
    pub requires_grad: bool,
}

/// Kinds of normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum NormType {
    /// Over batch and pixels, for each channel.
    #[default]
    #[serde(alias = "BN2d")]
    BN,
    /// The same, over the batches of all processes; with one process that is `BN`.
    SyncBN,
}

impl Default for Norm {
    /// As YOLOv5 has it: momentum 0.03, eps 0.001.
    fn default() -> Self {
        Norm { kind: NormType::BN, momentum: 0.03, eps: 0.001, requires_grad: true }
    }
}

impl Norm {
    /// As PyTorch has it: momentum 0.1, eps 1e-5.
    pub const TORCH: Norm = Norm { kind: NormType::BN, momentum: 0.1, eps: 1e-5, requires_grad: true };
}

/// Batch normalisation over (B, H, W); `weight`, `bias`, `running_mean`, `running_var` (C) and
/// `num_batches_tracked` (int64 scalar).
#[derive(Debug)]
pub struct BatchNorm2d {
    path: String,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    num_batches_tracked: Tensor,
    norm: Norm,
    /// The running statistics are used, and stay as they are, in training too.
    norm_eval: bool,
}

impl BatchNorm2d {
    /// Makes scale 1, shift 0, mean 0, variance 1 at `scope`. In a scope with [`Scope::norm_eval`] the running
    /// statistics are used in training too and stay as they are.
    pub fn new(scope: &Scope, channels: i64, norm: Norm) -> Self {
        Self::with_scale(scope, channels, norm, 1.0)
    }

    /// As [`BatchNorm2d::new`], with a scale that starts at `scale`.
    pub fn with_scale(scope: &Scope, channels: i64, norm: Norm, scale: f64) -> Self {
        let trained = if norm.requires_grad { scope.clone() } else { scope.freeze() };
        BatchNorm2d {
            path: scope.path().to_owned(),
            weight: trained.param("weight", &[channels], Init::Const(scale), Role::NormWeight),
            bias: trained.param("bias", &[channels], Init::Const(0.0), Role::Bias),
            running_mean: scope.buffer("running_mean", &[channels], 0.0, Kind::Float),
            running_var: scope.buffer("running_var", &[channels], 1.0, Kind::Float),
            num_batches_tracked: scope.buffer("num_batches_tracked", &[], 0.0, Kind::Int64),
            norm,
            norm_eval: scope.is_norm_eval(),
        }
    }

    /// (B, C, H, W) to the same shape. In training the running statistics take the batch in.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.forward_act(x, Activation::Identity, train, "")
    }

    /// As [`BatchNorm2d::forward`], then `act` at the place called `act_path`; as one operation, where there is one.
    pub fn forward_act(&self, x: &Tensor, act: Activation, train: bool, act_path: impl Display) -> Tensor {
        let train = train && !self.norm_eval;
        if train && !trace::shapes_only() {
            // The counter takes no part in the computation; it is kept because state dicts carry it.
            let _ = self.num_batches_tracked.shallow_clone().g_add_scalar_(1);
            // Whoever lists layers sees the two of them.
            if !trace::is_on()
                && let Some(y) = self.fused(x, act)
            {
                return y;
            }
        }
        let y = if trace::shapes_only() {
            x.shallow_clone()
        } else {
            x.batch_norm(
                Some(&self.weight),
                Some(&self.bias),
                Some(&self.running_mean),
                Some(&self.running_var),
                train,
                self.norm.momentum,
                self.norm.eps,
                true,
            )
        };
        trace::report("BatchNorm2d", &self.path, &y, 2 * self.weight.numel() as u64, 0);
        act.forward(y, act_path)
    }

    /// `None` where no kernel does both at once.
    fn fused(&self, x: &Tensor, act: Activation) -> Option<Tensor> {
        let act = match act {
            Activation::Identity => norm_act::Activation::Identity,
            Activation::ReLU => norm_act::Activation::Relu,
            Activation::ReLU6 => norm_act::Activation::Relu6,
            Activation::SiLU => norm_act::Activation::Silu,
            _ => return None,
        };
        let norm = Normalisation {
            weight: &self.weight,
            bias: &self.bias,
            running: Some((&self.running_mean, &self.running_var)),
            momentum: self.norm.momentum,
            eps: self.norm.eps,
        };
        batch_norm_act(x, norm, act).expect("the layer's own tensors fit each other")
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::ParamStore;

    #[test]
    fn running_statistics_take_the_batch_in_only_when_training() {
        let store = ParamStore::new(Device::Cpu, 0);
        let bn = BatchNorm2d::new(&store.root(), 1, Norm { momentum: 0.5, ..Norm::default() });
        let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 6.0]).view([1, 1, 2, 2]);
        let state = || {
            ["running_mean", "running_var", "num_batches_tracked"].map(|it| store.get(it).unwrap().double_value(&[]))
        };
        let _ = bn.forward(&x, false);
        assert_eq!(state(), [0.0, 1.0, 0.0]);
        // The mean is 3 and the unbiased variance 14/3; each is taken in by half.
        let y = bn.forward(&x, true);
        let [mean, var, steps] = state();
        assert_eq!((mean, steps), (1.5, 1.0));
        assert!((var - (0.5 + 7.0 / 3.0)).abs() < 1e-6, "{var}");
        assert!(y.mean(Kind::Float).double_value(&[]).abs() < 1e-6);
    }

    #[test]
    fn frozen_statistics_stay() {
        let store = ParamStore::new(Device::Cpu, 0);
        let bn = BatchNorm2d::new(&store.root().norm_eval(), 2, Norm::default());
        let _ = bn.forward(&Tensor::ones([2, 2, 3, 3], (Kind::Float, Device::Cpu)), true);
        assert_eq!(store.get("num_batches_tracked").unwrap().int64_value(&[]), 0);
        assert_eq!(store.get("running_mean").unwrap().double_value(&[0]), 0.0);
        assert!(bn.weight.requires_grad());
    }
}
