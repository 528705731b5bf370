//! From the model's parameters to the optimiser's groups.

use std::collections::{BTreeMap, HashMap};

use mmy_nn::{Entry, Role};
use mmy_registry::{Build, BuildError, Kind, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Defaults, ParamGroup, not_negative};

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
    /// The wrapper's `paramwise_cfg`; a constructor that has no use for it refuses it.
    pub paramwise: &'a Paramwise,
}

/// Sorts parameters into groups; each parameter has to be in exactly one.
pub trait OptimConstructor: std::fmt::Debug {
    /// The groups; their order is part of the contract with schedules.
    ///
    /// # Errors
    /// When the settings do not fit this constructor.
    fn groups(&self, args: &GroupArgs<'_>) -> Result<Vec<ParamGroup>, BuildError>;
}

/// Learning rates and weight decays that differ from the optimiser's own: what mmengine's `paramwise_cfg` says.
///
/// The first custom key that is part of a parameter's name decides alone; the longest key is tried first, of keys of one
/// length the first in the alphabet. Without one the other settings hold, and of those on weight decay the first in this
/// order: norm layer, bias, depthwise convolution, one axis.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Paramwise {
    /// By a part of the parameter's name, such as `backbone` or `bbox_head.head_module`.
    pub custom_keys: BTreeMap<String, CustomKey>,
    /// Multiple of the learning rate for biases, save those of norm layers.
    pub bias_lr_mult: Option<f64>,
    /// Multiple of the weight decay for biases.
    pub bias_decay_mult: Option<f64>,
    /// Multiple of the weight decay for weights and biases of norm layers.
    pub norm_decay_mult: Option<f64>,
    /// Multiple of the weight decay for depthwise convolutions.
    pub dwconv_decay_mult: Option<f64>,
    /// Multiple of the weight decay for other parameters of one axis.
    pub flat_decay_mult: Option<f64>,
    /// Taken, without effect: no parameter of a model is there twice.
    pub bypass_duplicate: bool,
}

/// What holds for the parameters of a custom key.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CustomKey {
    /// Multiple of the learning rate.
    pub lr_mult: f64,
    /// Multiple of the weight decay.
    pub decay_mult: f64,
}

impl Default for CustomKey {
    fn default() -> Self {
        CustomKey { lr_mult: 1.0, decay_mult: 1.0 }
    }
}

impl Paramwise {
    fn check(&self) -> Result<(), BuildError> {
        let own = [
            ("bias_lr_mult", self.bias_lr_mult),
            ("bias_decay_mult", self.bias_decay_mult),
            ("norm_decay_mult", self.norm_decay_mult),
            ("dwconv_decay_mult", self.dwconv_decay_mult),
            ("flat_decay_mult", self.flat_decay_mult),
        ];
        let own = own.into_iter().try_for_each(|(key, value)| not_negative(key, value.unwrap_or(1.0)));
        own.map_err(|it| it.at("paramwise_cfg"))?;
        for (key, CustomKey { lr_mult, decay_mult }) in &self.custom_keys {
            let both = not_negative("lr_mult", *lr_mult).and_then(|()| not_negative("decay_mult", *decay_mult));
            both.map_err(|mut error| {
                // The key is one step of the path, whatever dots it has.
                error.path.insert(0, key.clone());
                error.at("paramwise_cfg.custom_keys")
            })?;
        }
        Ok(())
    }

    /// The multiples for one parameter, and the custom key that decided.
    fn of(&self, entry: &Entry, module: Module) -> (CustomKey, Option<&str>) {
        let matching = self.custom_keys.iter().filter(|(key, _)| entry.name.contains(*key));
        // `max_by_key` takes the last of equals: the first in the alphabet, in reverse.
        if let Some((key, custom)) = matching.rev().max_by_key(|(key, _)| key.len()) {
            return (*custom, Some(key));
        }
        let (is_bias, is_norm) = (entry.role == Role::Bias, module.is_norm);
        let lr_mult = self.bias_lr_mult.filter(|_| is_bias && !is_norm);
        let decay_mult = [
            self.norm_decay_mult.filter(|_| is_norm),
            self.bias_decay_mult.filter(|_| is_bias),
            self.dwconv_decay_mult.filter(|_| module.is_depthwise),
            self.flat_decay_mult.filter(|_| entry.tensor.dim() == 1),
        ];
        let decay_mult = decay_mult.into_iter().flatten().next();
        (CustomKey { lr_mult: lr_mult.unwrap_or(1.0), decay_mult: decay_mult.unwrap_or(1.0) }, None)
    }
}

/// What is known of the layer that holds a parameter.
#[derive(Debug, Clone, Copy, Default)]
struct Module {
    is_norm: bool,
    is_depthwise: bool,
}

/// Each layer by its name, told from its parameters.
fn modules(params: &[Entry]) -> HashMap<&str, Module> {
    let mut out: HashMap<&str, Module> = HashMap::new();
    for entry in params {
        let module = out.entry(module_of(&entry.name)).or_default();
        module.is_norm |= entry.role == Role::NormWeight;
        // A convolution's kernel is (out, in / groups, height, width).
        module.is_depthwise |= entry.name.ends_with("weight") && matches!(entry.tensor.size()[..], [_, 1, _, _]);
    }
    out
}

