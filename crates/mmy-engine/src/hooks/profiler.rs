//! Where the time of a training step goes.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Hook, HookKind, Stage, StepTimes, TrainContext, TrainIterContext, TrainStepContext};
use crate::{EngineError, Priority, RunInfo, error::Result};

register!(HookKind, "ProfilerHook", Config);

/// Measures the parts of some training steps: waiting for data, forward pass, backward pass, optimiser, hooks and the rest.
///
/// A table of them, with the memory that the process held, goes to the log, and the single steps to
/// `vis_data/profile.json`, which `chrome://tracing` and Perfetto show.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Steps of this process that are let pass first: they fill caches.
    pub skip: usize,
    /// Steps that are measured.
    pub steps: usize,
    /// When it runs among the hooks of one stage.
    pub priority: Priority,
}

impl Default for Config {
    fn default() -> Self {
        Config { skip: 3, steps: 50, priority: Priority::VERY_LOW }
    }
}

impl Build<HookKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        if self.steps == 0 {
            return Err(BuildError::new("`steps` is 0").at("steps").help("use at least 1"));
        }
        let now = Instant::now();
        Ok(Box::new(Profiler { config: self.clone(), began: now, mark: now, data: Duration::ZERO, laps: Vec::new() }))
    }
}

#[derive(Debug)]
struct Profiler {
    config: Config,
    /// When the first step began.
    began: Instant,
    /// The end of the last step, or the end of the wait for this one's data.
    mark: Instant,
    /// How long this step waited for its data.
    data: Duration,
    /// What is measured so far, with the steps that are let pass.
    laps: Vec<Lap>,
}

/// One step.
#[derive(Debug, Clone, Copy)]
struct Lap {
    /// From the first step's beginning to this one's.
    start: Duration,
    parts: [Duration; PARTS.len()],
}

const PARTS: [&str; 5] = ["data", "forward", "backward", "optimizer", "hooks and rest"];

impl Profiler {
    fn is_over(&self) -> bool {
        self.laps.len() >= self.config.skip + self.config.steps
    }

    /// Notes a step that has just ended.
    fn note(&mut self, StepTimes { forward, backward, optimizer }: StepTimes) {
        let since_data = self.mark.elapsed();
        let rest = since_data.saturating_sub(forward + backward + optimizer);
        let start = (self.mark - self.began).saturating_sub(self.data);
        self.laps.push(Lap { start, parts: [self.data, forward, backward, optimizer, rest] });
    }

    fn report(&self, run: &RunInfo) -> Result<()> {
        let measured = &self.laps[self.config.skip.min(self.laps.len())..];
        if measured.is_empty() {
            tracing::warn!(
                "ProfilerHook: the run ended before {} steps had passed: nothing is measured",
                self.config.skip
            );
            return Ok(());
        }
        tracing::info!("{}", table(measured));
        let path = run.work_dir.vis_data().join("profile.json");
        let text = serde_json::to_string(&trace(measured)).expect("plain data serialises");
        std::fs::write(&path, text).map_err(EngineError::io("write", &path))
    }
}

/// Each part's milliseconds in a step and share of the whole, and the memory.
fn table(laps: &[Lap]) -> String {
    let mut out = format!(
        "profile of {} training steps\n{:<16}{:>10}{:>10}{:>8}\n",
        laps.len(),
        "",
        "mean ms",
        "worst ms",
        "share"
    );
    let millis = |it: Duration| it.as_secs_f64() * 1e3;
    let whole = |lap: &Lap| lap.parts.iter().sum::<Duration>();
    let total: f64 = laps.iter().map(|it| millis(whole(it))).sum();
    let mut row = |name: &str, of: &dyn Fn(&Lap) -> Duration| {
        let sum: f64 = laps.iter().map(|it| millis(of(it))).sum();
        let worst = laps.iter().map(|it| millis(of(it))).fold(0.0, f64::max);
        let share = 100.0 * sum / total.max(f64::MIN_POSITIVE);
        let _ = writeln!(out, "{name:<16}{:>10.2}{worst:>10.2}{share:>7.1}%", sum / laps.len() as f64);
    };
    for (at, name) in PARTS.into_iter().enumerate() {
        row(name, &|lap| lap.parts[at]);
    }
    row("step", &whole);
    let mebibytes = |it: Option<u64>| it.map_or_else(|| "unknown".into(), |it| format!("{} MiB", it >> 20));
    let (now, peak) = (mmy_torch::alloc::resident(), mmy_torch::alloc::peak_resident());
    let _ = write!(out, "memory: {} now, {} at most", mebibytes(now), mebibytes(peak));
    out
}

/// The steps in Chrome's trace event format; times are in microseconds.
fn trace(laps: &[Lap]) -> Value {
    let micros = |it: Duration| it.as_secs_f64() * 1e6;
    let events = laps.iter().flat_map(|lap| {
        let mut at = lap.start;
        PARTS.iter().zip(lap.parts).map(move |(name, dur)| {
            let event = json!({"name": name, "ph": "X", "ts": micros(at), "dur": micros(dur), "pid": 1, "tid": 1});
            at += dur;
            event
        })
    });
    json!({ "traceEvents": events.collect::<Vec<_>>(), "displayTimeUnit": "ms" })
}

impl Hook for Profiler {
    fn priority(&self) -> Priority {
        self.config.priority
    }

    fn stages(&self) -> &'static [Stage] {
        &[Stage::BeforeTrain, Stage::BeforeTrainIter, Stage::AfterTrainIter, Stage::AfterTrain]
    }

    fn changes_training(&self) -> bool {
        false
    }

    fn before_train(&mut self, _: &mut TrainContext<'_>) -> Result<()> {
        self.began = Instant::now();
        self.mark = self.began;
        Ok(())
    }

    fn before_train_iter(&mut self, _: &mut TrainIterContext<'_>) -> Result<()> {
        self.data = self.mark.elapsed();
        self.mark = Instant::now();
        Ok(())
    }

    fn after_train_iter(&mut self, cx: &mut TrainStepContext<'_>) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        self.note(cx.times);
        self.mark = Instant::now();
        if self.is_over() { self.report(cx.train.run) } else { Ok(()) }
    }

    fn after_train(&mut self, cx: &mut TrainContext<'_>) -> Result<()> {
        // A run that was shorter has its report at the end.
        if self.is_over() { Ok(()) } else { self.report(cx.run) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_in_the_table_and_follow_one_another_in_the_trace() {
        let ms = Duration::from_millis;
        let laps = [
            Lap { start: ms(0), parts: [1, 20, 30, 4, 5].map(ms) },
            Lap { start: ms(60), parts: [3, 20, 30, 2, 5].map(ms) },
        ];
        let table = table(&laps);
        let row = |name: &str| {
            let line = table.lines().find(|it| it.starts_with(name)).unwrap();
            line[16..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(row("data"), ["2.00", "3.00", "3.3%"]);
        assert_eq!(row("step"), ["60.00", "60.00", "100.0%"]);
        let trace = trace(&laps);
        let events = trace["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), 10);
        assert_eq!(
            (&events[6]["name"], &events[6]["ts"], &events[6]["dur"]),
            (&json!("forward"), &json!(63000.0), &json!(20000.0))
        );
    }
}
