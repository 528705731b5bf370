//! Stochastic gradient descent with (Nesterov) momentum, as `torch.optim.SGD` computes it.

use std::collections::HashMap;

use mmy_registry::{Build, BuildError, register};
use mmy_torch::optim::{SgdOptions, sgd_};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Defaults, Optimizer, OptimizerKind, ParamGroup, not_negative, restored};
use crate::error::Result;

register!(OptimizerKind, "SGD", Config);

/// Stochastic gradient descent with momentum, as `torch.optim.SGD`; one fused libtorch kernel for each group.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Learning rate.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Share of the gradient that the momentum buffer leaves out.
    pub dampening: f64,
    /// Look one step ahead along the momentum.
    pub nesterov: bool,
    /// Pictures per step that `YOLOv5OptimizerConstructor` scales the weight decay by; by default the loader's batch
    /// size.
    pub batch_size_per_gpu: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Config { lr: 0.01, momentum: 0.0, weight_decay: 0.0, dampening: 0.0, nesterov: false, batch_size_per_gpu: None }
    }
}

impl Build<OptimizerKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Optimizer>, BuildError> {
        for (key, value) in [("lr", self.lr), ("momentum", self.momentum), ("weight_decay", self.weight_decay)] {
            not_negative(key, value)?;
        }
        if self.nesterov && (self.momentum <= 0.0 || self.dampening != 0.0) {
            let error = BuildError::new("Nesterov's step needs a momentum above 0 and no dampening").at("nesterov");
            return Err(error.help("set `momentum` (YOLOv5 uses 0.937) and `dampening = 0.0`"));
        }
        Ok(Box::new(Sgd { config: self.clone(), momentum_buffers: HashMap::new() }))
    }
}

#[derive(Debug)]
struct Sgd {
    config: Config,
    momentum_buffers: HashMap<String, Tensor>,
}

impl Optimizer for Sgd {
    fn defaults(&self) -> Defaults {
        let Config { lr, momentum, weight_decay, batch_size_per_gpu, .. } = self.config;
        Defaults { lr, momentum, weight_decay, batch_size: batch_size_per_gpu }
    }

    fn step(&mut self, groups: &[ParamGroup]) -> Result<()> {
        for group in groups {
            let with_grad: Vec<_> = group.with_grad().collect();
            let mut buffers: Vec<_> = with_grad.iter().map(|(name, ..)| self.momentum_buffers.remove(*name)).collect();
            let params: Vec<&Tensor> = with_grad.iter().map(|(_, param, _)| *param).collect();
            let grads: Vec<&Tensor> = with_grad.iter().map(|(.., grad)| grad).collect();
            let options = SgdOptions {
                lr: group.lr,
                momentum: group.momentum,
                dampening: self.config.dampening,
                weight_decay: group.weight_decay,
                nesterov: self.config.nesterov,
                maximize: false,
            };
            sgd_(&params, &grads, &mut buffers, &options)?;
            let named = with_grad.iter().map(|(name, ..)| (*name).to_owned()).zip(buffers);
            self.momentum_buffers.extend(named.filter_map(|(name, buffer)| Some((name, buffer?))));
        }
        Ok(())
    }

    fn state(&self, groups: &[ParamGroup]) -> Vec<(String, Tensor)> {
        let names = groups.iter().flat_map(|it| &it.params).map(|(name, _)| name);
        names
            .filter_map(|name| {
                Some((format!("momentum_buffer.{name}"), self.momentum_buffers.get(name)?.shallow_clone()))
            })
            .collect()
    }

    fn load_state(&mut self, groups: &[ParamGroup], state: &HashMap<String, Tensor>) -> Result<()> {
        self.momentum_buffers.clear();
        for (name, param) in groups.iter().flat_map(|it| &it.params) {
            let Some(buffer) = state.get(&format!("momentum_buffer.{name}")) else { continue };
            self.momentum_buffers.insert(name.clone(), restored("momentum_buffer", name, param, buffer)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mmy_registry::Slot;
    use tch::{Device, Kind};

    use super::*;
    use crate::optim::testing::{group, step};

    fn build() -> Box<dyn Optimizer> {
        let json = r#"{"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": true}"#;
        serde_json::from_str::<Slot<OptimizerKind>>(json).unwrap().build(()).unwrap()
    }

    #[test]
    fn steps_follow_the_formula_and_leave_what_has_no_gradient() {
        let mut optimizer = build();
        let groups = group(&*optimizer, 0.7);
        let (mut x, mut buffer) = (0.7f64, None);
        for _ in 0..5 {
            step(&mut *optimizer, &groups);
            let grad = 3.0 * x * x + 0.01 * x;
            let velocity = buffer.map_or(grad, |it: f64| 0.9 * it + grad);
            buffer = Some(velocity);
            x -= 0.1 * (grad + 0.9 * velocity);
        }
        // Five steps of float32 against float64.
        assert!((groups[0].params[0].1.double_value(&[0]) - x).abs() < 1e-6);
        assert_eq!(groups[0].params[1].1.double_value(&[0]), f64::from(0.7f32));
        assert_eq!(optimizer.state(&groups).len(), 1);
    }

    #[test]
    fn state_comes_back_and_a_foreign_shape_does_not() {
        let (mut whole, mut first) = (build(), build());
        let (a, b) = (group(&*whole, 0.7), group(&*first, 0.7));
        (0..4).for_each(|_| step(&mut *whole, &a));
        (0..2).for_each(|_| step(&mut *first, &b));
        let mut second = build();
        second.load_state(&b, &first.state(&b).into_iter().collect()).unwrap();
        (0..2).for_each(|_| step(&mut *second, &b));
        assert_eq!(a[0].params[0].1, b[0].params[0].1);
        let foreign = Tensor::zeros([3], (Kind::Float, Device::Cpu));
        let error = second.load_state(&b, &HashMap::from([("momentum_buffer.w".to_owned(), foreign)])).unwrap_err();
        assert!(error.to_string().contains("[3]"), "{error}");
    }
}
