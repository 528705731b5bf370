//! The texts that findings point into.

use std::{ops::Range, path::Path, sync::Arc};

/// A stretch of a source text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Loc {
    /// Index into [`Sources`].
    pub file: usize,
    /// Bytes of the text.
    pub range: Range<usize>,
}

impl Loc {
    /// The bytes `range` of the source `file`.
    pub fn new(file: usize, range: Range<usize>) -> Self {
        Loc { file, range }
    }
}

/// Line and column, both counted from one; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from one.
    pub line: usize,
    /// Column in characters, from one.
    pub column: usize,
}

/// One text and the name to show for it: a path, `--set`, an environment variable.
#[derive(Debug, Clone)]
pub struct Source {
    /// What is shown before `line:column`.
    pub name: String,
    /// The whole text.
    pub text: Arc<str>,
}

/// Every text that was read, by index.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    list: Vec<Source>,
}

impl Sources {
    /// Keeps a text and returns its index.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> usize {
        self.list.push(Source { name: name.into(), text: text.into() });
        self.list.len() - 1
    }

    /// Keeps the text of a file under its path.
    pub fn add_file(&mut self, path: &Path, text: impl Into<Arc<str>>) -> usize {
        self.add(path.display().to_string(), text)
    }

    /// The source with that index.
    pub fn get(&self, file: usize) -> Option<&Source> {
        self.list.get(file)
    }

    /// The text that `loc` covers.
    pub fn text(&self, loc: &Loc) -> &str {
        self.get(loc.file).and_then(|it| it.text.get(loc.range.clone())).unwrap_or("")
    }

    /// Where `loc` begins.
    pub fn position(&self, loc: &Loc) -> Option<Position> {
        let text = &self.get(loc.file)?.text;
        let before = &text[..floor(text, loc.range.start)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Some(Position { line, column })
    }

    /// `name:line:column` of where `loc` begins.
    pub fn show(&self, loc: &Loc) -> String {
        match (self.get(loc.file), self.position(loc)) {
            (Some(source), Some(at)) => format!("{}:{}:{}", source.name, at.line, at.column),
            _ => "an unknown place".into(),
        }
    }

    /// Every source, in order of reading.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.list.iter()
    }
}

/// The largest character boundary of `text` that is not above `index`.
pub(crate) fn floor(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|&it| text.is_char_boundary(it)).unwrap_or(0)
}
