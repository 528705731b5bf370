//! What a run leaves so that it can be verified: where it started from, its first losses, and hashes of its first weights.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{Difference, EngineError, Manifest, Model, compare, digest, error::Result};

/// The file's name, in the process's own folder.
const FILE: &str = "trace.jsonl";
/// Steps that are traced: enough to see any difference, few enough that the file stays small.
const MOST: usize = 1024;

/// Where a run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Origin {
    /// From initial values.
    Initial,
    /// From the weights of a file.
    Weights(PathBuf),
    /// From a checkpoint, where another process had come.
    Resumed(PathBuf),
}

/// The first line of a trace: all that is needed to run it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Where the run began.
    pub origin: Origin,
    /// What a checkpoint of its very beginning would say of itself.
    pub manifest: Manifest,
}

/// A further line: the state before the first step, or a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Steps that were over then, in all of the run.
    pub step: usize,
    /// The loss and its parts.
    #[serde(with = "crate::number::named")]
    pub losses: Vec<(String, f64)>,
    /// Name and hash of each of the model's tensors after it; only at some steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tensors: Vec<(String, String)>,
}

/// Writes a trace.
#[derive(Debug)]
pub(crate) struct Tracer {
    path: PathBuf,
    file: File,
    /// Steps of this process so far.
    steps: usize,
}

impl Tracer {
    /// Begins a trace in `folder` with the state before the first step.
    pub fn start(folder: &Path, start: &Start, model: &Model) -> Result<Self> {
        let path = folder.join(FILE);
        let file = File::create(&path).map_err(EngineError::io("write", &path))?;
        let mut out = Tracer { path, file, steps: 0 };
        out.line(start)?;
        let step = start.manifest.progress.iter;
        out.line(&Step { step, losses: Vec::new(), tensors: hashes(model) })?;
        Ok(out)
    }

    /// Notes a step, while there are few. Weights are hashed ever more rarely, so that it costs nothing in the long run.
    pub fn step(&mut self, step: usize, losses: &[(String, f64)], model: &Model) -> Result<()> {
        self.steps += 1;
        if self.steps > MOST {
            return Ok(());
        }
        let hashed = self.steps <= 4 || self.steps.is_power_of_two();
        let tensors = if hashed { hashes(model) } else { Vec::new() };
        self.line(&Step { step, losses: losses.to_vec(), tensors })
    }

    fn line(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).expect("plain data serialises") + "\n";
        self.file.write_all(text.as_bytes()).map_err(EngineError::io("write", &self.path))
    }
}

fn hashes(model: &Model) -> Vec<(String, String)> {
    let short = |it: String| it.get(..16).unwrap_or_default().to_owned();
    model.tensors().into_iter().map(|(name, it)| (name, short(digest::tensor(&it)))).collect()
}

/// A trace that a process left.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Where it began.
    pub start: Start,
    /// The state before the first step, and the steps.
    pub steps: Vec<Step>,
}

