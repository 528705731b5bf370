//! Optimisers, the groups they work on, and the wrapper that runs one step.

mod adam;
mod amp;
mod clip;
mod constructor;
#[cfg(test)]
mod golden;
mod sgd;
mod wrapper;
mod yolov5_constructor;

pub use amp::{LossScale, Precision};
pub use clip::{ClipGrad, ClipKind};
pub use constructor::{CustomKey, GroupArgs, OptimConstructor, OptimConstructorKind, Paramwise};
pub use wrapper::{OptimWrapper, OptimWrapperKind, WrapperArgs};

use std::collections::HashMap;

use mmy_registry::{BuildError, Kind};
use tch::Tensor;

use crate::error::{EngineError, Result};

/// The kind of optimisers.
pub struct OptimizerKind;

impl Kind for OptimizerKind {
    const NAME: &'static str = "optimizer";
    type Args<'a> = ();
    type Output = Box<dyn Optimizer>;
}

/// What an optimiser's config says of every parameter, before groups differ from one another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// Learning rate.
    pub lr: f64,
    /// Momentum, or the first beta.
    pub momentum: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// Pictures per step, where the config states it for the scaling of weight decay.
    pub batch_size: Option<usize>,
}

/// Parameters that share a learning rate, a momentum and a weight decay.
#[derive(Debug)]
pub struct ParamGroup {
    /// What is in it, for logs: `weights`, `norms`, `biases`.
    pub name: String,
    /// Names and tensors, in the model's order.
    pub params: Vec<(String, Tensor)>,
    /// Learning rate of the next step.
    pub lr: f64,
    /// Learning rate of the config, which schedules start from.
    pub initial_lr: f64,
    /// Momentum of the next step.
    pub momentum: f64,
    /// Momentum of the config.
    pub initial_momentum: f64,
    /// L2 penalty.
    pub weight_decay: f64,
}

impl ParamGroup {
    /// A group at the config's values with a weight decay of its own.
    pub fn new(name: impl Into<String>, params: Vec<(String, Tensor)>, defaults: &Defaults, weight_decay: f64) -> Self {
        ParamGroup {
            name: name.into(),
            params,
            lr: defaults.lr,
            initial_lr: defaults.lr,
            momentum: defaults.momentum,
            initial_momentum: defaults.momentum,
            weight_decay,
        }
    }

    /// Multiplies the learning rate, also the one that schedules start from.
    pub fn scale_lr(&mut self, factor: f64) {
        self.lr *= factor;
        self.initial_lr *= factor;
    }

    /// Name, tensor and gradient of each parameter that has a gradient.
    pub fn with_grad(&self) -> impl Iterator<Item = (&str, &Tensor, Tensor)> {
        let all = self.params.iter().map(|(name, param)| (name.as_str(), param, param.grad()));
        all.filter(|(.., grad)| grad.defined())
    }

    /// Numbers in all tensors of the group.
    pub fn elements(&self) -> usize {
        self.params.iter().map(|(_, it)| it.numel()).sum()
    }
}

/// Changes parameters by their gradients.
pub trait Optimizer: std::fmt::Debug {
    /// What the config says.
    fn defaults(&self) -> Defaults;

    /// One step over the gradients that the parameters hold; a parameter without one stays as it is.
    ///
    /// # Errors
    /// When libtorch refuses.
    fn step(&mut self, groups: &[ParamGroup]) -> Result<()>;

    /// Its tensors, each named `<buffer>.<parameter>`.
    fn state(&self, groups: &[ParamGroup]) -> Vec<(String, Tensor)>;

    /// Takes back what [`Optimizer::state`] gave.
    ///
    /// # Errors
    /// When a tensor has not the parameter's shape.
    fn load_state(&mut self, groups: &[ParamGroup], state: &HashMap<String, Tensor>) -> Result<()>;
}

/// Refuses what is no finite number of at least 0.
fn not_negative(key: &str, value: f64) -> Result<(), BuildError> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(BuildError::new(format!("`{key}` is {value}")).at(key).help("use a number of at least 0"))
}

/// A copy of a checkpoint's tensor in the parameter's own memory layout, since the fused kernels walk both in step.
fn restored(buffer: &str, name: &str, param: &Tensor, saved: &Tensor) -> Result<Tensor> {
    if saved.size() != param.size() {
        let (got, want) = (saved.size(), param.size());
        return Err(EngineError::Unfit(format!(
            "the checkpoint's `{buffer}` of `{name}` is of shape {got:?}, the parameter of {want:?}"
        )));
    }
    let own = param.detach().zeros_like();
    tch::no_grad(|| own.shallow_clone().copy_(saved));
    Ok(own)
}

/// What the optimisers' tests share.
#[cfg(test)]
mod testing {
    use tch::{Kind, Tensor};

    use super::{Optimizer, ParamGroup};

    /// A group with a parameter `w` and one that never has a gradient.
    pub fn group(optimizer: &dyn Optimizer, x: f32) -> Vec<ParamGroup> {
        let param = Tensor::from_slice(&[x, -x]).set_requires_grad(true);
        let unused = Tensor::from_slice(&[x]).set_requires_grad(true);
        let params = vec![("w".to_owned(), param), ("unused".to_owned(), unused)];
        vec![ParamGroup::new("all", params, &optimizer.defaults(), 0.01)]
    }

    /// A step down the sum of cubes of `w`.
    pub fn step(optimizer: &mut dyn Optimizer, groups: &[ParamGroup]) {
        let param = &groups[0].params[0].1;
        let mut grad = param.grad();
        if grad.defined() {
            let _ = grad.zero_();
        }
        param.pow_tensor_scalar(3).sum(Kind::Float).backward();
        optimizer.step(groups).unwrap();
    }
}
