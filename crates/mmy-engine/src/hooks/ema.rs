//! A running average of the weights, validated and saved in their place.

use mmy_nn::ParamStore;
use mmy_registry::{Build, BuildError, Outline, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::Tensor;

use super::{
    EvalContext, EvalEpochContext, Hook, HookKind, LoadContext, RunContext, SaveContext, Stage, StartOutline,
    TrainStepContext,
};
use crate::{EngineError, Priority, error::Result};

register!(HookKind, "EMAHook", Config);

/// Keeps a running average of the model's weights, which stands in for them in validation, in tests and under the plain
/// names of a checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How much a step counts.
    pub ema_type: Averaging,
    /// The weight of a step's values, in the long run; by default mmengine's 0.0002.
    pub momentum: f64,
    /// Steps over which the weight falls to `momentum`; by default 2000 for `ExpMomentumEMA`, 100 for
    /// `MomentumAnnealingEMA`.
    pub gamma: Option<f64>,
    /// Steps between two updates.
    pub interval: usize,
    /// Whether the statistics of batch norms are averaged too; otherwise they are copied.
    pub update_buffers: bool,
    /// Whether a checkpoint without an average is refused on resume.
    pub strict_load: bool,
    /// First step that is averaged; before it the average is a copy.
    pub begin_iter: usize,
    /// First epoch that is averaged; before it the average is a copy.
    pub begin_epoch: usize,
    /// When it runs among the hooks of one stage.
    pub priority: Priority,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            ema_type: Averaging::ExponentialMovingAverage,
            momentum: 0.0002,
            gamma: None,
            interval: 1,
            update_buffers: false,
            strict_load: false,
            begin_iter: 0,
            begin_epoch: 0,
            priority: Priority::NORMAL,
        }
    }
}

/// How much the values of a step count in the average.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Averaging {
    /// `momentum`, always.
    ExponentialMovingAverage,
    /// `(1 − momentum) · exp(−(1 + step) / gamma) + momentum`, YOLOv5's.
    ExpMomentumEMA,
    /// `max(momentum, gamma / (gamma + step))`.
    MomentumAnnealingEMA,
    /// `1 / (step / interval + 1)`, the quotient rounded down: the plain mean.
    StochasticWeightAverage,
}

impl Averaging {
    /// The weight of the values of step `step` (from 0).
    pub fn weight(self, step: usize, momentum: f64, gamma: Option<f64>, interval: usize) -> f64 {
        let updates = (step / interval) as f64;
        let step = step as f64;
        match self {
            Averaging::ExponentialMovingAverage => momentum,
            Averaging::ExpMomentumEMA => (1.0 - momentum) * (-(1.0 + step) / gamma.unwrap_or(2000.0)).exp() + momentum,
            Averaging::MomentumAnnealingEMA => {
                let gamma = gamma.unwrap_or(100.0);
                momentum.max(gamma / (gamma + step))
            }
            Averaging::StochasticWeightAverage => 1.0 / (updates + 1.0),
        }
    }
}

impl Build<HookKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        if !(self.momentum > 0.0 && self.momentum < 1.0) {
            let error = BuildError::new(format!("the momentum is {}", self.momentum)).at("momentum");
            return Err(error.help("use a number between 0 and 1; YOLOv5 uses 0.0001"));
        }
        if self.gamma.is_some_and(|it| !(it.is_finite() && it > 0.0)) {
            return Err(BuildError::new("`gamma` has to be above 0").at("gamma"));
        }
        if self.interval == 0 {
            return Err(BuildError::new("`interval` is 0").at("interval").help("use at least 1"));
        }
        if self.begin_iter > 0 && self.begin_epoch > 0 {
            return Err(BuildError::new("`begin_iter` and `begin_epoch` exclude each other").at("begin_iter"));
        }
        Ok(Box::new(Ema { config: self.clone(), steps: 0, averaged: Vec::new(), copied: Vec::new(), swapped: false }))
    }

    fn outline(&self) -> Outline {
        Outline::default().fact(StartOutline { epoch: self.begin_epoch, key: "begin_epoch" })
    }
}

#[derive(Debug)]
struct Ema {
    config: Config,
    /// Averaging steps so far.
    steps: usize,
    /// Name, the model's tensor, its average.
    averaged: Vec<(String, Tensor, Tensor)>,
    /// Name, the model's tensor, the copy: what is not averaged.
    copied: Vec<(String, Tensor, Tensor)>,
    /// Whether the model holds the average now and `averaged`, `copied` hold the raw values.
    swapped: bool,
}

