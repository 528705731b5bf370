//! `mmy verify`.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{MultiProgress, ProgressBar};
use mmy_engine::{
    EngineError, Interrupt, MessageHub, Observer, Pass, Resume, Runner, Start, WorkDir,
    trace::{Origin, Trace, Verdict},
};

use crate::{
    failure::{Failure, Outcome},
    output::show,
    progress,
    project::Project,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Runs from where the run started, with its config, seed and threads, in a temporary folder. The exit status is 0 when every
loss and every hash of the weights is the same, 1 when one differs.

Examples:
  mmy verify work_dirs/starnet_s1_yolov5
  mmy verify work_dirs/starnet_s1_yolov5 --steps 200")]
pub struct VerifyArgs {
    /// Folder of a run of `mmy train`
    pub work_dir: PathBuf,
    /// Steps to run again; as many as were noted, at most 1024
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: u64,
}

pub fn run(args: &VerifyArgs) -> Outcome {
    let place = args.work_dir.display();
    if !args.work_dir.is_dir() {
        return Err(Failure::User(format!("there is no folder `{place}`")));
    }
    let trace = Trace::newest(&args.work_dir)?
        .ok_or_else(|| Failure::User(format!("`{place}` holds no trace of a run's first steps")))?;
    let steps = trace.len().min(args.steps as usize);
    let again = run_again(&trace, steps)?;
    let start = match &trace.start.origin {
        Origin::Initial => "from initial values".to_owned(),
        Origin::Weights(path) => format!("from the weights in {}", path.display()),
        Origin::Resumed(path) => format!("from the state in {}", path.display()),
    };
    match trace.against(&again) {
        Verdict::Same => {
            let hashed = again.steps.iter().filter(|it| !it.tensors.is_empty());
            let tensors: usize = hashed.map(|it| it.tensors.len()).sum();
            let mut text = format!("same: {} steps {start}, with {tensors} hashes of tensors\n", again.len());
            // Such as a box that no step has looked at yet.
            for it in trace.data_against(&again) {
                text += &format!("  although the data differ: {it}\n");
            }
            show(&text)
        }
        Verdict::Differs { step, what } => Err(Failure::Other(different(&trace, &again, step, &what))),
    }
}

/// What differs, and what may be the reason.
fn different(trace: &Trace, again: &Trace, step: usize, what: &str) -> String {
    let (was, is) = (&trace.start.manifest, &again.start.manifest);
    let mut text = match step == was.progress.iter {
        true => format!("it differs before the first step: {what}"),
        false => format!("it differs from step {step} on: {what}"),
    };
    for it in trace.data_against(again) {
        text += &format!("\n  {it}");
    }
    for (name, was, is) in [("mmy", &was.mmy, &is.mmy), ("libtorch", &was.libtorch, &is.libtorch)] {
        if was != is {
            text += &format!("\n  it was {name} {was}, this is {is}");
        }
    }
    text
}

fn run_again(trace: &Trace, steps: usize) -> Outcome<Trace> {
    let manifest = &trace.start.manifest;
    let mut project = Project::from_manifest(manifest)?;
    project.config.env_cfg.num_threads = Some(manifest.threads);
    let from = match &trace.start.origin {
        Origin::Initial => Resume::No,
        Origin::Weights(path) => Resume::Weights(there(path)?),
        Origin::Resumed(path) => Resume::Anyway(there(path)?),
    };
    let folder = tempfile::tempdir().map_err(Failure::io("make a folder in", std::env::temp_dir()))?;
    let interrupt = Interrupt::default();
    let bar = progress::bar(&MultiProgress::new(), "verify", steps as u64, "steps");
    let mut runner = Runner::for_training(Start {
        config: project.config.clone(),
        config_text: manifest.config.clone(),
        name: manifest.name.clone(),
        work_dir: WorkDir::create(folder.path())?,
        interrupt: interrupt.clone(),
        observer: Box::new(StopAfter { left: steps, interrupt, bar: bar.clone() }),
    })
    .map_err(|it| project.place(it))?;
    let ended = runner.train(&from);
    bar.finish_and_clear();
    match ended {
        Ok(()) | Err(EngineError::Interrupted { .. }) => {}
        Err(error) => return Err(project.place(error)),
    }
    let again = Trace::newest(folder.path())?.ok_or_else(|| Failure::Other("no step was run again".into()))?;
    if again.start.manifest.progress != manifest.progress {
        return Err(Failure::User("the checkpoint that the run started from has been written over since".into()));
    }
    Ok(again)
}

fn there(path: &Path) -> Outcome<PathBuf> {
    let gone = || Failure::User(format!("the run started from `{}`, which is not there any more", path.display()));
    path.is_file().then(|| path.to_owned()).ok_or_else(gone)
}

/// Ends the run after a number of training steps.
struct StopAfter {
    left: usize,
    interrupt: Interrupt,
    bar: ProgressBar,
}

impl Observer for StopAfter {
    fn batch_done(&mut self, pass: Pass, _: usize, _: &MessageHub) {
        if !matches!(pass, Pass::Train { .. } | Pass::Steps { .. }) {
            return;
        }
        self.bar.inc(1);
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.interrupt.set();
        }
    }
}
