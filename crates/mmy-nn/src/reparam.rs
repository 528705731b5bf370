//! Models in another form than the one that is trained.
//!
//! Some layers are trained as several kernels, or as a kernel and a normalisation, and compute the same as one kernel
//! once they are trained. In a store of the [deployed form](ParamStore::deployed) such a layer makes only the merged
//! parameters and leaves a recipe with the store ([`Scope::made_from`]): which tensors of a trained model they are made
//! of, and how. [`ParamStore::load_state`] follows the recipes, so that one call loads a trained model into a deployed
//! one; [`ParamStore::load_state_by_name`] takes a deployed model's own file as it is.
//!
//! ```
//! use mmy_nn::{LoadPolicy, ParamStore, StateDict, layers::{Activation, Conv, ConvModule, Norm}};
//! use tch::Device;
//!
//! let build = |store: &ParamStore| ConvModule::new(&store.root(), 3, 16, Conv::new(3, 2), Norm::TORCH, Activation::SiLU);
//! let (trained, deployed) = (ParamStore::new(Device::Cpu, 0), ParamStore::new(Device::Cpu, 0).deployed());
//! (build(&trained), build(&deployed));
//! assert_eq!((trained.entries().len(), deployed.entries().len()), (6, 2));
//! let state: StateDict = trained.state_dict().into_iter().collect();
//! deployed.load_state(&state, LoadPolicy::Exact)?;
//! # Ok::<(), mmy_nn::LoadError>(())
//! ```
//!
//! Merging is done in float64 and stored in float32: what is lost is one rounding of each number.

use std::{cell::RefCell, collections::HashMap, fmt::Display, ops::Div, sync::Arc};

use tch::{Device, Kind, Tensor};

use crate::{ParamStore, Scope, StateDict};

/// Why a recipe cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmade {
    /// A tensor that it starts from is not there.
    #[error("`{0}` is not there")]
    Missing(String),
    /// A tensor that it starts from has another shape than the layer had.
    #[error("`{name}` is {found:?} instead of {expected:?}")]
    Misshapen {
        /// Its name.
        name: String,
        /// The shape that the layer had.
        expected: Vec<i64>,
        /// The shape that was found.
        found: Vec<i64>,
    },
}

/// Tensors of a trained model below a path; `&trained / "bn"` is the part below a further step.
#[derive(Debug)]
pub struct Trained<'a> {
    state: &'a StateDict,
    path: String,
    used: &'a RefCell<Vec<String>>,
}

impl Trained<'_> {
    /// The tensor of that name, in float64 or, if it is of whole numbers, as it is.
    ///
    /// # Errors
    /// When it is not there or has another shape.
    pub fn get(&self, name: &str, shape: &[i64]) -> Result<Tensor, Unmade> {
        let name = self.join(name);
        let tensor = self.state.get(&name).ok_or_else(|| Unmade::Missing(name.clone()))?;
        if tensor.size() != shape {
            return Err(Unmade::Misshapen { name, expected: shape.to_vec(), found: tensor.size() });
        }
        self.used.borrow_mut().push(name);
        let tensor = tensor.detach();
        Ok(if tensor.is_floating_point() { tensor.to_kind(Kind::Double) } else { tensor })
    }

    /// As [`Trained::get`], for a tensor that the layer may have been without.
    ///
    /// # Errors
    /// When it has another shape.
    pub fn find(&self, name: &str, shape: &[i64]) -> Result<Option<Tensor>, Unmade> {
        match self.get(name, shape) {
            Err(Unmade::Missing(_)) => Ok(None),
            other => other.map(Some),
        }
    }

    fn join(&self, name: impl Display) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }
}

impl<'a, T: Display> Div<T> for &Trained<'a> {
    type Output = Trained<'a>;
    fn div(self, name: T) -> Trained<'a> {
        Trained { path: self.join(name), ..*self }
    }
}

/// A convolution's weight (out, in / groups, k, k) and bias (out) in float64, while several are merged into one.
#[derive(Debug)]
pub struct Kernel {
    weight: Tensor,
    bias: Tensor,
}

