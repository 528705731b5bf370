//! All that one pass found.

use std::fmt;

use annotate_snippets::Renderer;
use serde_json::Value;

use crate::{Diagnostic, Severity, Sources};

/// What one pass found, with the texts that its places point into. It is an [`std::error::Error`] whose message is the
/// plain rendering.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The findings, in order of discovery.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts.
    pub sources: Sources,
}

impl Report {
    /// The findings `diagnostics` about `sources`.
    pub fn new(diagnostics: impl IntoIterator<Item = Diagnostic>, sources: Sources) -> Self {
        Report { diagnostics: diagnostics.into_iter().collect(), sources }
    }

    /// Whether any finding keeps a run from starting.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|it| it.severity == Severity::Error)
    }

    /// The report as text with source lines, in colour for a terminal. There is no line feed at the end.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let shown: Vec<_> =
            self.diagnostics.iter().map(|it| renderer.render(&[it.group(&self.sources)]).to_string()).collect();
        shown.join("\n\n")
    }

    /// The findings as a JSON array, for editors; see [`Diagnostic::to_json`].
    pub fn to_json(&self) -> Value {
        self.diagnostics.iter().map(|it| it.to_json(&self.sources)).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use crate::{Code, Diagnostic, Loc, Report, Sources};

    #[test]
    fn shows_every_place_and_survives_wrong_ranges() {
        let mut sources = Sources::default();
        let child = sources.add("child.toml", "# gruß\nbase_dm = 24\n");
        let base = sources.add("base.toml", "type = \"StarNet\"");
        let finding = Diagnostic::new(Code::UnknownKey, "unknown key `base_dm`")
            .primary(Loc::new(child, 8..15), "no such key")
            .note(Loc::new(base, 7..16), "the type is chosen here")
            .trail("child.toml ← base.toml")
            .help("did you mean `base_dim`?");
        let outside = Diagnostic::new(Code::DeletesNothing, "nothing there").primary(Loc::new(base, 900..901), "here");
        let inside = Diagnostic::new(Code::Syntax, "half a letter").primary(Loc::new(child, 6..7), "");
        let report = Report::new([finding, outside, inside], sources);
        assert_eq!(
            report.to_string(),
            "\
error[E0201]: unknown key `base_dm`
 --> child.toml:2:1
  |
2 | base_dm = 24
  | ^^^^^^^ no such key
  |
 ::: base.toml:1:8
  |
1 | type = \"StarNet\"
  |        --------- the type is chosen here
  |
  = note: child.toml ← base.toml
  = help: did you mean `base_dim`?

warning[W0103]: nothing there
 --> base.toml:1:17
  |
1 | type = \"StarNet\"
  |                 ^ here

error[E0101]: half a letter
 --> child.toml:1:6
  |
1 | # gruß
  |      ^"
        );
        let json = report.to_json();
        assert_eq!(
            (json[0]["primary"]["line"].as_u64(), json[0]["primary"]["end_column"].as_u64()),
            (Some(2), Some(8))
        );
        assert!(report.has_errors());
    }
}
