//! One training step: autocast, backward pass, accumulation, clipping, optimiser.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use mmy_nn::{ParamStore, Role};
use mmy_registry::{Build, BuildError, Code, Kind, Slot, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{
    ClipGrad, GroupArgs, LossScale, OptimConstructor, OptimConstructorKind, Optimizer, OptimizerKind, ParamGroup,
    Paramwise, Precision, amp, clip::Clip, constructor::ByMultiples, restored,
};
use crate::error::{EngineError, Result};

/// The kind of optimiser wrappers.
pub struct OptimWrapperKind;

/// What a wrapper is built over.
#[derive(Clone, Copy)]
pub struct WrapperArgs<'a> {
    /// The model's parameters.
    pub params: &'a ParamStore,
    /// Pictures per step.
    pub batch_size: usize,
    /// What `auto_scale_lr` multiplies learning rates by; 1 without it.
    pub lr_scale: f64,
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
    /// Learning rates and weight decays that differ from the optimiser's own.
    #[serde(default)]
    pub paramwise_cfg: Paramwise,
    /// Cuts the gradient's length, or its numbers.
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
    /// Learning rates and weight decays that differ from the optimiser's own.
    #[serde(default)]
    pub paramwise_cfg: Paramwise,
    /// Cuts the gradient's length, or its numbers.
    #[serde(default)]
    pub clip_grad: Option<ClipGrad>,
    /// Steps whose gradients are averaged before the optimiser moves.
    #[serde(default = "one")]
    pub accumulative_counts: usize,
    /// Number format: `auto` is bfloat16 where the processor computes in it, else float32.
    #[serde(default = "auto")]
    pub dtype: Precision,
    /// Taken, without effect: `"dynamic"`, a number or a table. bfloat16 reaches as far as float32, so that no gradient
    /// has to be scaled.
    #[serde(default)]
    pub loss_scale: LossScale,
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
            paramwise_cfg: self.paramwise_cfg.clone(),
            clip_grad: self.clip_grad,
            accumulative_counts: self.accumulative_counts,
            dtype: Precision::Float32,
            loss_scale: LossScale::default(),
        };
        amp.build(args)
    }
}

