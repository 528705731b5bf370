//! Ends a training that no longer gets better.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EvalEpochContext, Hook, HookKind, Request, Rule, Stage, monitored};
use crate::{EngineError, Priority, error::Result};

register!(HookKind, "EarlyStoppingHook", Config);

/// Ends the training after `patience` validations in a row that were not better than the best by at least `min_delta`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The metric, such as `"coco/bbox_mAP"`.
    pub monitor: String,
    /// Whether more is better; by default it is told from the metric's name.
    #[serde(default)]
    pub rule: Option<Rule>,
    /// By how much a value has to be better to count as progress. mmengine's default of 0.1 asks for ten points of a
    /// metric between 0 and 1 and so ends most trainings after `patience` validations.
    #[serde(default = "thousandth")]
    pub min_delta: f64,
    /// Whether a validation that does not report the metric is an error; otherwise it is passed over.
    #[serde(default)]
    pub strict: bool,
    /// Whether a value that is not finite ends the training.
    #[serde(default = "yes")]
    pub check_finite: bool,
    /// Validations without progress after which the training ends.
    #[serde(default = "five")]
    pub patience: usize,
    /// A value that is good enough to end the training at once.
    #[serde(default)]
    pub stopping_threshold: Option<f64>,
    /// When it runs among the hooks of one stage.
    #[serde(default = "lowest")]
    pub priority: Priority,
}

fn thousandth() -> f64 {
    0.001
}

fn yes() -> bool {
    true
}

fn five() -> usize {
    5
}

fn lowest() -> Priority {
    Priority::LOWEST
}

impl Build<HookKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        let Some(rule) = self.rule.or_else(|| Rule::of(&self.monitor)) else {
            let error = BuildError::new(format!("whether more of `{}` is better is not known", self.monitor));
            return Err(error.at("rule").help("set it to \"greater\" or \"less\""));
        };
        if self.patience == 0 {
            return Err(BuildError::new("`patience` is 0").at("patience").help("use at least 1"));
        }
        if !(self.min_delta.is_finite() && self.min_delta >= 0.0) {
            let error = BuildError::new(format!("`min_delta` is {}", self.min_delta)).at("min_delta");
            return Err(error.help("use a number of at least 0"));
        }
        Ok(Box::new(EarlyStopping { config: self.clone(), rule, state: State::default(), warned: false }))
    }
}

#[derive(Debug)]
struct EarlyStopping {
    config: Config,
    rule: Rule,
    state: State,
    warned: bool,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    best: Option<f64>,
    /// Validations since then.
    waited: usize,
}

impl EarlyStopping {
    /// Notes a value; why the training has to end now, if it has.
    fn note(&mut self, value: f64) -> Option<String> {
        let Config { monitor, min_delta, check_finite, patience, stopping_threshold, .. } = &self.config;
        if *check_finite && !value.is_finite() {
            return Some(format!("`{monitor}` is {value}"));
        }
        if let Some(enough) = stopping_threshold.filter(|it| self.rule.better(value, *it)) {
            return Some(format!("`{monitor}` is {value:.4}, past the `stopping_threshold` of {enough}"));
        }
        let sign = if self.rule == Rule::Greater { 1.0 } else { -1.0 };
        // As good as the bar is good enough: only a worse value waits.
        match self.state.best {
            Some(best) if self.rule.better(best + sign * min_delta, value) => self.state.waited += 1,
            _ => self.state = State { best: Some(value), waited: 0 },
        }
        let (waited, best) = (self.state.waited, self.state.best.unwrap_or(value));
        (waited >= *patience)
            .then(|| format!("`{monitor}` has not got better for {waited} validations; best {best:.4}"))
    }

    /// A metric between 0 and 1 seldom moves by a tenth.
    fn warn_of_a_high_bar(&mut self, value: f64) {
        let Config { monitor, min_delta, patience, .. } = &self.config;
        if !self.warned && *min_delta >= 0.05 && (0.0..=1.0).contains(&value) {
            tracing::warn!(
                "EarlyStoppingHook: only a gain of {min_delta} in `{monitor}` counts as progress, and it lies between 0 \
                 and 1: the training may end after {patience} validations. Try `min_delta = 0.001`"
            );
        }
        self.warned = true;
    }
}

impl Hook for EarlyStopping {
    fn priority(&self) -> Priority {
        self.config.priority
    }

    fn stages(&self) -> &'static [Stage] {
        &[Stage::AfterValEpoch]
    }

    fn state(&self) -> Value {
        serde_json::to_value(&self.state).expect("plain data serialises")
    }

    fn load_state(&mut self, state: &Value) -> Result<()> {
        let state = serde_json::from_value(state.clone());
        self.state = state.map_err(|e| EngineError::Unfit(format!("the checkpoint's EarlyStoppingHook state: {e}")))?;
        Ok(())
    }

    fn after_val_epoch(&mut self, cx: &mut EvalEpochContext<'_>) -> Result<()> {
        let value = match monitored("monitor", &self.config.monitor, cx.evaluation) {
            Ok(value) => value,
            Err(error) if self.config.strict => return Err(error),
            Err(error) => {
                tracing::warn!("EarlyStoppingHook: {error}");
                return Ok(());
            }
        };
        self.warn_of_a_high_bar(value);
        if let Some(reason) = self.note(value) {
            cx.requests.ask(Request::Stop(format!("the training ends early: {reason}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(json: &str) -> EarlyStopping {
        let config: Config = serde_json::from_str(json).unwrap();
        let rule = config.rule.or_else(|| Rule::of(&config.monitor)).unwrap();
        EarlyStopping { config, rule, state: State::default(), warned: false }
    }

    /// After which of these values the training ends.
    fn ends(json: &str, values: &[f64]) -> Option<usize> {
        let mut hook = hook(json);
        values.iter().position(|it| hook.note(*it).is_some())
    }

    #[test]
    fn ends_when_mmengines_does() {
        let mmengine = r#"{"monitor": "coco/bbox_mAP", "min_delta": 0.1}"#;
        // Steady progress by less than a tenth counts for nothing.
        assert_eq!(ends(mmengine, &[0.1, 0.15, 0.18, 0.19, 0.195, 0.199, 0.3]), Some(5));
        assert_eq!(ends(mmengine, &[0.1, 0.25, 0.4, 0.55]), None);
        let ours = r#"{"monitor": "coco/bbox_mAP", "patience": 2}"#;
        assert_eq!(ends(ours, &[0.1, 0.15, 0.18, 0.19, 0.195, 0.1951, 0.1952, 0.3]), Some(6));
        let loss = r#"{"monitor": "loss", "patience": 2, "min_delta": 0.0}"#;
        assert_eq!(ends(loss, &[1.0, 0.5, 0.6, 0.5, 0.7, 0.8]), Some(5));
        assert_eq!(ends(loss, &[1.0, f64::NAN]), Some(1));
        let enough = r#"{"monitor": "coco/bbox_mAP", "stopping_threshold": 0.5}"#;
        assert_eq!(ends(enough, &[0.1, 0.5, 0.51]), Some(2));
    }

    #[test]
    fn what_it_has_seen_comes_back() {
        let json = r#"{"monitor": "coco/bbox_mAP", "patience": 3}"#;
        let (mut first, mut second) = (hook(json), hook(json));
        for value in [0.3, 0.2, 0.2] {
            assert_eq!(first.note(value), None);
        }
        second.load_state(&first.state()).unwrap();
        assert_eq!(second.state, State { best: Some(0.3), waited: 2 });
        assert!(second.note(0.2).is_some());
    }
}
