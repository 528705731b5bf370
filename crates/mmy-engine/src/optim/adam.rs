//! Adam and AdamW, as `torch.optim` computes them.

use std::collections::HashMap;

use mmy_registry::{Build, BuildError, register};
use mmy_torch::optim::{AdamOptions, AdamState, adam_, adamw_};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Defaults, Optimizer, OptimizerKind, ParamGroup, not_negative, restored};
use crate::error::{EngineError, Result};

register!(OptimizerKind, "Adam", AdamConfig);
register!(OptimizerKind, "AdamW", AdamWConfig);

/// Adam (Kingma and Ba 2015), as `torch.optim.Adam`; one fused libtorch kernel for each group.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the averages of the gradient and of its square, each at least 0 and below 1. Momentum schedules change
    /// the first.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Divides by the largest average of squares so far (Reddi and others 2018).
    pub amsgrad: bool,
    /// Pictures per step that `YOLOv5OptimizerConstructor` scales the weight decay by; by default the loader's batch
    /// size.
    pub batch_size_per_gpu: Option<usize>,
}

impl Default for AdamConfig {
    fn default() -> Self {
        let (betas, eps) = ([0.9, 0.999], 1e-8);
        AdamConfig { lr: 0.001, betas, eps, weight_decay: 0.0, amsgrad: false, batch_size_per_gpu: None }
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019), as `torch.optim.AdamW`; one fused libtorch kernel for
/// each group.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the averages of the gradient and of its square, each at least 0 and below 1. Momentum schedules change
    /// the first.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
    /// Share of the parameter, times the learning rate, that each step takes off it.
    pub weight_decay: f64,
    /// Divides by the largest average of squares so far (Reddi and others 2018).
    pub amsgrad: bool,
    /// Pictures per step that `YOLOv5OptimizerConstructor` scales the weight decay by; by default the loader's batch
    /// size.
    pub batch_size_per_gpu: Option<usize>,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        let (betas, eps) = ([0.9, 0.999], 1e-8);
        AdamWConfig { lr: 0.001, betas, eps, weight_decay: 0.01, amsgrad: false, batch_size_per_gpu: None }
    }
}

impl Build<OptimizerKind> for AdamConfig {
    fn build(&self, (): ()) -> Result<Box<dyn Optimizer>, BuildError> {
        Ok(Box::new(Adam::new(self, false)?))
    }
}

impl Build<OptimizerKind> for AdamWConfig {
    fn build(&self, (): ()) -> Result<Box<dyn Optimizer>, BuildError> {
        let AdamWConfig { lr, betas, eps, weight_decay, amsgrad, batch_size_per_gpu } = *self;
        Ok(Box::new(Adam::new(&AdamConfig { lr, betas, eps, weight_decay, amsgrad, batch_size_per_gpu }, true)?))
    }
}

#[derive(Debug)]
struct Adam {
    config: AdamConfig,
    /// Whether weight decay acts on the parameter instead of on its gradient.
    decoupled: bool,
    states: HashMap<String, AdamState>,
}

impl Adam {
    fn new(config: &AdamConfig, decoupled: bool) -> Result<Self, BuildError> {
        for (key, value) in [("lr", config.lr), ("eps", config.eps), ("weight_decay", config.weight_decay)] {
            not_negative(key, value)?;
        }
        if let Some(beta) = config.betas.iter().find(|it| !(0.0..1.0).contains(*it)) {
            let error = BuildError::new(format!("a beta is {beta}")).at("betas");
            return Err(error.help("use numbers of at least 0 and below 1, such as [0.9, 0.999]"));
        }
        Ok(Adam { config: config.clone(), decoupled, states: HashMap::new() })
    }
}

impl Optimizer for Adam {
    fn defaults(&self) -> Defaults {
        let AdamConfig { lr, betas: [momentum, _], weight_decay, batch_size_per_gpu: batch_size, .. } = self.config;
        Defaults { lr, momentum, weight_decay, batch_size }
    }

    fn step(&mut self, groups: &[ParamGroup]) -> Result<()> {
        for group in groups {
            let with_grad: Vec<_> = group.with_grad().collect();
            let mut states: Vec<_> = with_grad.iter().map(|(name, ..)| self.states.remove(*name)).collect();
            let params: Vec<&Tensor> = with_grad.iter().map(|(_, param, _)| *param).collect();
            let grads: Vec<&Tensor> = with_grad.iter().map(|(.., grad)| grad).collect();
            let options = AdamOptions {
                lr: group.lr,
                betas: (group.momentum, self.config.betas[1]),
                eps: self.config.eps,
                weight_decay: group.weight_decay,
                amsgrad: self.config.amsgrad,
                maximize: false,
            };
            let step = if self.decoupled { adamw_ } else { adam_ };
            step(&params, &grads, &mut states, &options)?;
            let named = with_grad.iter().map(|(name, ..)| (*name).to_owned()).zip(states);
            self.states.extend(named.filter_map(|(name, state)| Some((name, state?))));
        }
        Ok(())
    }

