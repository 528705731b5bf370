//! From the model's parameters to the optimiser's groups.

use mmy_nn::Entry;
use mmy_registry::{Build, BuildError, Kind, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Defaults, ParamGroup};

/// The kind of optimiser constructors.
pub struct OptimConstructorKind;

impl Kind for OptimConstructorKind {
    const NAME: &'static str = "optim_wrapper_constructor";
    type Args<'a> = ();
    type Output = Box<dyn OptimConstructor>;
}

/// What decides the groups.
pub struct GroupArgs<'a> {
    /// Every trainable parameter, in the model's order.
    pub params: &'a [Entry],
    /// What the optimiser's config says.
    pub defaults: Defaults,
    /// Pictures per step.
    pub batch_size: usize,
}

/// Sorts parameters into groups; each parameter has to be in exactly one.
pub trait OptimConstructor: std::fmt::Debug {
    /// The groups; their order is part of the contract with schedules.
    fn groups(&self, args: &GroupArgs<'_>) -> Vec<ParamGroup>;
}

register!(OptimConstructorKind, "DefaultOptimWrapperConstructor", Config);

/// One group with every parameter.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}

impl Build<OptimConstructorKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn OptimConstructor>, BuildError> {
        Ok(Box::new(Single))
    }
}

#[derive(Debug)]
struct Single;

impl OptimConstructor for Single {
    fn groups(&self, args: &GroupArgs<'_>) -> Vec<ParamGroup> {
        let params = args.params.iter().map(|it| (it.name.clone(), it.tensor.shallow_clone())).collect();
        vec![ParamGroup::new("all", params, &args.defaults, args.defaults.weight_decay)]
    }
}
