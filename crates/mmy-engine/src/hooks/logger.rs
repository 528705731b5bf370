//! Log lines and `scalars.json`, in mmengine's form.

use std::{
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    EvalContext, EvalEpochContext, EvalIterContext, Hook, HookKind, LoadContext, Mode, RunContext, SaveContext, Stage,
    TrainContext, TrainStepContext,
};
use crate::{
    EngineError, MessageHub, Priority, RunInfo,
    error::Result,
    text::{duration, float},
};

register!(HookKind, "LoggerHook", Config);

/// A log line every so many steps and after each validation, and the same as one JSON object a line in
/// `vis_data/scalars.json`. That of a resumed run begins with the lines of the run so far, up to the checkpoint: it is
/// the whole run's, whatever a process that was killed wrote after its last checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Steps between two lines.
    pub interval: usize,
    /// Whether the last steps of an epoch, fewer than `interval`, go without a line.
    pub ignore_last: bool,
    /// When it runs among the hooks of one stage.
    pub priority: Priority,
}

impl Default for Config {
    fn default() -> Self {
        Config { interval: 10, ignore_last: true, priority: Priority::BELOW_NORMAL }
    }
}

impl Build<HookKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        if self.interval == 0 {
            return Err(BuildError::new("`interval` is 0").at("interval").help("use at least 1"));
        }
        Ok(Box::new(Logger { config: self.clone(), scalars: None, so_far: SoFar::default(), folder: PathBuf::new() }))
    }
}

#[derive(Debug)]
struct Logger {
    config: Config,
    scalars: Option<(PathBuf, File)>,
    so_far: SoFar,
    /// The folder of the checkpoint that the run goes on from.
    folder: PathBuf,
}

/// The lines that a resumed run takes over.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SoFar {
    /// `scalars.json` of the process, below the run's folder; none before the first line.
    file: Option<PathBuf>,
    /// Its length at the time of the checkpoint.
    bytes: u64,
}

impl SoFar {
    /// The lines, from the run in `root`.
    fn read(&self, root: &Path) -> std::io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        if let Some(file) = &self.file {
            File::open(root.join(file))?.take(self.bytes).read_to_end(&mut lines)?;
        }
        Ok(lines)
    }
}

/// Whether log lines show the mean over the window for this scalar, rather than its newest value.
fn averaged(name: &str) -> bool {
    ["loss", "time", "grad_norm"].iter().any(|it| name.contains(it))
}

/// Every scalar under `prefix/` with its value for a log line, `time` and `data_time` first.
fn values(messages: &MessageHub, prefix: &str, window: usize) -> Vec<(String, f64)> {
    let mut out: Vec<_> = messages
        .names(prefix)
        .map(|full| (full, full[prefix.len()..].to_owned()))
        .filter(|(_, name)| name != "momentum")
        .filter_map(|(full, name)| {
            let value = if averaged(&name) { messages.mean(full, window) } else { messages.latest(full) };
            Some((name, value?))
        })
        .collect();
    out.sort_by_key(|(name, _)| match name.as_str() {
        "lr" => 0,
        "time" => 1,
        "data_time" => 2,
        _ => 3,
    });
    out
}

/// `name: value` pairs, two blanks between.
fn pairs(values: &[(String, f64)]) -> String {
    values.iter().map(|(name, value)| format!("{name}: {}", float(*value))).collect::<Vec<_>>().join("  ")
}

impl Logger {
    fn write(&mut self, run: &RunInfo, row: &Map<String, Value>) -> Result<()> {
        let line = Value::Object(row.clone()).to_string() + "\n";
        self.append(run, line.as_bytes())
    }