impl Kernel {
    /// That weight, with a bias of zero if there is none.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        let weight = weight.to_kind(Kind::Double);
        let zero = || Tensor::zeros([weight.size()[0]], (Kind::Double, weight.device()));
        let bias = bias.map_or_else(zero, |it| it.to_kind(Kind::Double));
        Kernel { weight, bias }
    }

    /// A kernel (out, in_per_group, size, size) that gives zeros: what a sum of kernels begins with.
    pub fn zero(out_channels: i64, in_per_group: i64, size: i64) -> Self {
        Kernel::new(Tensor::zeros([out_channels, in_per_group, size, size], (Kind::Double, Device::Cpu)), None)
    }

    /// The kernel of `size` × `size` that gives every channel back as it is.
    pub fn identity(channels: i64, groups: i64, size: i64) -> Self {
        let per_group = channels / groups.max(1);
        let double = (Kind::Double, Device::Cpu);
        let weight = Tensor::zeros([channels, per_group, size, size], double);
        let own = Tensor::arange(channels, (Kind::Int64, Device::Cpu)).remainder(per_group.max(1)).view([-1, 1]);
        let ones = Tensor::ones([channels, 1], double);
        let _ = weight.select(3, size / 2).select(2, size / 2).scatter_(1, &own, &ones);
        Kernel::new(weight, None)
    }

    /// Followed by the batch norm that `bn` holds, with its running statistics.
    ///
    /// # Errors
    /// When a tensor of the batch norm is not there or does not fit.
    pub fn normed(self, bn: &Trained<'_>, eps: f64) -> Result<Self, Unmade> {
        let shape = &self.bias.size()[..];
        let [scale, shift, mean, var] =
            ["weight", "bias", "running_mean", "running_var"].map(|name| bn.get(name, shape));
        bn.find("num_batches_tracked", &[])?;
        let factor = scale? / (var? + eps).sqrt();
        let bias = (self.bias - mean?) * &factor + shift?;
        Ok(Kernel { weight: self.weight * factor.view([-1, 1, 1, 1]), bias })
    }

    /// With zeros around it, so that it is `size` × `size` and sees the same pixels.
    pub fn padded(self, size: i64) -> Self {
        let edge = (size - self.weight.size()[3]) / 2;
        Kernel { weight: self.weight.constant_pad_nd([edge; 4]), bias: self.bias }
    }

    /// The sum of two convolutions of one geometry.
    pub fn plus(self, other: &Kernel) -> Self {
        Kernel { weight: self.weight + &other.weight, bias: self.bias + &other.bias }
    }

    /// Weight and bias.
    pub fn into_tensors(self) -> [Tensor; 2] {
        [self.weight, self.bias]
    }
}

