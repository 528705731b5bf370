//! Optimisers, the groups they work on, and the wrapper that runs one step.

mod amp;
mod constructor;
mod sgd;
mod wrapper;
mod yolov5_constructor;

pub use amp::Precision;
pub use constructor::{GroupArgs, OptimConstructor, OptimConstructorKind};
pub use wrapper::{OptimWrapper, OptimWrapperKind, WrapperArgs};

use std::collections::HashMap;

use mmy_registry::Kind;
use tch::Tensor;

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
    pub name: &'static str,
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
    pub fn new(name: &'static str, params: Vec<(String, Tensor)>, defaults: &Defaults, weight_decay: f64) -> Self {
        ParamGroup {
            name,
            params,
            lr: defaults.lr,
            initial_lr: defaults.lr,
            momentum: defaults.momentum,
            initial_momentum: defaults.momentum,
            weight_decay,
        }
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
    fn step(&mut self, groups: &[ParamGroup]) -> crate::Result<()>;

    /// Its tensors, each named `<buffer>.<parameter>`.
    fn state(&self, groups: &[ParamGroup]) -> Vec<(String, Tensor)>;

    /// Takes back what [`Optimizer::state`] gave.
    ///
    /// # Errors
    /// When a tensor has not the parameter's shape.
    fn load_state(&mut self, groups: &[ParamGroup], state: &HashMap<String, Tensor>) -> crate::Result<()>;
}