fn module_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(module, _)| module)
}

register!(OptimConstructorKind, "DefaultOptimWrapperConstructor", Config);

/// One group for each pair of learning rate and weight decay that `paramwise_cfg` leads to; one group in all without it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}

impl Build<OptimConstructorKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn OptimConstructor>, BuildError> {
        Ok(Box::new(ByMultiples))
    }
}

/// What `DefaultOptimWrapperConstructor` builds.
#[derive(Debug)]
pub(super) struct ByMultiples;

impl OptimConstructor for ByMultiples {
    fn groups(&self, args: &GroupArgs<'_>) -> Result<Vec<ParamGroup>, BuildError> {
        args.paramwise.check()?;
        let modules = modules(args.params);
        let mut unused: BTreeMap<&str, ()> = args.paramwise.custom_keys.keys().map(|it| (it.as_str(), ())).collect();
        let mut groups: Vec<(CustomKey, ParamGroup)> = Vec::new();
        for entry in args.params {
            let (multiples, key) = args.paramwise.of(entry, modules[module_of(&entry.name)]);
            key.map(|it| unused.remove(it));
            let at = groups.iter().position(|(it, _)| *it == multiples).unwrap_or_else(|| {
                groups.push((multiples, group(multiples, &args.defaults)));
                groups.len() - 1
            });
            groups[at].1.params.push((entry.name.clone(), entry.tensor.shallow_clone()));
        }
        for key in unused.into_keys() {
            tracing::warn!("`paramwise_cfg.custom_keys` has `{key}`, which is in the name of no trainable parameter");
        }
        Ok(groups.into_iter().map(|it| it.1).collect())
    }
}

/// An empty group at these multiples of the optimiser's values.
fn group(CustomKey { lr_mult, decay_mult }: CustomKey, defaults: &Defaults) -> ParamGroup {
    let name = match (lr_mult, decay_mult) {
        (1.0, 1.0) => "all".to_owned(),
        _ => format!("lr × {lr_mult}, decay × {decay_mult}"),
    };
    let mut group = ParamGroup::new(name, Vec::new(), defaults, defaults.weight_decay * decay_mult);
    group.scale_lr(lr_mult);
    group
}

#[cfg(test)]
mod tests {
    use mmy_nn::{Init, ParamStore};
    use serde_json::Value;
    use tch::Device;

    use super::*;

    const DEFAULTS: Defaults = Defaults { lr: 0.01, momentum: 0.9, weight_decay: 0.05, batch_size: None };

    /// The toy model of `optim.py`.
    fn params() -> Vec<Entry> {
        let store = ParamStore::new(Device::Cpu, 0);
        let root = store.root();
        let rows = [
            ("backbone.conv.weight", &[4, 3, 3, 3][..], Role::Weight),
            ("backbone.conv.bias", &[4], Role::Bias),
            ("backbone.dw.weight", &[4, 1, 3, 3], Role::Weight),
            ("backbone.dw.bias", &[4], Role::Bias),
            ("backbone.bn.weight", &[4], Role::NormWeight),
            ("backbone.bn.bias", &[4], Role::Bias),
            ("backbone.gamma", &[4], Role::Weight),
            ("head.fc.weight", &[2, 4], Role::Weight),
            ("head.fc.bias", &[2], Role::Bias),
            ("head.ln.weight", &[2], Role::NormWeight),
            ("head.ln.bias", &[2], Role::Bias),
        ];
        for (name, shape, role) in rows {
            let _ = root.param(name, shape, Init::Const(0.5), role);
        }
        store.entries()
    }

    #[test]
    fn every_parameter_gets_what_mmengine_gives_it() {
        let golden: Value = serde_json::from_str(include_str!("../../../../tests/golden/paramwise.json")).unwrap();
        let params = params();
        for case in golden["cases"].as_array().unwrap() {
            let paramwise: Paramwise = serde_json::from_value(case["paramwise_cfg"].clone()).unwrap();
            let args = GroupArgs { params: &params, defaults: DEFAULTS, batch_size: 1, paramwise: &paramwise };
            let groups = ByMultiples.groups(&args).unwrap();
            assert_eq!(groups.iter().map(|it| it.params.len()).sum::<usize>(), params.len());
            for group in groups {
                for (name, _) in &group.params {
                    let [lr, decay] = [0, 1].map(|at| case["params"][name][at].as_f64().unwrap());
                    assert_eq!((group.lr, group.initial_lr, group.weight_decay), (lr, lr, decay), "{name} {case}");
                }
            }
        }
    }

    #[test]
    fn negative_multiples_are_refused_at_their_keys() {
        let check = |json: &str| serde_json::from_str::<Paramwise>(json).unwrap().check().unwrap_err().path;
        assert_eq!(check(r#"{"bias_lr_mult": -1}"#), ["paramwise_cfg", "bias_lr_mult"]);
        let path = check(r#"{"custom_keys": {"a.b": {"decay_mult": -1}}}"#);
        assert_eq!(path, ["paramwise_cfg", "custom_keys", "a.b", "decay_mult"]);
    }
}
