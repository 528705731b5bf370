//! One training step: autocast, backward pass, accumulation, clipping, optimiser.

use std::collections::HashMap;

use mmy_nn::{ParamStore, Role};
use mmy_registry::{Build, BuildError, Kind, Slot, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{GroupArgs, OptimConstructorKind, Optimizer, OptimizerKind, ParamGroup, Precision, amp};
use crate::error::Result;

/// The kind of optimiser wrappers.
pub struct OptimWrapperKind;

/// What a wrapper is built over.
#[derive(Clone, Copy)]
pub struct WrapperArgs<'a> {
    /// The model's parameters.
    pub params: &'a ParamStore,
    /// Pictures per step.
    pub batch_size: usize,
}

impl Kind for OptimWrapperKind {
    const NAME: &'static str = "optim_wrapper";
    type Args<'a> = WrapperArgs<'a>;
    type Output = OptimWrapper;
}

register!(OptimWrapperKind, "OptimWrapper", Config);
register!(OptimWrapperKind, "AmpOptimWrapper", AmpConfig);

/// Runs the optimiser in float32.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The optimiser.
    pub optimizer: Slot<OptimizerKind>,
    /// Sorts parameters into groups; without it all are in one.
    #[serde(default)]
    pub constructor: Option<Slot<OptimConstructorKind>>,
    /// Cuts the gradient's length.
    #[serde(default)]
    pub clip_grad: Option<ClipGrad>,
    /// Steps whose gradients are averaged before the optimiser moves.
    #[serde(default = "one")]
    pub accumulative_counts: usize,
}

/// Runs the forward pass under autocast; weights and the optimiser stay in float32.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AmpConfig {
    /// The optimiser.
    pub optimizer: Slot<OptimizerKind>,
    /// Sorts parameters into groups; without it all are in one.
    #[serde(default)]
    pub constructor: Option<Slot<OptimConstructorKind>>,
    /// Cuts the gradient's length.
    #[serde(default)]
    pub clip_grad: Option<ClipGrad>,
    /// Steps whose gradients are averaged before the optimiser moves.
    #[serde(default = "one")]
    pub accumulative_counts: usize,
    /// Number format: `auto` is bfloat16 where the processor computes in it, else float32.
    #[serde(default = "auto")]
    pub dtype: Precision,
}

/// Cuts the gradient of all parameters together to a length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipGrad {
    /// The greatest 2-norm that passes unchanged.
    pub max_norm: f64,
}

fn one() -> usize {
    1
}

fn auto() -> Precision {
    Precision::Auto
}

impl Build<OptimWrapperKind> for Config {
    fn build(&self, args: WrapperArgs<'_>) -> Result<OptimWrapper, BuildError> {
        let amp = AmpConfig {
            optimizer: self.optimizer.clone(),
            constructor: self.constructor.clone(),
            clip_grad: self.clip_grad,
            accumulative_counts: self.accumulative_counts,
            dtype: Precision::Float32,
        };
        amp.build(args)
    }
}

impl Build<OptimWrapperKind> for AmpConfig {
    fn build(&self, args: WrapperArgs<'_>) -> Result<OptimWrapper, BuildError> {
        amp::at_least_one("accumulative_counts", self.accumulative_counts)?;
        if let Some(clip) = self.clip_grad.filter(|it| !(it.max_norm.is_finite() && it.max_norm > 0.0)) {
            let error = BuildError::new(format!("the greatest gradient norm is {}", clip.max_norm));
            return Err(error.at("clip_grad.max_norm").help("use a number above 0; YOLOv5 uses 10.0"));
        }
        let optimizer = self.optimizer.build(())?;
        let entries = args.params.entries();
        let params: Vec<_> = entries.into_iter().filter(|it| it.role != Role::Buffer).collect();
        let group_args = GroupArgs { params: &params, defaults: optimizer.defaults(), batch_size: args.batch_size };
        let groups = match &self.constructor {
            Some(slot) => slot.build(())?.groups(&group_args),
            None => vec![ParamGroup::new(
                "all",
                params.iter().map(|it| (it.name.clone(), it.tensor.shallow_clone())).collect(),
                &group_args.defaults,
                group_args.defaults.weight_decay,
            )],
        };
        covers(&params, &groups)?;
        Ok(OptimWrapper {
            optimizer,
            groups,
            precision: self.dtype.settle(),
            clip: self.clip_grad,
            accumulate: self.accumulative_counts,
            gathered: 0,
        })
    }
}