impl Build<OptimWrapperKind> for AmpConfig {
    fn build(&self, args: WrapperArgs<'_>) -> Result<OptimWrapper, BuildError> {
        amp::at_least_one("accumulative_counts", self.accumulative_counts)?;
        let clip = self.clip_grad.map(|it| it.build().map_err(|e| e.at("clip_grad"))).transpose()?;
        if self.loss_scale.is_set() {
            tracing::info!("`loss_scale` has no effect: bfloat16 gradients do not vanish");
        }
        let optimizer = self.optimizer.build(())?;
        let entries = args.params.entries();
        let params: Vec<_> = entries.into_iter().filter(|it| it.role != Role::Buffer).collect();
        let group_args = GroupArgs {
            params: &params,
            defaults: optimizer.defaults(),
            batch_size: args.batch_size,
            paramwise: &self.paramwise_cfg,
        };
        let mut groups = match &self.constructor {
            Some(slot) => slot.build(())?.groups(&group_args),
            None => ByMultiples.groups(&group_args),
        }?;
        covers(&params, &groups)?;
        groups.iter_mut().for_each(|it| it.scale_lr(args.lr_scale));
        Ok(OptimWrapper {
            optimizer,
            groups,
            precision: self.dtype.settle(),
            clip,
            accumulate: self.accumulative_counts,
            gathered: 0,
            times: Default::default(),
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
    let mut wrong: Vec<_> =
        seen.iter().filter(|(_, count)| **count != 1).map(|(name, n)| format!("{name} ({n})")).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.sort();
    let error = BuildError::new(format!("parameters that are not in exactly one group: {}", wrong.join(", ")));
    Err(error.code(Code::UntrainedParameter).at("constructor"))
}

/// An optimiser with its groups and the way its steps run.
#[derive(Debug)]
pub struct OptimWrapper {
    optimizer: Box<dyn Optimizer>,
    groups: Vec<ParamGroup>,
    precision: Precision,
    clip: Option<Clip>,
    accumulate: usize,
    gathered: usize,
    /// How long the last backward pass and the last step of the optimiser took.
    times: (Duration, Duration),
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
    /// over as many as they are. Returns the gradient's norm where it is cut and a step was made.
    ///
    /// # Errors
    /// [`EngineError::Gradient`] when a gradient is not finite, before a weight has moved; or when libtorch refuses.
    pub fn update(&mut self, loss: &Tensor, steps_left: usize) -> Result<Option<f64>> {
        let window = self.accumulate.min(self.gathered + 1 + steps_left);
        let loss = if window > 1 { loss / window as f64 } else { loss.shallow_clone() };
        let started = Instant::now();
        loss.f_backward()?;
        self.times = (started.elapsed(), Duration::ZERO);
        self.gathered += 1;
        if self.gathered < window {
            return Ok(None);
        }
        self.gathered = 0;
        let norm = self.clip.map(|clip| clip.apply(&self.gradients())).transpose()?.flatten();
        if !norm.map_or_else(|| self.norm(), Ok)?.is_finite()
            && let Some(name) = self.not_finite()
        {
            // One step with it, and every weight is lost.
            return Err(EngineError::Gradient(name));
        }
        self.optimizer.step(&self.groups)?;
        self.zero_grad()?;
        self.times.1 = started.elapsed() - self.times.0;
        Ok(norm)
    }

    /// How long the backward pass of the last [`OptimWrapper::update`] took, and what came after it.
    pub fn last_times(&self) -> (Duration, Duration) {
        self.times
    }

    fn norm(&self) -> Result<f64> {
        let grads = self.gradients();
        Ok(mmy_torch::foreach::total_norm(&grads.iter().collect::<Vec<_>>(), 2.0)?)
    }

    /// The first parameter, in the groups' order, whose gradient has a number that is not finite.
    fn not_finite(&self) -> Option<String> {
        let mut params = self.groups.iter().flat_map(|it| &it.params);
        let bad = |grad: Tensor| grad.defined() && grad.isfinite().all().int64_value(&[]) == 0;
        params.find(|(_, it)| bad(it.grad())).map(|it| it.0.clone())
    }

    fn gradients(&self) -> Vec<Tensor> {
        let params = self.groups.iter().flat_map(|it| &it.params);
        params.map(|(_, it)| it.grad()).filter(Tensor::defined).collect()
    }

    fn zero_grad(&self) -> Result<()> {
        let grads = self.gradients();
        mmy_torch::foreach::zero_(&grads.iter().collect::<Vec<_>>())?;
        Ok(())
    }

    /// The optimiser's tensors for a checkpoint, and in the midst of gathering the gradients so far.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut out = self.optimizer.state(&self.groups);
        if self.gathered > 0 {
            out.push((GATHERED.to_owned(), Tensor::from(self.gathered as i64)));
            let grads = self.groups.iter().flat_map(ParamGroup::with_grad);
            out.extend(grads.map(|(name, _, grad)| (format!("{GRAD}{name}"), grad)));
        }
        out
    }

    /// Takes back what [`OptimWrapper::state`] gave.
    ///
    /// # Errors
    /// When a tensor has not the parameter's shape.
    pub fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        self.gathered = state.get(GATHERED).map_or(0, |it| it.int64_value(&[]) as usize);
        let known: HashSet<&str> = state.keys().filter_map(|it| Some(it.split_once('.')?.1)).collect();
        for (name, param) in self.groups.iter().flat_map(|it| &it.params) {
            let gradient = match state.get(&format!("{GRAD}{name}")) {
                Some(saved) => restored("gradient", name, param, saved)?,
                // After a step gradients are zeros. A sum that begins with a zero and one that begins with nothing may
                // differ in the sign of a zero.
                None if known.contains(name.as_str()) => param.detach().zeros_like(),
                None => continue,
            };
            // The gradient of Σ param · x is x, to the last bit.
            (param * gradient).sum(tch::Kind::Float).f_backward()?;
        }
        self.optimizer.load_state(&self.groups, state)
    }
}

/// How many steps' gradients are gathered.
const GATHERED: &str = "gathered";
/// The gradients gathered so far.
const GRAD: &str = "grad.";

#[cfg(test)]
mod tests {
    use mmy_nn::Init;
    use tch::{Device, Kind as Number};

    use super::*;