    fn state(&self, groups: &[ParamGroup]) -> Vec<(String, Tensor)> {
        let mut out = Vec::new();
        for (name, _) in groups.iter().flat_map(|it| &it.params) {
            let Some(AdamState { step, exp_avg, exp_avg_sq, max_exp_avg_sq }) = self.states.get(name) else { continue };
            let rows = [("step", Some(step)), ("exp_avg", Some(exp_avg)), ("exp_avg_sq", Some(exp_avg_sq))];
            for (buffer, tensor) in rows.into_iter().chain([("max_exp_avg_sq", max_exp_avg_sq.as_ref())]) {
                out.extend(tensor.map(|it| (format!("{buffer}.{name}"), it.shallow_clone())));
            }
        }
        out
    }

    fn load_state(&mut self, groups: &[ParamGroup], state: &HashMap<String, Tensor>) -> Result<()> {
        self.states.clear();
        for (name, param) in groups.iter().flat_map(|it| &it.params) {
            // A parameter that has had no gradient so far has no state.
            let Some(step) = state.get(&format!("step.{name}")) else { continue };
            let find = |buffer: &str| {
                let tensor = state.get(&format!("{buffer}.{name}"));
                let missing = || EngineError::Unfit(format!("the checkpoint has no `{buffer}` of `{name}`"));
                restored(buffer, name, param, tensor.ok_or_else(missing)?)
            };
            let max_exp_avg_sq = self.config.amsgrad.then(|| find("max_exp_avg_sq")).transpose()?;
            let (exp_avg, exp_avg_sq) = (find("exp_avg")?, find("exp_avg_sq")?);
            let state = AdamState { step: step.copy(), exp_avg, exp_avg_sq, max_exp_avg_sq };
            self.states.insert(name.clone(), state);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mmy_registry::Slot;
    use tch::Kind;

    use super::*;
    use crate::optim::testing::{group, step};

    fn build(json: &str) -> Box<dyn Optimizer> {
        serde_json::from_str::<Slot<OptimizerKind>>(json).unwrap().build(()).unwrap()
    }

    #[test]
    fn state_comes_back_with_both_and_with_amsgrad() {
        let more = r#""weight_decay": 0.1, "lr": 0.05"#;
        for (kind, amsgrad) in [("Adam", false), ("AdamW", false), ("AdamW", true)] {
            let json = format!(r#"{{"type": "{kind}", "amsgrad": {amsgrad}, {more}}}"#);
            let (mut whole, mut first, mut second) = (build(&json), build(&json), build(&json));
            let (a, b) = (group(&*whole, 0.7), group(&*first, 0.7));
            (0..4).for_each(|_| step(&mut *whole, &a));
            (0..2).for_each(|_| step(&mut *first, &b));
            let state: HashMap<_, _> = first.state(&b).into_iter().collect();
            // Nothing of the parameter that never had a gradient.
            assert_eq!(state.len(), if amsgrad { 4 } else { 3 });
            second.load_state(&b, &state).unwrap();
            (0..2).for_each(|_| step(&mut *second, &b));
            assert_eq!(a[0].params[0].1, b[0].params[0].1, "{json}");
            assert_eq!(a[0].params[1].1.double_value(&[0]), f64::from(0.7f32));
        }
    }

    #[test]
    fn a_state_that_lacks_a_part_is_refused() {
        let mut optimizer = build(r#"{"type": "Adam"}"#);
        let groups = group(&*optimizer, 0.7);
        step(&mut *optimizer, &groups);
        let mut state: HashMap<_, _> = optimizer.state(&groups).into_iter().collect();
        let foreign = Tensor::zeros([3], (Kind::Float, tch::Device::Cpu));
        let whole = state.insert("exp_avg.w".into(), foreign).unwrap();
        assert!(optimizer.load_state(&groups, &state).unwrap_err().to_string().contains("[3]"));
        state.insert("exp_avg.w".into(), whole);
        state.remove("exp_avg_sq.w");
        assert!(optimizer.load_state(&groups, &state).unwrap_err().to_string().contains("no `exp_avg_sq` of `w`"));
    }

    #[test]
    fn senseless_settings_are_refused_at_their_keys() {
        for (key, value) in [("lr", "-1.0"), ("betas", "[0.9, 1.0]"), ("eps", "-1e-8"), ("weight_decay", "-0.1")] {
            let json = format!(r#"{{"type": "AdamW", "{key}": {value}}}"#);
            let error = serde_json::from_str::<Slot<OptimizerKind>>(&json).unwrap().build(()).unwrap_err();
            assert_eq!(error.path.join("."), key);
        }
    }
}