impl Trace {
    /// Reads the trace in a process's own folder, if there is one. A last line that a kill cut short is left out.
    ///
    /// # Errors
    /// When it is there but cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EngineError::io("read", &path)(error)),
        };
        let mut lines = BufReader::new(file).lines();
        let first = lines.next().transpose().map_err(EngineError::io("read", &path))?.unwrap_or_default();
        let start = serde_json::from_str(&first)
            .map_err(|error| EngineError::Unfit(format!("`{}` is no trace: {error}", path.display())))?;
        let steps = lines.map_while(|it| serde_json::from_str(&it.ok()?).ok()).collect();
        Ok(Some(Trace { start, steps }))
    }

    /// The newest trace of the run in `work_dir` that starts at the run's beginning, or else the newest one that goes on
    /// from a checkpoint.
    ///
    /// # Errors
    /// When the folder or a trace cannot be read.
    pub fn newest(work_dir: &Path) -> Result<Option<Self>> {
        let entries = std::fs::read_dir(work_dir).map_err(EngineError::io("read", work_dir))?;
        let mut folders: Vec<_> = entries.flatten().map(|it| it.path()).filter(|it| it.is_dir()).collect();
        folders.sort();
        let mut resumed = None;
        for folder in folders.iter().rev() {
            match Trace::read(folder)? {
                Some(it) if it.steps.len() < 2 => {}
                Some(it) if matches!(it.start.origin, Origin::Resumed(_)) => resumed = resumed.or(Some(it)),
                Some(it) => return Ok(Some(it)),
                None => {}
            }
        }
        Ok(resumed)
    }

    /// Steps that it tells of.
    pub fn len(&self) -> usize {
        self.steps.len().saturating_sub(1)
    }

    /// Whether it tells of no step.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Holds another run of the same config against this one.
    pub fn against(&self, other: &Trace) -> Verdict {
        for (a, b) in self.steps.iter().zip(&other.steps) {
            let values = |it: &[(String, f64)]| it.iter().map(|it| (it.0.clone(), it.1.to_bits())).collect::<Vec<_>>();
            if values(&a.losses) != values(&b.losses) {
                let pairs = a.losses.iter().zip(&b.losses);
                // The sum comes first and says less than the part that makes it differ.
                let at = pairs.rev().find(|(a, b)| a.1.to_bits() != b.1.to_bits());
                let what = at.map_or("the parts of the loss".into(), |(a, b)| {
                    format!("`{}`, which was {} and is {}", a.0, a.1, b.1)
                });
                return Verdict::Differs { step: a.step, what };
            }
            let tensor = a.tensors.iter().zip(&b.tensors).find(|(a, b)| a != b);
            if let Some((a_row, _)) = tensor {
                return Verdict::Differs { step: a.step, what: format!("the tensor `{}`", a_row.0) };
            }
        }
        Verdict::Same
    }

    /// In what the data of two runs differ.
    pub fn data_against(&self, other: &Trace) -> Vec<Difference> {
        compare::data(&self.start.manifest.data, &other.start.manifest.data)
    }
}

/// What came of holding one run against another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every loss and every hash are the same.
    Same,
    /// The first thing that differs.
    Differs {
        /// Steps that were over; at the run's own beginning the initial state differs.
        step: usize,
        /// What differs.
        what: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(rows: &[(f64, &str)]) -> Trace {
        let text = r#"{"format":1,"mmy":"0","libtorch":"0","name":"n","config":"","classes":[],"progress":{"epoch":0,
            "iter":0,"batch":0,"val_pending":false,"max_epochs":1,"epoch_len":1},"seed":0,"threads":1,"metrics":[],
            "resumable":false,"hooks":{},"messages":{"scalars":[]}}"#;
        let start = Start { origin: Origin::Initial, manifest: serde_json::from_str(text).unwrap() };
        let step = |(step, (loss, hash)): (usize, &(f64, &str))| Step {
            step,
            losses: vec![("loss".into(), loss * 2.0), ("loss_cls".into(), *loss)],
            tensors: vec![("w".into(), (*hash).into())],
        };
        Trace { start, steps: rows.iter().enumerate().map(step).collect() }
    }

    #[test]
    fn the_first_difference_is_named() {
        let whole = trace(&[(0.5, "a"), (0.25, "b"), (0.1, "c")]);
        assert_eq!(whole.against(&trace(&[(0.5, "a"), (0.25, "b")])), Verdict::Same);
        let what = "`loss_cls`, which was 0.25 and is 0.3".to_owned();
        assert_eq!(whole.against(&trace(&[(0.5, "a"), (0.3, "x")])), Verdict::Differs { step: 1, what });
        let what = "the tensor `w`".to_owned();
        assert_eq!(whole.against(&trace(&[(0.5, "x"), (0.25, "b")])), Verdict::Differs { step: 0, what });
    }
}
