//! Everything that can be said of a config before it runs.
//!
//! [`check`] reads the whole config, builds the model without allocating it, and holds the parts against each other and
//! against the files that they name. It opens no picture and makes no tensor. It does not stop at the first mistake: what
//! is wrong in one part hides nothing of another that can still be judged, and what only follows from a mistake is not
//! reported. `mmy config check` shows what it finds, and `mmy train` runs it first.
//!
//! Each rule is a function in `rules`, over a `Context`.

mod context;
mod explore;
mod model;
mod rules;

use mmy_config::{Loaded, read_at};
use mmy_diag::{Diagnostic, Report, Severity};
use mmy_engine::RunConfig;
use mmy_registry::recorded;

use context::Context;
pub use context::fault;

/// What the config is to be used for: whatever that does not need is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Anything. Data sets that are not on this machine at all are a warning.
    Anything,
    /// A training run on this machine.
    Training,
    /// A test on this machine.
    Testing,
    /// The model alone, without data.
    Model,
}

/// What [`check`] found.
#[derive(Debug)]
pub struct Checked {
    /// The typed config; nothing where there is an error.
    pub config: Option<RunConfig>,
    /// Errors first, then warnings.
    pub report: Report,
}

/// Finds everything that is wrong with a config, or probably not meant.
pub fn check(loaded: &Loaded, purpose: Purpose) -> Checked {
    // What parts log while they are built, they log again when they are built in earnest.
    let silent = tracing::subscriber::NoSubscriber::default();
    tracing::subscriber::with_default(silent, || examined(loaded, purpose))
}

fn examined(loaded: &Loaded, purpose: Purpose) -> Checked {
    let (read, parts) = recorded(|| read_at::<RunConfig>(loaded, ""));
    let mut out = loaded.errors.clone();
    out.extend(read.findings);
    let cx = Context { loaded, parts: &parts, purpose };
    let built = model::check(&cx, &mut out);
    rules::missing::check(&cx, &mut out);
    rules::groups::check(&cx, &mut out);
    rules::parts::check(&cx, &mut out);
    rules::classes::check(&cx, built.as_ref(), &mut out);
    rules::sizes::check(&cx, built.as_ref(), &mut out);
    rules::optim::check(&cx, built.as_ref(), &mut out);
    rules::warmup::check(&cx, &mut out);
    rules::files::check(&cx, &mut out);
    rules::idle::check(&cx, &mut out);
    out.extend(loaded.warnings.iter().cloned());
    let diagnostics = tidy(out);
    let errors = diagnostics.iter().any(|it| it.severity == Severity::Error);
    let config = read.value.filter(|_| !errors);
    Checked { config, report: Report::new(diagnostics, loaded.sources.clone()) }
}

/// Errors before warnings, and each finding once: an aliased table would tell of its parts for each of its places.
fn tidy(found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut out: Vec<Diagnostic> = Vec::new();
    for it in found {
        let same = |other: &Diagnostic| other.code == it.code && other.primary == it.primary && it.primary.is_some();
        if !out.iter().any(|other| same(other) && other.notes == it.notes) {
            out.push(it);
        }
    }
    out.sort_by_key(|it| it.severity);
    out
}