type Make = dyn Fn(&Trained<'_>) -> Result<Vec<Tensor>, Unmade> + Send + Sync;

/// How some entries of a store are made of tensors of a trained model.
#[derive(Clone)]
pub(crate) struct Recipe {
    /// Full names of what is made, in the order in which `make` gives it.
    outputs: Vec<String>,
    /// Where it looks for what it starts from.
    path: String,
    make: Arc<Make>,
}

impl Scope {
    /// Leaves a recipe with the store: the parameters and buffers `outputs`, which were made at this place, are made of
    /// tensors that a trained model has below this place. A recipe that misses a tensor to start from is not followed,
    /// and its outputs are looked for under their own names.
    pub fn made_from(
        &self,
        outputs: &[&str],
        make: impl Fn(&Trained<'_>) -> Result<Vec<Tensor>, Unmade> + Send + Sync + 'static,
    ) {
        let outputs = outputs.iter().map(|it| self.join(it)).collect();
        self.store().push_recipe(Recipe { outputs, path: self.path().to_owned(), make: Arc::new(make) });
    }
}

/// What the recipes of a store made of a state dict.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// By full name.
    pub(crate) tensors: HashMap<String, Tensor>,
    /// Names of the state dict that were read for it.
    pub(crate) used: Vec<String>,
    /// Full names of what could not be made, with the reason.
    pub(crate) unmade: HashMap<String, Unmade>,
}

impl ParamStore {
    /// Follows every recipe that can be followed.
    pub(crate) fn make(&self, state: &StateDict) -> Made {
        let mut made = Made::default();
        tch::no_grad(|| {
            for recipe in self.recipes() {
                let used = RefCell::default();
                match (recipe.make)(&Trained { state, path: recipe.path, used: &used }) {
                    Ok(tensors) => made.tensors.extend(recipe.outputs.into_iter().zip(tensors)),
                    Err(reason) => {
                        made.unmade.extend(recipe.outputs.into_iter().map(|it| (it, reason.clone())));
                    }
                }
                // What was read has a use, also where another tensor was missed.
                made.used.append(&mut used.into_inner());
            }
        });
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        LoadError, LoadPolicy, Missing,
        layers::{Activation, Conv, ConvModule, Norm},
        testing::{assert_close, fill, sfield},
    };

    fn module(store: &ParamStore, conv: Conv) -> ConvModule {
        ConvModule::new(&(store.root() / "stem"), 6, 12, conv, Norm::default(), Activation::SiLU)
    }

    fn pair(conv: Conv) -> (ParamStore, ParamStore, [ConvModule; 2]) {
        let (trained, deployed) = (ParamStore::new(Device::Cpu, 0), ParamStore::new(Device::Cpu, 1).deployed());
        let modules = [module(&trained, conv), module(&deployed, conv)];
        fill(&trained, 1.0, "");
        (trained, deployed, modules)
    }

    fn state(store: &ParamStore) -> StateDict {
        store.state_dict().into_iter().collect()
    }

    #[test]
    fn a_norm_goes_into_the_kernel_in_front_of_it() {
        let x = sfield("x", &[2, 6, 9, 8], 1.0);
        for conv in [Conv::new(3, 2), Conv::new(1, 1).with_bias(), Conv::new(3, 1).groups(3)] {
            let (trained, deployed, [before, after]) = pair(conv);
            let report = deployed.load_state(&state(&trained), LoadPolicy::Exact).unwrap();
            assert_eq!(report.applied, ["stem.conv.weight", "stem.conv.bias"]);
            let want = tch::no_grad(|| before.forward(&x, false));
            // One rounding of each weight, and sums in another order.
            assert_close("merged", &tch::no_grad(|| after.forward(&x, false)), &want, 1e-6);
            // What was deployed loads as it is.
            let again = ParamStore::new(Device::Cpu, 2).deployed();
            module(&again, conv);
            again.load_state_by_name(&state(&deployed), LoadPolicy::Exact).unwrap();
            assert_eq!(again.get("stem.conv.weight"), deployed.get("stem.conv.weight"));
        }
    }

    #[test]
    fn what_a_trained_file_lacks_is_named_as_it_is_called_there() {
        let (trained, deployed, _) = pair(Conv::new(3, 1));
        let before = deployed.get("stem.conv.weight").unwrap().copy();
        let mut lacking = state(&trained);
        lacking.remove("stem.bn.running_var");
        let LoadError(report) = deployed.load_state(&lacking, LoadPolicy::Complete).unwrap_err();
        assert_eq!(report.missing, [Missing { name: "stem.bn.running_var".into(), nearest: None }]);
        let mut wrong = state(&trained);
        wrong.insert("stem.bn.running_var".into(), Tensor::ones([5], (Kind::Float, Device::Cpu)));
        let LoadError(report) = deployed.load_state(&wrong, LoadPolicy::Complete).unwrap_err();
        assert_eq!(report.misshapen[0].name, "stem.bn.running_var");
        assert_eq!(deployed.get("stem.conv.weight").unwrap(), before);
    }

    #[test]
    fn the_identity_changes_nothing() {
        for (groups, size) in [(1, 1), (1, 3), (4, 3), (2, 1)] {
            let [weight, _] = Kernel::identity(4, groups, size).into_tensors();
            let x = sfield("x", &[1, 4, 5, 6], 1.0).to_kind(Kind::Double);
            let y = x.conv2d(&weight, None::<Tensor>, [1, 1], [size / 2; 2], [1, 1], groups);
            assert_eq!(y, x, "{groups} groups, {size}×{size}");
        }
    }
}
