//! Which crates besides the core supply parts.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::{Entry, entries};

/// A crate outside of the core that supplies parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// The crate.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Hash of its source, where the program was made by `mmy build`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// The crates of the core that hold parts.
const CORE: [&str; 5] = ["mmy-data", "mmy-engine", "mmy-eval", "mmy-models", "mmy-nn"];

impl Entry {
    /// Whether the part belongs to mmy itself.
    pub fn is_core(&self) -> bool {
        CORE.contains(&self.krate)
    }
}

static SOURCES: OnceLock<&'static [(&'static str, &'static str)]> = OnceLock::new();

/// Notes crate names and hashes of their sources, which the crates themselves do not know. The first call counts.
pub fn note_sources(sources: &'static [(&'static str, &'static str)]) {
    let _ = SOURCES.set(sources);
}

/// Every plugin crate that is linked into this program, by name.
pub fn plugins() -> Vec<Plugin> {
    let sources = SOURCES.get().copied().unwrap_or_default();
    let mut out: Vec<_> = entries()
        .into_iter()
        .filter(|it| !it.is_core())
        .map(|it| Plugin {
            name: it.krate.to_owned(),
            version: it.version.to_owned(),
            source: sources.iter().find(|source| source.0 == it.krate).map(|it| it.1.to_owned()),
        })
        .collect();
    out.sort_unstable_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    out.dedup();
    out
}
