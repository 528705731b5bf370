//! What a part says of itself before it is built.

use std::{any::Any, cell::RefCell, fmt, path::PathBuf};

use crate::{BuildError, Entry};

/// What a part knows of itself from its own keys alone, for the check of a config: nothing is opened or allocated for it.
#[derive(Default)]
pub struct Outline {
    /// Keys that have no effect beside the part's other keys.
    pub idle: Vec<Idle>,
    /// Files and folders that the part will read.
    pub reads: Vec<Reads>,
    /// What is wrong with the part's own keys, as far as that is known before it is built.
    pub problems: Vec<BuildError>,
    facts: Vec<Box<dyn Any>>,
}

/// A key that has no effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Idle {
    /// The key, from the part's table; dots separate nested keys.
    pub key: &'static str,
    /// Why it has none, as the end of a sentence: `pictures are never left out when testing`.
    pub why: String,
}

/// A file or folder that a part will read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reads {
    /// The key that names it, from the part's table.
    pub key: &'static str,
    /// Where it is looked for.
    pub path: PathBuf,
    /// Whether it is a folder.
    pub folder: bool,
    /// The folder of the whole data set: where even that is missing, the data are on another machine.
    pub root: Option<PathBuf>,
}

impl Outline {
    /// Says that `key` has no effect.
    #[must_use]
    pub fn idle(mut self, key: &'static str, why: impl Into<String>) -> Self {
        self.idle.push(Idle { key, why: why.into() });
        self
    }

    /// Says that the part will read a file, or a folder.
    #[must_use]
    pub fn reads(mut self, reads: Reads) -> Self {
        self.reads.push(reads);
        self
    }

    /// Says what is wrong with the part's own keys.
    #[must_use]
    pub fn problem(mut self, checked: Result<(), BuildError>) -> Self {
        self.problems.extend(checked.err());
        self
    }

    /// Adds something that the check of this kind of part asks for.
    #[must_use]
    pub fn fact(mut self, fact: impl Any) -> Self {
        self.facts.push(Box::new(fact));
        self
    }

    /// The fact of that type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.facts.iter().find_map(|it| it.downcast_ref())
    }
}

impl fmt::Debug for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outline").field("idle", &self.idle).field("reads", &self.reads).finish_non_exhaustive()
    }
}

/// A part that was read from a config.
#[derive(Debug)]
pub struct Used {
    /// Dotted path of its table.
    pub path: String,
    /// What `type` named.
    pub entry: &'static Entry,
    /// What it says of itself.
    pub outline: Outline,
}

thread_local! {
    static RECORD: RefCell<Option<Vec<Used>>> = const { RefCell::new(None) };
}

/// Reads something, and lists every part that was read on the way, however deep it lies: those around others come last.
/// A part that was read again counts once.
pub fn recorded<T>(read: impl FnOnce() -> T) -> (T, Vec<Used>) {
    let outer = RECORD.replace(Some(Vec::new()));
    let out = read();
    (out, RECORD.replace(outer).unwrap_or_default())
}

/// Notes a part, if somebody records. One without a path was not read from a config.
pub(crate) fn note(path: &str, entry: &'static Entry, outline: impl FnOnce() -> Outline) {
    RECORD.with_borrow_mut(|record| {
        if let Some(list) = record.as_mut().filter(|_| !path.is_empty()) {
            list.retain(|it| it.path != path);
            list.push(Used { path: path.to_owned(), entry, outline: outline() });
        }
    });
}
