//! When checkpoints are written, which are kept, and which was the best.

use std::{
    ffi::OsString,
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    EvalEpochContext, Hook, HookKind, LoadContext, Mode, Request, Rule, SaveRequest, Stage, TrainContext,
    TrainStepContext, monitored,
};
use crate::{EngineError, Priority, Progress, RunInfo, error::Result};

register!(HookKind, "CheckpointHook", Config);

/// The state between periodic checkpoints: written by time and on Ctrl-C, each over the one before.
pub(crate) const PASSING: &str = "resume.safetensors";

/// Writes `epoch_N.safetensors` every so many epochs or `iter_N.safetensors` every so many steps,
/// `resume.safetensors` every so many minutes, and `best_<metric>_epoch_N.safetensors` after a validation that was better
/// than all before.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Epochs (or steps) between two checkpoints; without it only the last one is written.
    pub interval: Option<usize>,
    /// Whether `interval` and `save_begin` count epochs, not steps; by default what the training loop counts.
    pub by_epoch: Option<bool>,
    /// Time between two writings of `resume.safetensors`, such as `"10min"`, `"1h 30min"`, `"45s"`: at most that much
    /// is lost to a crash.
    pub every: Option<String>,
    /// The first epoch or step (from 1) that counts.
    pub save_begin: usize,
    /// Whether they carry the optimiser, so that a run can go on from them.
    pub save_optimizer: bool,
    /// Whether the end of the run is saved even where it is off the interval.
    pub save_last: bool,
    /// How many periodic files stay; without it all do.
    pub max_keep_ckpts: Option<usize>,
    /// The metric by which the best model is known, such as `"coco/bbox_mAP"`; `"auto"` is the first one reported.
    pub save_best: Option<String>,
    /// Whether more is better; by default it is told from the metric's name.
    pub rule: Option<Rule>,
    /// When it runs among the hooks of one stage.
    pub priority: Priority,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            interval: Some(1),
            by_epoch: None,
            every: None,
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
        let every = self.every.as_deref().map(duration).transpose()?;
        Ok(Box::new(CheckpointHook {
            config: self.clone(),
            every,
            from: None,
            written: Instant::now(),
            state: State::default(),
        }))
    }
}

fn duration(text: &str) -> Result<Duration, BuildError> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|it| Duration::try_from(it).ok());
    parsed.filter(|it| !it.is_zero()).ok_or_else(|| {
        let error = BuildError::new(format!("`{text}` is no time")).at("every");
        error.help("write it as \"10min\", \"1h 30min\" or \"45s\"")
    })
}

#[derive(Debug)]
struct CheckpointHook {
    config: Config,
    every: Option<Duration>,
    /// The file that this process goes on from.
    from: Option<OsString>,
    /// When this process last wrote a checkpoint to go on from.
    written: Instant,
    state: State,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// File names of the periodic checkpoints that are kept, oldest first.
    kept: Vec<String>,
    /// What goes once the newest checkpoint is there; a process that was killed before that leaves it to the next.
    #[serde(default)]
    outdated: Vec<String>,
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
    fn by_epoch(&self, progress: &Progress) -> bool {
        self.config.by_epoch.unwrap_or(!progress.by_iter())
    }

    /// Whether a periodic checkpoint is due after `done` epochs or steps of `all`.
    fn due(&self, done: usize, all: usize) -> bool {
        let Config { interval, save_begin, save_last, .. } = self.config;
        let periodic = interval.is_some_and(|it| (done + 1).saturating_sub(save_begin.max(1)).is_multiple_of(it));
        (periodic && done >= save_begin) || (save_last && done == all)
    }

    /// Asks for a checkpoint to go on from.
    fn save(&mut self, name: &str, cx: &mut TrainContext<'_>) {
        self.written = Instant::now();
        let folder = cx.run.work_dir.path();
        // What is written now is not outdated.
        self.state.outdated.retain(|it| it != name);
        let then_remove = self.state.outdated.iter().map(|it| folder.join(it)).collect();
        cx.requests.ask(Request::Save(SaveRequest {
            path: folder.join(name),
            resumable: self.config.save_optimizer || name == PASSING,
            then_remove,
            newest: true,
            metrics: Vec::new(),
        }));
    }

    /// Asks for a periodic checkpoint, and for the end of those that are too many then.
    fn save_periodic(&mut self, name: &str, cx: &mut TrainContext<'_>) {
        let State { kept, outdated, .. } = &mut self.state;
        kept.retain(|it| it != name);
        kept.push(name.to_owned());
        let extra = self.config.max_keep_ckpts.map_or(0, |most| kept.len().saturating_sub(most));
        *outdated = kept.drain(..extra).collect();
        outdated.push(PASSING.to_owned());
        self.save(name, cx);
    }

    /// Removes files that were to go when the last process was killed. It is no mistake when one is not there any more.
    fn remove_outdated(&self, run: &RunInfo, which: impl Fn(&str) -> bool) {
        for name in self.state.outdated.iter().filter(|it| which(it)) {
            let _ = std::fs::remove_file(run.work_dir.path().join(name));
        }
    }
}