impl Ema {
    fn follow(&mut self, params: &ParamStore) {
        let float = |it: &mmy_nn::Entry| it.tensor.is_floating_point();
        for entry in params.entries() {
            let own = tch::no_grad(|| entry.tensor.detach().copy());
            let row = (entry.name.clone(), entry.tensor.shallow_clone(), own);
            let trained = entry.role != mmy_nn::Role::Buffer;
            if float(&entry) && (trained || self.config.update_buffers) {
                self.averaged.push(row);
            } else {
                self.copied.push(row);
            }
        }
    }

    fn copy_rows(rows: &[(String, Tensor, Tensor)]) -> Result<()> {
        let (targets, sources): (Vec<_>, Vec<_>) = rows.iter().map(|(_, model, own)| (own, model)).unzip();
        Ok(mmy_torch::foreach::copy_(&targets, &sources)?)
    }

    fn update(&mut self, started: bool) -> Result<()> {
        Self::copy_rows(&self.copied)?;
        if !started {
            return Self::copy_rows(&self.averaged);
        }
        if self.steps == 0 {
            Self::copy_rows(&self.averaged)?;
        } else if self.steps.is_multiple_of(self.config.interval) {
            let Config { ema_type, momentum, gamma, interval, .. } = self.config;
            let weight = ema_type.weight(self.steps, momentum, gamma, interval);
            let (targets, sources): (Vec<_>, Vec<_>) = self.averaged.iter().map(|(_, model, own)| (own, model)).unzip();
            mmy_torch::foreach::lerp_(&targets, &sources, weight)?;
        }
        self.steps += 1;
        Ok(())
    }

    /// Exchanges the model's values and ours, without a copy.
    fn swap(&mut self) {
        for (_, model, own) in self.averaged.iter_mut().chain(&mut self.copied) {
            let values = model.detach();
            model.set_data(own);
            *own = values;
        }
        self.swapped = !self.swapped;
    }

    fn rows(&self) -> impl Iterator<Item = &(String, Tensor, Tensor)> {
        self.averaged.iter().chain(&self.copied)
    }
}

impl Hook for Ema {
    fn priority(&self) -> Priority {
        self.config.priority
    }

