//! How a command ends when it does not end well.

use std::{collections::BTreeSet, fmt::Write, io::IsTerminal, path::PathBuf, process::ExitCode};

use mmy_diag::Report;
use mmy_engine::{CheckpointError, EngineError};

/// How a command ends when it does not end well.
#[derive(Debug)]
pub enum Failure {
    /// Mistakes in a config, with their places.
    Report(Box<Report>),
    /// A mistake in an argument or a file that the user gave.
    User(String),
    /// Something else.
    Other(String),
    /// Two things that were compared differ, which was said already.
    Differs,
    /// A mistake of the user's that was shown already, as the very output of the command.
    Told,
    /// Ctrl-C; what to type to go on.
    Interrupted(Option<String>),
}

/// What commands return.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// For `map_err` where a file that the user named is at fault.
    pub fn user(error: impl std::fmt::Display) -> Failure {
        Failure::User(error.to_string())
    }

    /// For `map_err` on file operations.
    pub fn io(action: &str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Failure {
        let text = format!("cannot {action} `{}`", path.into().display());
        move |error| Failure::Other(format!("{text}: {error}"))
    }

    /// What is shown, with a line break at the end.
    pub fn render(&self) -> String {
        let color = std::io::stderr().is_terminal() && color_wanted();
        match self {
            Failure::Told => String::new(),
            Failure::Report(report) => {
                let codes: BTreeSet<_> = report.diagnostics.iter().map(|it| it.code).collect();
                let codes: Vec<_> = codes.iter().map(|it| format!("`mmy explain {it}`")).collect();
                let more = if codes.len() == 1 { "says" } else { "say" };
                format!("{}\n\n{} {more} more\n", report.render(color), codes.join(", "))
            }
            Failure::User(text) | Failure::Other(text) => {
                let head = if color { "\x1b[1;31merror\x1b[0m" } else { "error" };
                format!("{head}: {text}\n")
            }
            Failure::Differs => String::new(),
            Failure::Interrupted(command) => {
                let mut out = String::from("interrupted\n");
                if let Some(command) = command {
                    let _ = write!(out, "go on with:\n  {command}\n");
                }
                out
            }
        }
    }

    /// The exit status.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Report(_) | Failure::User(_) | Failure::Told => 2,
            Failure::Other(_) | Failure::Differs => 1,
            Failure::Interrupted(_) => 130,
        })
    }
}

/// Whether nobody asked for plain text.
fn color_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none()
}

/// Whether standard output is to be in colour.
pub fn color() -> bool {
    std::io::stdout().is_terminal() && color_wanted()
}

impl From<Box<Report>> for Failure {
    fn from(report: Box<Report>) -> Self {
        Failure::Report(report)
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Failure::Report(Box::new(report))
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Interrupted { .. } => Failure::Interrupted(None),
            EngineError::Io { .. }
            | EngineError::Checkpoint(CheckpointError::Write { .. })
            | EngineError::Torch(_)
            | EngineError::Edge(_)
            | EngineError::OutOfMemory { .. }
            | EngineError::NotFinite { .. } => Failure::Other(error.to_string()),
            other => Failure::User(other.to_string()),
        }
    }
}