impl Hook for CheckpointHook {
    fn changes_training(&self) -> bool {
        false
    }

    fn priority(&self) -> Priority {
        self.config.priority
    }

    fn stages(&self) -> &'static [Stage] {
        use Stage::{AfterLoadCheckpoint, AfterTrainEpoch, AfterTrainIter, AfterValEpoch, BeforeTrain};
        &[AfterLoadCheckpoint, BeforeTrain, AfterTrainIter, AfterTrainEpoch, AfterValEpoch]
    }

    fn state(&self) -> Value {
        serde_json::to_value(&self.state).expect("plain data serialises")
    }

    fn load_state(&mut self, state: &Value) -> Result<()> {
        let state = serde_json::from_value(state.clone());
        self.state = state.map_err(|e| EngineError::Unfit(format!("the checkpoint's CheckpointHook state: {e}")))?;
        Ok(())
    }

    fn after_load_checkpoint(&mut self, cx: &mut LoadContext<'_>) -> Result<()> {
        self.from = cx.path.file_name().map(ToOwned::to_owned);
        Ok(())
    }

    fn before_train(&mut self, cx: &mut TrainContext<'_>) -> Result<()> {
        self.written = Instant::now();
        self.remove_outdated(cx.run, |it| it != PASSING);
        Ok(())
    }

    fn after_train(&mut self, cx: &mut TrainContext<'_>) -> Result<()> {
        // Only now, since whoever goes on from an older checkpoint may want it back until then.
        if self.from.as_deref() != Some(PASSING.as_ref()) {
            self.remove_outdated(cx.run, |it| it == PASSING);
        }
        Ok(())
    }

    fn after_train_iter(&mut self, cx: &mut TrainStepContext<'_>) -> Result<()> {
        let (progress, cx) = (*cx.train.progress, &mut cx.train);
        let done = progress.iter + 1;
        if !self.by_epoch(&progress) && self.due(done, progress.max_iters()) {
            tracing::info!("Saving checkpoint at {done} iterations");
            self.save_periodic(&format!("iter_{done}.safetensors"), cx);
        } else if self.every.is_some_and(|it| self.written.elapsed() >= it) {
            tracing::info!("Saving the state at {done} iterations");
            self.save(PASSING, cx);
        }
        Ok(())
    }

    fn after_train_epoch(&mut self, cx: &mut TrainContext<'_>) -> Result<()> {
        let done = cx.progress.epoch + 1;
        if self.by_epoch(cx.progress) && self.due(done, cx.progress.max_epochs) {
            tracing::info!("Saving checkpoint at {done} epochs");
            self.save_periodic(&format!("epoch_{done}.safetensors"), cx);
        }
        Ok(())
    }

    fn after_eval_epoch(&mut self, cx: &mut EvalEpochContext<'_>) -> Result<()> {
        let Some(wanted) = self.config.save_best.as_deref().filter(|_| cx.eval.mode == Mode::Val) else {
            return Ok(());
        };
        let values = &cx.evaluation.values;
        let metric = match values.first() {
            Some((first, _)) if wanted == "auto" => first,
            _ => wanted,
        };
        let value = monitored("save_best", metric, cx.evaluation)?;
        let rule = self.config.rule.or_else(|| Rule::of(metric)).ok_or_else(|| {
            EngineError::Unfit(format!(
                "whether more of `{metric}` is better is not known: set `rule` to \"greater\" or \"less\""
            ))
        })?;
        if !value.is_finite() || self.state.best.as_ref().is_some_and(|best| !rule.better(value, best.value)) {
            return Ok(());
        }
        let progress = cx.eval.progress;
        let (unit, at) = if self.by_epoch(progress) { ("epoch", progress.epoch) } else { ("iter", progress.iter) };
        let name = format!("best_{}_{unit}_{at}.safetensors", metric.replace('/', "_"));
        tracing::info!("The best checkpoint with {value:.4} {metric} at {at} {unit} is saved to {name}.");
        let best = Best { metric: metric.to_owned(), value, file: name.clone() };
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
    fn times_are_read_and_nonsense_is_refused() {
        assert_eq!(duration("10min"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("1h 30min"), Ok(Duration::from_secs(5400)));
        for text in ["10", "-1min", "0s", "soon"] {
            assert_eq!(duration(text).unwrap_err().path, ["every"], "{text}");
        }
    }

    #[test]
    fn interval_begin_and_end_decide_when_one_is_due() {
        let due = |interval, save_begin, save_last| {
            let config = Config { interval, save_begin, save_last, ..Config::default() };
            let hook =
                CheckpointHook { config, every: None, from: None, written: Instant::now(), state: State::default() };
            (1..=10).filter(|&done| hook.due(done, 10)).collect::<Vec<_>>()
        };
        assert_eq!(due(Some(3), 1, false), [3, 6, 9]);
        assert_eq!(due(Some(3), 5, true), [7, 10]);
        assert_eq!(due(None, 1, true), [10]);
        assert_eq!(due(None, 1, false), [0usize; 0]);
    }
}