    /// A store with one parameter of each role, and the wrapper that `json` describes over it.
    fn build(json: &str) -> (ParamStore, Result<OptimWrapper, BuildError>) {
        let params = ParamStore::new(Device::Cpu, 0);
        let root = params.root();
        let rows = [
            ("conv.weight", &[3, 2][..], Init::KaimingUniform, Role::Weight),
            ("bn.weight", &[3], Init::Const(1.0), Role::NormWeight),
            ("bn.bias", &[3], Init::Const(0.0), Role::Bias),
            ("gamma", &[3], Init::Const(0.5), Role::Weight),
        ];
        for (name, shape, init, role) in rows {
            let _ = root.param(name, shape, init, role);
        }
        let slot: Slot<OptimWrapperKind> = serde_json::from_str(json).unwrap();
        let wrapper = slot.build(WrapperArgs { params: &params, batch_size: 16, lr_scale: 1.0 });
        (params, wrapper)
    }

    const SGD: &str = r#""optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}"#;

    /// A loss whose gradient depends on the parameters and on `x`.
    fn loss(params: &ParamStore, x: f64) -> Tensor {
        let parts = params.entries().into_iter().map(|it| (it.tensor * x).square().sum(Number::Float));
        parts.fold(Tensor::from(0f32), |sum, it| sum + it)
    }

    fn values(params: &ParamStore) -> Vec<f64> {
        params
            .entries()
            .iter()
            .flat_map(|it| Vec::<f64>::try_from(it.tensor.detach().flatten(0, -1)).unwrap())
            .collect()
    }

