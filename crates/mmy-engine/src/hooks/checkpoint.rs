//! When checkpoints are written, which are kept, and which was the best.

use std::path::PathBuf;

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EvalEpochContext, Hook, HookKind, Mode, Request, SaveRequest, TrainContext};
use crate::{EngineError, Priority, RunInfo, error::Result};

register!(HookKind, "CheckpointHook", Config);

/// Writes `epoch_N.safetensors` every so many epochs and `best_<metric>_epoch_N.safetensors` after a validation that was
/// better than all before.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Epochs between two checkpoints; without it only the last epoch's is written.
    pub interval: Option<usize>,
    /// The first epoch (from 1) that counts.
    pub save_begin: usize,
    /// Whether they carry the optimiser, so that a run can go on from them.
    pub save_optimizer: bool,
    /// Whether the last epoch is saved even where it is off the interval.
    pub save_last: bool,
    /// How many `epoch_N` files stay; without it all do.
    pub max_keep_ckpts: Option<usize>,
    /// The metric by which the best model is known, such as `"coco/bbox_mAP"`; `"auto"` is the first one reported.
    pub save_best: Option<String>,
    /// Whether more is better; by default it is told from the metric's name.
    pub rule: Option<Rule>,
    /// When it runs among the hooks of one stage.
    pub priority: Priority,
}

/// Which of two values of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// The greater one.
    Greater,
    /// The smaller one.
    Less,
}

impl Rule {
    /// What the metric's name says, by mmengine's lists: exact matches first, then parts of the name.
    fn of(metric: &str) -> Option<Rule> {
        const GREATER: [&str; 10] = ["acc", "top", "ar@", "auc", "precision", "map", "mdice", "miou", "macc", "aacc"];
        const LESS: [&str; 1] = ["loss"];
        let name = metric.to_lowercase();
        let exact = |keys: &[&str]| keys.contains(&name.as_str());
        let part = |keys: &[&str]| keys.iter().any(|it| name.contains(it));
        match () {
            () if exact(&GREATER) => Some(Rule::Greater),
            () if exact(&LESS) => Some(Rule::Less),
            () if part(&GREATER) => Some(Rule::Greater),
            () if part(&LESS) => Some(Rule::Less),
            () => None,
        }
    }

    fn better(self, new: f64, old: f64) -> bool {
        match self {
            Rule::Greater => new > old,
            Rule::Less => new < old,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            interval: Some(1),
            save_begin: 1,
            save_optimizer: true,
            save_last: true,
            max_keep_ckpts: None,
            save_best: None,
            rule: None,
            priority: Priority::VERY_LOW,
        }
    }
}

impl Build<HookKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        for (key, value) in [("interval", self.interval), ("max_keep_ckpts", self.max_keep_ckpts)] {
            if value == Some(0) {
                return Err(BuildError::new(format!("`{key}` is 0")).at(key).help("use at least 1, or leave it out"));
            }
        }
        Ok(Box::new(CheckpointHook { config: self.clone(), state: State::default() }))
    }
}

#[derive(Debug)]
struct CheckpointHook {
    config: Config,
    state: State,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// File names of the periodic checkpoints that are kept, oldest first.
    kept: Vec<String>,
    best: Option<Best>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Best {
    metric: String,
    value: f64,
    file: String,
}

impl CheckpointHook {
    /// Notes a new periodic file; returns the files that are too many now.
    fn keep(&mut self, name: &str, run: &RunInfo) -> Vec<PathBuf> {
        self.state.kept.retain(|it| it != name);
        self.state.kept.push(name.to_owned());
        let extra = self.config.max_keep_ckpts.map_or(0, |most| self.state.kept.len().saturating_sub(most));
        self.state.kept.drain(..extra).map(|it| run.work_dir.path().join(it)).collect()
    }
}

impl Hook for CheckpointHook {
    fn priority(&self) -> Priority {
        self.config.priority
    }

    fn state(&self) -> Value {
        serde_json::to_value(&self.state).expect("plain data serialises")
    }

    fn load_state(&mut self, state: &Value) -> Result<()> {
        let state = serde_json::from_value(state.clone());
        self.state = state.map_err(|e| EngineError::Unfit(format!("the checkpoint's CheckpointHook state: {e}")))?;
        Ok(())
    }

    fn after_train_epoch(&mut self, cx: &mut TrainContext<'_>) -> Result<()> {
        let done = cx.progress.epoch + 1;
        let last = done == cx.progress.max_epochs;
        let periodic = done >= self.config.save_begin
            && self.config.interval.is_some_and(|it| (done + 1 - self.config.save_begin.max(1)).is_multiple_of(it));
        if !(periodic || (last && self.config.save_last)) {
            return Ok(());
        }
        let name = format!("epoch_{done}.safetensors");
        tracing::info!("Saving checkpoint at {done} epochs");
        let then_remove = self.keep(&name, cx.run);
        cx.requests.ask(Request::Save(SaveRequest {
            path: cx.run.work_dir.path().join(name),
            resumable: self.config.save_optimizer,
            then_remove,
            newest: true,
            metrics: Vec::new(),
        }));
        Ok(())
    }

    fn after_eval_epoch(&mut self, cx: &mut EvalEpochContext<'_>) -> Result<()> {
        let Some(wanted) = self.config.save_best.as_deref().filter(|_| cx.eval.mode == Mode::Val) else {
            return Ok(());
        };
        let values = &cx.evaluation.values;
        let found = if wanted == "auto" { values.first() } else { values.iter().find(|(name, _)| name == wanted) };
        let Some((metric, value)) = found else {
            let known = values.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(EngineError::Unfit(format!(
                "`save_best = \"{wanted}\"`, but the validation reports {}",
                if known.is_empty() { "nothing".into() } else { known }
            )));
        };
        let rule = self.config.rule.or_else(|| Rule::of(metric)).ok_or_else(|| {
            EngineError::Unfit(format!(
                "whether more of `{metric}` is better is not known: set `rule` to \"greater\" or \"less\""
            ))
        })?;
        if !value.is_finite() || self.state.best.as_ref().is_some_and(|best| !rule.better(*value, best.value)) {
            return Ok(());
        }
        let epoch = cx.eval.progress.epoch;
        let name = format!("best_{}_epoch_{epoch}.safetensors", metric.replace('/', "_"));
        tracing::info!("The best checkpoint with {value:.4} {metric} at {epoch} epoch is saved to {name}.");
        let best = Best { metric: metric.clone(), value: *value, file: name.clone() };
        let old = self.state.best.replace(best).map(|it| it.file).filter(|it| *it != name);
        cx.requests.ask(Request::Save(SaveRequest {
            path: cx.eval.run.work_dir.path().join(&name),
            resumable: false,
            then_remove: old.map(|it| cx.eval.run.work_dir.path().join(it)).into_iter().collect(),
            newest: false,
            metrics: values.clone(),
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_follows_the_name() {
        let want =
            [("coco/bbox_mAP", Some(Rule::Greater)), ("loss", Some(Rule::Less)), ("AR@100", Some(Rule::Greater))];
        for (name, rule) in want {
            assert_eq!(Rule::of(name), rule, "{name}");
        }
        assert_eq!(Rule::of("speed"), None);
    }
}
