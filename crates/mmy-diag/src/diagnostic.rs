//! One finding.

use annotate_snippets::{AnnotationKind, Group, Level, Snippet};
use serde_json::{Value, json};

use crate::{Code, Loc, Sources, sources::floor};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing can run.
    Error,
    /// The run goes on, but something is probably not meant.
    Warning,
}

/// A place and a few words about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// Where.
    pub loc: Loc,
    /// What is to be said there; may be empty.
    pub text: String,
}

/// One finding: what is wrong, where, why, and what to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    /// Which mistake it is.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, one sentence without a full stop.
    pub title: String,
    /// The place at fault.
    pub primary: Option<Label>,
    /// Further places that explain it.
    pub notes: Vec<Label>,
    /// How one gets to the place at fault, such as the `_base_` chain.
    pub trail: Vec<String>,
    /// What to do, nearest name first.
    pub help: Vec<String>,
}

impl Diagnostic {
    /// A finding without a place yet. A code that begins with `W` makes it a warning.
    pub fn new(code: Code, title: impl Into<String>) -> Self {
        let severity = if code.id().starts_with('W') { Severity::Warning } else { Severity::Error };
        Diagnostic {
            code,
            severity,
            title: title.into(),
            primary: None,
            notes: Vec::new(),
            trail: Vec::new(),
            help: Vec::new(),
        }
    }

    /// The place at fault; `None` leaves the finding without one.
    #[must_use]
    pub fn primary(mut self, loc: impl Into<Option<Loc>>, text: impl Into<String>) -> Self {
        self.primary = loc.into().map(|loc| Label { loc, text: text.into() });
        self
    }

    /// Adds a place that explains the finding; `None` adds nothing.
    #[must_use]
    pub fn note(mut self, loc: impl Into<Option<Loc>>, text: impl Into<String>) -> Self {
        self.notes.extend(loc.into().map(|loc| Label { loc, text: text.into() }));
        self
    }

    /// Adds a line on how one gets to the place at fault.
    #[must_use]
    pub fn trail(mut self, line: impl Into<String>) -> Self {
        self.trail.push(line.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, line: impl Into<String>) -> Self {
        self.help.push(line.into());
        self
    }

    pub(crate) fn group<'a>(&'a self, sources: &'a Sources) -> Group<'a> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.title.as_str()).id(self.code.id()));
        // Places in one file share a picture of it; the file of the primary comes first.
        let labels = self.primary.iter().map(|it| (it, AnnotationKind::Primary));
        let labels: Vec<_> = labels.chain(self.notes.iter().map(|it| (it, AnnotationKind::Context))).collect();
        let mut files: Vec<usize> = Vec::new();
        for (label, _) in &labels {
            if !files.contains(&label.loc.file) {
                files.push(label.loc.file);
            }
        }
        for file in files {
            let Some(source) = sources.get(file) else { continue };
            let mut snippet = Snippet::source(&*source.text).path(source.name.as_str());
            for (label, kind) in labels.iter().filter(|(it, _)| it.loc.file == file) {
                // A range past the end or inside a character would be a panic of the renderer.
                let start = floor(&source.text, label.loc.range.start);
                let end = floor(&source.text, label.loc.range.end).max(start);
                let text = (!label.text.is_empty()).then_some(label.text.as_str());
                snippet = snippet.annotation(kind.span(start..end).label(text));
            }
            group = group.element(snippet);
        }
        for line in &self.trail {
            group = group.element(Level::NOTE.message(line.as_str()));
        }
        for line in &self.help {
            group = group.element(Level::HELP.message(line.as_str()));
        }
        group
    }

    /// The finding as an object with `code`, `severity`, `title`, `primary` and `notes` (each with `file`, `line`,
    /// `column`, `end_line`, `end_column`, `text`), `trail` and `help`.
    pub fn to_json(&self, sources: &Sources) -> Value {
        let label = |it: &Label| {
            let end = Loc::new(it.loc.file, it.loc.range.end..it.loc.range.end);
            let (start, end) = (sources.position(&it.loc), sources.position(&end));
            json!({
                "file": sources.get(it.loc.file).map(|it| it.name.as_str()),
                "line": start.map(|it| it.line),
                "column": start.map(|it| it.column),
                "end_line": end.map(|it| it.line),
                "end_column": end.map(|it| it.column),
                "text": it.text,
            })
        };
        json!({
            "code": self.code.id(),
            "severity": match self.severity { Severity::Error => "error", Severity::Warning => "warning" },
            "title": self.title,
            "primary": self.primary.as_ref().map(label),
            "notes": self.notes.iter().map(label).collect::<Vec<_>>(),
            "trail": self.trail,
            "help": self.help,
        })
    }
}