    fn append(&mut self, run: &RunInfo, bytes: &[u8]) -> Result<()> {
        if self.scalars.is_none() {
            self.open(run)?;
        }
        let (path, file) = self.scalars.as_mut().expect("opened above");
        file.write_all(bytes).map_err(EngineError::io("write", path))?;
        self.so_far.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Begins this process's file, with the lines that it takes over.
    fn open(&mut self, run: &RunInfo) -> Result<()> {
        let before = self.so_far.read(&self.folder).unwrap_or_else(|error| {
            tracing::warn!("the scalars so far cannot be taken over: {error}");
            Vec::new()
        });
        let path = run.work_dir.vis_data().join("scalars.json");
        let file = File::options().create(true).append(true).open(&path).map_err(EngineError::io("open", &path))?;
        let below = path.strip_prefix(run.work_dir.path()).unwrap_or(&path).to_owned();
        self.scalars = Some((path, file));
        self.so_far = SoFar { file: Some(below), bytes: 0 };
        if before.is_empty() { Ok(()) } else { self.append(run, &before) }
    }
}

fn row(values: &[(String, f64)]) -> Map<String, Value> {
    values.iter().map(|(name, value)| (name.clone(), Value::from(*value))).collect()
}

impl Hook for Logger {
    fn changes_training(&self) -> bool {
        false
    }

    fn priority(&self) -> Priority {
        self.config.priority
    }

    fn stages(&self) -> &'static [Stage] {
        use Stage::{
            AfterLoadCheckpoint, AfterRun, AfterTestEpoch, AfterTestIter, AfterTrainIter, AfterValEpoch, AfterValIter,
            BeforeSaveCheckpoint, BeforeTrain,
        };
        &[
            AfterLoadCheckpoint,
            BeforeTrain,
            BeforeSaveCheckpoint,
            AfterTrainIter,
            AfterValIter,
            AfterValEpoch,
            AfterTestIter,
            AfterTestEpoch,
            AfterRun,
        ]
    }

    fn state(&self) -> Value {
        serde_json::to_value(&self.so_far).expect("plain data serialises")
    }

    fn load_state(&mut self, state: &Value) -> Result<()> {
        let so_far = serde_json::from_value(state.clone());
        self.so_far = so_far.map_err(|e| EngineError::Unfit(format!("the checkpoint's LoggerHook state: {e}")))?;
        Ok(())
    }

    fn after_load_checkpoint(&mut self, cx: &mut LoadContext<'_>) -> Result<()> {
        self.folder = cx.path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(())
    }

    fn before_train(&mut self, cx: &mut TrainContext<'_>) -> Result<()> {
        // Before anything is saved here: a checkpoint's path to the lines holds for its own run's folder.
        if self.so_far.file.is_some() { self.open(cx.run) } else { Ok(()) }
    }

    fn before_save_checkpoint(&mut self, cx: &mut SaveContext<'_>) -> Result<()> {
        // A checkpoint that counts on lines must not reach the disk before them.
        match &self.scalars {
            Some((path, file)) if cx.resumable => file.sync_data().map_err(EngineError::io("write", path)),
            _ => Ok(()),
        }
    }

    fn after_train_iter(&mut self, cx: &mut TrainStepContext<'_>) -> Result<()> {
        let progress = *cx.train.progress;
        let (step, len) = match progress.by_iter() {
            true => (progress.iter + 1, progress.max_iters()),
            false => (progress.batch + 1, progress.epoch_len),
        };
        let due = step.is_multiple_of(self.config.interval) || (step == len && !self.config.ignore_last);
        // A run shorter than the interval would otherwise say nothing at all.
        let only = len < self.config.interval && step == len;
        if !(due || only) {
            return Ok(());
        }
        let values = values(cx.train.messages, "train/", cx.train.run.log_window);
        let eta = cx.train.messages.latest("eta/train").unwrap_or_default();
        // The learning rate stands in front of the estimate, in a form of its own.
        let (lr, rest) = match values.split_first() {
            Some(((name, lr), rest)) if name == "lr" => (format!("lr: {:.4e}  ", Exponent(*lr)), rest),
            _ => (String::new(), &values[..]),
        };
        let width = len.to_string().len();
        let place = match progress.by_iter() {
            true => format!("Iter(train) [{step:>width$}/{len}]"),
            false => {
                let epoch_width = progress.max_epochs.to_string().len() + 3;
                let epoch = format!("[{}]", progress.epoch + 1);
                format!("Epoch(train){epoch:>epoch_width$}[{step:>width$}/{len}]")
            }
        };
        tracing::info!("{place}  {lr}eta: {}  {}", duration(eta), pairs(rest));
        let mut row = row(&values);
        row.insert("epoch".into(), (progress.epoch + 1).into());
        row.insert("iter".into(), (progress.iter + 1).into());
        row.insert("step".into(), (progress.iter + 1).into());
        self.write(cx.train.run, &row)
    }