/// Each trainable parameter has to be in exactly one group: a parameter that is in none is never trained, and nothing
/// else would ever say so.
fn covers(params: &[mmy_nn::Entry], groups: &[ParamGroup]) -> Result<(), BuildError> {
    let mut seen: HashMap<&str, usize> = params.iter().map(|it| (it.name.as_str(), 0)).collect();
    for (name, _) in groups.iter().flat_map(|it| &it.params) {
        *seen.entry(name).or_default() += 1;
    }
    let mut wrong: Vec<_> = seen.iter().filter(|(_, count)| **count != 1).map(|(name, n)| format!("{name} ({n})")).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.sort();
    let error = BuildError::new(format!("parameters that are not in exactly one group: {}", wrong.join(", ")));
    Err(error.at("constructor"))
}

/// An optimiser with its groups and the way its steps run.
#[derive(Debug)]
pub struct OptimWrapper {
    optimizer: Box<dyn Optimizer>,
    groups: Vec<ParamGroup>,
    precision: Precision,
    clip: Option<ClipGrad>,
    accumulate: usize,
    gathered: usize,
}

impl OptimWrapper {
    /// The groups, in the constructor's order.
    pub fn groups(&self) -> &[ParamGroup] {
        &self.groups
    }

    /// The groups, for schedules.
    pub fn groups_mut(&mut self) -> &mut [ParamGroup] {
        &mut self.groups
    }

    /// The number format of the forward pass, never `auto`.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The backward pass, and the optimiser's step where enough gradients are gathered. `steps_left` counts the
    /// training steps after this one: the last steps of a run may be fewer than `accumulative_counts`, and are averaged
    /// over as many as they are. Returns the gradient's norm where it is clipped and a step was made.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn update(&mut self, loss: &Tensor, steps_left: usize) -> Result<Option<f64>> {
        let window = self.accumulate.min(self.gathered + 1 + steps_left);
        let loss = if window > 1 { loss / window as f64 } else { loss.shallow_clone() };
        loss.f_backward()?;
        self.gathered += 1;
        if self.gathered < window {
            return Ok(None);
        }
        self.gathered = 0;
        let norm = self.clip.map(|clip| self.clip_gradients(clip)).transpose()?;
        self.optimizer.step(&self.groups)?;
        self.zero_grad()?;
        Ok(norm)
    }

    fn gradients(&self) -> Vec<Tensor> {
        let params = self.groups.iter().flat_map(|it| &it.params);
        params.map(|(_, it)| it.grad()).filter(Tensor::defined).collect()
    }

    fn clip_gradients(&self, clip: ClipGrad) -> Result<f64> {
        let grads = self.gradients();
        let handles: Vec<&Tensor> = grads.iter().collect();
        let norm = mmy_torch::foreach::total_norm(&handles, 2.0)?;
        let factor = clip.max_norm / (norm + 1e-6);
        if factor < 1.0 {
            mmy_torch::foreach::mul_(&handles, factor)?;
        }
        Ok(norm)
    }

    fn zero_grad(&self) -> Result<()> {
        let grads = self.gradients();
        mmy_torch::foreach::zero_(&grads.iter().collect::<Vec<_>>())?;
        Ok(())
    }

    /// The optimiser's tensors for a checkpoint.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.optimizer.state(&self.groups)
    }

    /// Takes back what [`OptimWrapper::state`] gave.
    ///
    /// # Errors
    /// When a tensor has not the parameter's shape.
    pub fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        self.optimizer.load_state(&self.groups, state)
    }
}