    #[test]
    fn every_parameter_is_in_one_group_with_each_constructor() {
        let (_, all) = build(&format!(r#"{{"type": "OptimWrapper", {SGD}}}"#));
        let default = r#""constructor": {"type": "DefaultOptimWrapperConstructor"}"#;
        let (_, same) = build(&format!(r#"{{"type": "OptimWrapper", {SGD}, {default}}}"#));
        let yolo = r#""constructor": {"type": "YOLOv5OptimizerConstructor"}"#;
        let (_, three) = build(&format!(r#"{{"type": "AmpOptimWrapper", {SGD}, {yolo}}}"#));
        let names = |it: Result<OptimWrapper, BuildError>| {
            let groups = it.unwrap().groups;
            groups.into_iter().map(|it| it.params.into_iter().map(|it| it.0).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let everything = vec![vec!["conv.weight", "bn.weight", "bn.bias", "gamma"]];
        assert_eq!(names(all), everything);
        assert_eq!(names(same), everything);
        // `gamma` is no `weight` and no `bias`: MMYOLO would never train it.
        assert_eq!(names(three), [vec!["conv.weight", "gamma"], vec!["bn.weight"], vec!["bn.bias"]]);
    }

    #[test]
    fn a_parameter_in_no_group_or_in_two_is_an_error() {
        let (params, _) = build(&format!(r#"{{"type": "OptimWrapper", {SGD}}}"#));
        let entries = params.entries();
        let defaults = super::super::Defaults { lr: 0.1, momentum: 0.9, weight_decay: 0.0, batch_size: None };
        let group = |names: &[usize]| {
            let row = |&at: &usize| (entries[at].name.clone(), entries[at].tensor.shallow_clone());
            ParamGroup::new("g", names.iter().map(row).collect(), &defaults, 0.0)
        };
        let error = covers(&entries, &[group(&[0, 1]), group(&[1, 2])]).unwrap_err();
        assert!(error.message.ends_with("bn.weight (2), gamma (0)"), "{error}");
        assert_eq!(covers(&entries, &[group(&[0, 1]), group(&[2, 3])]), Ok(()));
    }

    /// Training steps over these batches, each a mean over its numbers.
    fn train(params: &ParamStore, wrapper: &mut OptimWrapper, batches: &[&[f64]], left_after: usize) {
        for (at, batch) in batches.iter().enumerate() {
            let parts = batch.iter().map(|x| loss(params, *x));
            let mean = parts.fold(Tensor::from(0f32), |sum, it| sum + it) / batch.len() as f64;
            wrapper.update(&mean, left_after + batches.len() - 1 - at).unwrap();
        }
    }

    #[test]
    fn gathered_steps_equal_steps_of_whole_batches_also_where_the_run_ends_early() {
        let (one, wrapper) = build(&format!(r#"{{"type": "OptimWrapper", {SGD}}}"#));
        // Batches three times as large; the last steps of the run are fewer.
        train(&one, &mut wrapper.unwrap(), &[&[0.1, 0.2, 0.3], &[0.4, 0.5, 0.6], &[0.7, 0.8]], 0);

        let (three, wrapper) = build(&format!(r#"{{"type": "OptimWrapper", {SGD}, "accumulative_counts": 3}}"#));
        let parts: [&[f64]; 8] = [&[0.1], &[0.2], &[0.3], &[0.4], &[0.5], &[0.6], &[0.7], &[0.8]];
        train(&three, &mut wrapper.unwrap(), &parts, 0);
        for (a, b) in values(&one).iter().zip(values(&three)) {
            // The sum of thirds and the third of a sum differ in the last bits of float32.
            assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        }
    }

    #[test]
    fn gradients_gathered_so_far_come_back() {
        let json = format!(r#"{{"type": "OptimWrapper", {SGD}, "accumulative_counts": 3}}"#);
        let parts: [&[f64]; 6] = [&[0.1], &[0.2], &[0.3], &[0.4], &[0.5], &[0.6]];
        let (whole, wrapper) = build(&json);
        train(&whole, &mut wrapper.unwrap(), &parts, 0);

        let (first, wrapper) = build(&json);
        let mut wrapper = wrapper.unwrap();
        train(&first, &mut wrapper, &parts[..5], 1);
        let (second, resumed) = build(&json);
        for (to, from) in second.entries().iter().zip(first.entries()) {
            tch::no_grad(|| to.tensor.shallow_clone().copy_(&from.tensor));
        }
        let mut resumed = resumed.unwrap();
        resumed.load_state(&wrapper.state().into_iter().collect()).unwrap();
        train(&second, &mut resumed, &parts[5..], 0);
        assert_eq!(values(&whole), values(&second));
        assert!(!resumed.state().iter().any(|(name, _)| name.starts_with(GRAD)), "nothing is gathered after a step");
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_named_and_moves_nothing() {
        for clip in ["", r#", "clip_grad": {"max_norm": 0.5}"#] {
            let (params, wrapper) = build(&format!(r#"{{"type": "OptimWrapper", {SGD}{clip}}}"#));
            let before = values(&params);
            // The root of 0 has the value 0 and no slope.
            let bias = params.get("bn.bias").unwrap();
            let steep = loss(&params, 1.0) + (&bias - bias.detach()).sqrt().sum(tch::Kind::Float);
            let error = wrapper.unwrap().update(&steep, 0).unwrap_err();
            assert!(matches!(&error, EngineError::Gradient(name) if name == "bn.bias"), "{error}");
            assert_eq!(values(&params), before);
        }
    }

    #[test]
    fn clipping_cuts_the_length_and_reports_it() {
        let clip = r#""clip_grad": {"max_norm": 0.5}"#;
        let sgd = r#""optimizer": {"type": "SGD", "lr": 1.0}"#;
        let (params, wrapper) = build(&format!(r#"{{"type": "OptimWrapper", {sgd}, {clip}}}"#));
        let before = values(&params);
        let norm = wrapper.unwrap().update(&loss(&params, 1.0), 0).unwrap().unwrap();
        let moved = values(&params).iter().zip(&before).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        let expected = before.iter().map(|it| 4.0 * it * it).sum::<f64>().sqrt();
        assert!((norm - expected).abs() < 1e-5, "{norm} is not {expected}");
        assert!((moved - 0.5).abs() < 1e-5, "{moved}");
    }

    #[test]
    fn senseless_settings_are_refused_at_their_keys() {
        let cases = [
            (r#""accumulative_counts": 0"#, "accumulative_counts"),
            (r#""clip_grad": {"max_norm": -1.0}"#, "clip_grad.max_norm"),
        ];
        for (text, key) in cases {
            let error = build(&format!(r#"{{"type": "AmpOptimWrapper", {SGD}, {text}}}"#)).1.unwrap_err();
            assert_eq!(error.path.join("."), key);
        }
        let nesterov = r#""optimizer": {"type": "SGD", "nesterov": true}"#;
        let error = build(&format!(r#"{{"type": "OptimWrapper", {nesterov}}}"#)).1.unwrap_err();
        assert_eq!(error.path.join("."), "nesterov");
    }
}
