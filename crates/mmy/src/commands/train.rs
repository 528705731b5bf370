//! `mmy train`.

use std::path::{Path, PathBuf};

use mmy_check::Purpose;
use mmy_engine::{CheckpointError, EngineError, Interrupt, Resume, Runner, Start, WorkDir};

use crate::{
    cli::TrainArgs,
    failure::{Failure, Outcome},
    logging,
    progress::RunBars,
    project::Project,
};

pub fn run(args: TrainArgs) -> Outcome {
    let log = logging::start();
    let project = Project::load_for(&args.config, Purpose::Training)?;
    let root = project.work_dir(args.work_dir.clone());
    let from = resume(&args, &project, &root)?;
    let work_dir = WorkDir::create_for_training(&root).map_err(Failure::from)?;
    log.to_file(&work_dir.log_file()).map_err(Failure::io("open", work_dir.log_file()))?;
    tracing::info!("mmy {}, {} started in {}", env!("CARGO_PKG_VERSION"), project.name, root.display());
    let mut runner = Runner::for_training(Start {
        config: project.config.clone(),
        config_text: project.loaded.to_toml(),
        name: project.name.clone(),
        work_dir,
        interrupt: interrupt()?,
        observer: Box::new(RunBars::new(log.bars().clone())),
    })
    .map_err(|it| project.place(it))?;
    match runner.train(&from) {
        Ok(()) => {
            tracing::info!("done; checkpoints are in {}", root.display());
            Ok(())
        }
        Err(EngineError::Interrupted { resume_from: Some(path) }) => {
            tracing::info!("interrupted; the state is saved to {}", path.display());
            Err(Failure::Interrupted(Some(again(&args, &root))))
        }
        Err(EngineError::Checkpoint(error)) => Err(damaged(error)),
        Err(error) => Err(project.place(error)),
    }
}

/// A checkpoint that cannot be read or written, with the newest one beside it that can be.
fn damaged(error: CheckpointError) -> Failure {
    let path = error.path().to_owned();
    let whole = path.parent().and_then(|it| WorkDir::newest_whole(it).ok().flatten()).filter(|it| *it != path);
    let hint = whole.map(|it| format!("\n  the newest whole checkpoint is `{}`: go on with --resume", it.display()));
    let text = format!("{error}{}", hint.unwrap_or_default());
    match error {
        CheckpointError::Write { .. } => Failure::Other(text),
        _ => Failure::User(text),
    }
}

/// Ctrl-C and SIGTERM let the step finish; a second one ends the process at once.
pub fn interrupt() -> Outcome<Interrupt> {
    let interrupt = Interrupt::default();
    let switch = interrupt.clone();
    ctrlc::set_handler(move || {
        if switch.is_set() {
            std::process::exit(130);
        }
        switch.set();
        tracing::info!("finishing the step, then saving; once more ends at once");
    })
    .map_err(|error| Failure::Other(format!("cannot listen for Ctrl-C: {error}")))?;
    Ok(interrupt)
}

fn resume(args: &TrainArgs, project: &Project, root: &Path) -> Outcome<Resume> {
    let wanted = args.resume.is_some() || args.resume_anyway || (project.config.resume && args.load_from.is_none());
    let named = args.resume.clone().flatten().or_else(|| args.load_from.clone().or(project.config.load_from.clone()));
    let go_on = if args.resume_anyway { Resume::Anyway } else { Resume::From };
    Ok(match (wanted, named) {
        (false, None) => Resume::No,
        (false, Some(path)) => Resume::Weights(exists(path)?),
        (true, Some(path)) => go_on(exists(path)?),
        (true, None) => match WorkDir::newest_whole(root).map_err(Failure::from)? {
            Some(path) => go_on(exists(path)?),
            None => {
                tracing::warn!("there is no checkpoint in {} to go on from: starting afresh", root.display());
                Resume::No
            }
        },
    })
}

fn exists(path: PathBuf) -> Outcome<PathBuf> {
    if path.is_file() { Ok(path) } else { Err(Failure::User(format!("there is no checkpoint `{}`", path.display()))) }
}

/// The command that goes on where this one ended.
fn again(args: &TrainArgs, root: &Path) -> String {
    // `cargo mmy` sets it to say that it is how this process was started.
    let program = std::env::var("MMY_COMMAND").unwrap_or_else(|_| "mmy".into());
    let mut words = vec![program, "train".into(), quote(&args.config.config.display().to_string())];
    for set in &args.config.set {
        words.extend(["--set".into(), quote(set)]);
    }
    words.extend(["--work-dir".into(), quote(&root.display().to_string()), "--resume".into()]);
    words.join(" ")
}

/// Quotes a word for a POSIX shell where it needs it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=+,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn words_survive_a_shell() {
        let want = [("a.b=1", "a.b=1"), ("k=[1, 2]", "'k=[1, 2]'"), ("it's", r"'it'\''s'"), ("", "''"), ("~k", "'~k'")];
        for (word, quoted) in want {
            assert_eq!(quote(word), quoted);
        }
    }
}