    fn after_eval_iter(&mut self, cx: &mut EvalIterContext<'_>) -> Result<()> {
        if !(cx.index + 1).is_multiple_of(self.config.interval) {
            return Ok(());
        }
        let EvalContext { mode, run, progress, batches, messages, .. } = &cx.eval;
        let name = mode.name();
        let times: Vec<_> = values(messages, &format!("{name}/"), run.log_window);
        let (unit, epoch, epoch_width) = match mode {
            _ if progress.by_iter() => ("Iter", String::new(), 1),
            Mode::Val => ("Epoch", format!("[{}]", progress.epoch), progress.max_epochs.to_string().len() + 3),
            Mode::Test => ("Epoch", String::new(), 1),
        };
        tracing::info!(
            "{unit}({name}){epoch:>epoch_width$}[{:>width$}/{batches}]    eta: {}  {}",
            cx.index + 1,
            duration(messages.latest(&format!("eta/{name}")).unwrap_or_default()),
            pairs(&times),
            width = batches.to_string().len(),
        );
        Ok(())
    }

    fn after_eval_epoch(&mut self, cx: &mut EvalEpochContext<'_>) -> Result<()> {
        let EvalContext { mode, run, progress, batches, messages, .. } = &cx.eval;
        let (name, window) = (mode.name(), *batches);
        let time = |key: &str| messages.mean(&format!("{name}/{key}"), window).unwrap_or_default();
        let mut shown = cx.evaluation.values.clone();
        shown.push(("data_time".into(), time("data_time")));
        shown.push(("time".into(), time("time")));
        let (unit, epoch) = match mode {
            _ if progress.by_iter() => ("Iter", " ".into()),
            Mode::Val => ("Epoch", format!(" [{}]", progress.epoch)),
            Mode::Test => ("Epoch", " ".into()),
        };
        if let Some(table) = &cx.evaluation.table {
            tracing::info!("\n{table}");
        }
        tracing::info!("{unit}({name}){epoch}[{batches}/{batches}]    {}", pairs(&shown));
        let mut row = row(&shown);
        if *mode == Mode::Val {
            let step = if progress.by_iter() { progress.iter } else { progress.epoch };
            row.insert("step".into(), step.into());
            return self.write(run, &row);
        }
        let path = run.work_dir.test_metrics();
        let text = serde_json::to_string_pretty(&row).expect("numbers serialise") + "\n";
        std::fs::write(&path, text).map_err(EngineError::io("write", &path))
    }

    fn after_run(&mut self, _: &mut RunContext<'_>) -> Result<()> {
        match self.scalars.take() {
            Some((path, file)) => file.sync_all().map_err(EngineError::io("write", &path)),
            None => Ok(()),
        }
    }
}

/// A number whose exponent has a sign and two digits, as C's `%e` prints it.
struct Exponent(f64);

impl std::fmt::LowerExp for Exponent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{:.*e}", f.precision().unwrap_or(4), self.0);
        let (digits, exponent) = text.split_once('e').expect("`e` is in it");
        let exponent: i32 = exponent.parse().expect("an integer follows `e`");
        write!(f, "{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_look_like_c() {
        let show = |x| format!("{:.4e}", Exponent(x));
        assert_eq!([show(0.01), show(0.0), show(123.0)], ["1.0000e-02", "0.0000e+00", "1.2300e+02"]);
    }

    #[test]
    fn losses_are_averaged_and_rates_are_not() {
        let mut hub = MessageHub::default();
        for (lr, loss) in [(0.1, 1.0), (0.2, 3.0)] {
            hub.push("train/loss_cls", loss);
            hub.push("train/lr", lr);
        }
        assert_eq!(values(&hub, "train/", 50), [("lr".to_owned(), 0.2), ("loss_cls".to_owned(), 2.0)]);
    }
}