    fn stages(&self) -> &'static [Stage] {
        use Stage::{
            AfterLoadCheckpoint, AfterTrainIter, AfterValEpoch, BeforeRun, BeforeSaveCheckpoint, BeforeValEpoch,
        };
        &[BeforeRun, AfterLoadCheckpoint, AfterTrainIter, BeforeValEpoch, AfterValEpoch, BeforeSaveCheckpoint]
    }

    fn state(&self) -> Value {
        json!({ "steps": self.steps })
    }

    fn load_state(&mut self, state: &Value) -> Result<()> {
        let steps = state["steps"].as_u64();
        self.steps =
            steps.ok_or_else(|| EngineError::Unfit("the checkpoint's EMA state has no `steps`".into()))? as usize;
        Ok(())
    }

    fn before_run(&mut self, cx: &mut RunContext<'_>) -> Result<()> {
        self.follow(&cx.model.params);
        Ok(())
    }

    fn after_load_checkpoint(&mut self, cx: &mut LoadContext<'_>) -> Result<()> {
        if !cx.resume {
            return Ok(());
        }
        if cx.checkpoint.raw.is_empty() {
            let text = "the checkpoint holds no average of the weights";
            if self.config.strict_load {
                return Err(EngineError::Unfit(format!("{text}, and `strict_load` asks for one")));
            }
            tracing::warn!("{text}: the average starts anew from its weights");
            return Ok(());
        }
        let mut raw: std::collections::HashMap<_, _> = cx.checkpoint.raw.drain(..).collect();
        for (name, tensor) in &mut cx.checkpoint.model {
            if let Some((.., own)) = self.averaged.iter_mut().chain(&mut self.copied).find(|it| it.0 == *name)
                && own.size() == tensor.size()
            {
                tch::no_grad(|| own.copy_(tensor));
            }
            if let Some(values) = raw.remove(name) {
                *tensor = values;
            }
        }
        Ok(())
    }

    fn after_train_iter(&mut self, cx: &mut TrainStepContext<'_>) -> Result<()> {
        let progress = cx.train.progress;
        self.update(progress.iter >= self.config.begin_iter && progress.epoch >= self.config.begin_epoch)
    }

    fn before_val_epoch(&mut self, _: &mut EvalContext<'_>) -> Result<()> {
        // A validation before the first step would see the average of nothing, which is a copy: no harm.
        self.swap();
        Ok(())
    }

    fn after_val_epoch(&mut self, _: &mut EvalEpochContext<'_>) -> Result<()> {
        self.swap();
        Ok(())
    }

    fn before_save_checkpoint(&mut self, cx: &mut SaveContext<'_>) -> Result<()> {
        if self.averaged.is_empty() {
            return Ok(());
        }
        // Where the two are swapped, the model's own tensors are the average already.
        let plain: std::collections::HashMap<&str, &Tensor> =
            self.rows().map(|(name, model, own)| (name.as_str(), if self.swapped { model } else { own })).collect();
        if cx.resumable {
            let raw = self.rows().map(|(name, model, own)| {
                let values = if self.swapped { own } else { model };
                (name.clone(), values.detach())
            });
            cx.checkpoint.raw = raw.collect();
        }
        for (name, tensor) in &mut cx.checkpoint.model {
            if let Some(values) = plain.get(name.as_str()) {
                *tensor = values.detach();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_the_originals() {
        let golden: Value = serde_json::from_str(include_str!("../../../../tests/golden/ema.json")).unwrap();
        for (step, want) in golden["momentum"].as_array().unwrap().iter().enumerate() {
            let weight = Averaging::ExpMomentumEMA.weight(step, 1e-4, None, 1);
            assert!((weight - want.as_f64().unwrap()).abs() < 1e-15, "step {step}: {weight}");
        }
    }

    #[test]
    fn averages_are_mmengines() {
        let golden: Value = serde_json::from_str(include_str!("../../../../tests/golden/averages.json")).unwrap();
        let cases = golden["cases"].as_array().unwrap();
        for case in cases {
            let config: Config = serde_json::from_value(case["config"].clone()).unwrap();
            let mut ema = Ema { config, steps: 0, averaged: Vec::new(), copied: Vec::new(), swapped: false };
            let store = ParamStore::new(tch::Device::Cpu, 0);
            let weight = store.root().param("weight", &[1], mmy_nn::Init::Const(0.0), mmy_nn::Role::Weight);
            let mean = store.root().buffer("mean", &[1], 0.0, tch::Kind::Float);
            ema.follow(&store);
            for (step, want) in case["rows"].as_array().unwrap().iter().enumerate() {
                // The numbers of `averages.py`.
                let value = |at: usize| ((step * 7919 + at * 104_729) % 2003) as f64 / 1001.0 - 1.0;
                let _ = tch::no_grad(|| weight.detach().fill_(value(0)));
                let _ = mean.detach().fill_(value(1));
                ema.update(true).unwrap();
                for (at, name) in ["weight", "mean"].into_iter().enumerate() {
                    let ours = ema.rows().find(|it| it.0 == name).unwrap().2.double_value(&[0]);
                    let want = want[at].as_f64().unwrap();
                    // float32 on both sides.
                    assert!(
                        (ours - want).abs() < 1e-6,
                        "{}, step {step}, {name}: {ours} is not {want}",
                        case["config"]
                    );
                }
            }
        }
        assert_eq!(cases.len(), 6);
    }

    #[test]
    fn what_has_not_begun_copies() {
        let config = Config { ema_type: Averaging::StochasticWeightAverage, ..Config::default() };
        let mut ema = Ema { config, steps: 0, averaged: Vec::new(), copied: Vec::new(), swapped: false };
        let store = ParamStore::new(tch::Device::Cpu, 0);
        let weight = store.root().param("weight", &[1], mmy_nn::Init::Const(0.0), mmy_nn::Role::Weight);
        ema.follow(&store);
        let mut after = |value: f64, started| {
            let _ = tch::no_grad(|| weight.detach().fill_(value));
            ema.update(started).unwrap();
            ema.averaged[0].2.double_value(&[0])
        };
        // The first step that counts is a copy too.
        assert_eq!([after(4.0, false), after(8.0, false), after(2.0, true), after(4.0, true)], [4.0, 8.0, 2.0, 3.0]);
    }
}
