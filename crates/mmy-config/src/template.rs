//! Finds the `{{ … }}` expressions in a text.

use std::ops::Range;

use crate::{Node, NodeKind};

/// A stretch of a text that may hold expressions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// Plain text.
    Text(String),
    /// The source between `{{` and `}}` and its byte range in the text.
    Expression(String, Range<usize>),
}

/// Splits a text into plain stretches and expressions. `Err` holds the range of a `{{` that nothing closes.
pub(crate) fn parts(text: &str) -> Result<Vec<Part>, Range<usize>> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find("{{").map(|it| it + at) {
        if open > at {
            out.push(Part::Text(text[at..open].to_owned()));
        }
        let inner = open + 2;
        let close = inner + closing(&text[inner..]).ok_or(open..text.len())?;
        out.push(Part::Expression(text[inner..close].to_owned(), inner..close));
        at = close + 2;
    }
    if at < text.len() {
        out.push(Part::Text(text[at..].to_owned()));
    }
    Ok(out)
}

/// Where the `}}` is that ends an expression; one inside quotes or inside a nested `{…}` does not.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0usize, None, false);
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '{') => depth += 1,
            (None, '}') if depth > 0 => depth -= 1,
            (None, '}') if text[at..].starts_with("}}") => return Some(at),
            _ => {}
        }
    }
    None
}

/// The one expression that a text consists of, with its range. Its value keeps its type.
pub(crate) fn whole(text: &str) -> Option<(String, Range<usize>)> {
    let parts = parts(text).ok()?;
    let mut expression = None;
    for part in parts {
        match part {
            Part::Text(blank) if blank.trim().is_empty() => {}
            Part::Expression(source, range) if expression.is_none() => expression = Some((source, range)),
            _ => return None,
        }
    }
    expression
}

/// The list expression of a text that is one splice, `{{ *list }}`, with its range.
pub(crate) fn splice(text: &str) -> Option<(String, Range<usize>)> {
    let (source, range) = whole(text)?;
    let blanks = source.len() - source.trim_start().len();
    let inner = source.trim_start().strip_prefix('*').filter(|it| !it.starts_with('*'))?;
    Some((inner.to_owned(), range.start + blanks + 1..range.end))
}

/// Whether this node is text with an expression in it, so that its value is not known before everything is merged.
pub(crate) fn is_late(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Str(text) if text.contains("{{"))
}

/// Writes plain text such that reading it again gives the same text.
pub(crate) fn escape(text: &str) -> String {
    // Blanks around a whole expression do not count, so that here they have to be inside.
    if text.trim() == "{{" { format!("{{{{ '{text}' }}}}") } else { text.replace("{{", "{{ '{{' }}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        let check = |text: &str, expect: &str| {
            let shown = match parts(text) {
                Ok(parts) => parts
                    .iter()
                    .map(|it| match it {
                        Part::Text(text) => format!("T[{text}]"),
                        Part::Expression(text, range) => format!("E{}[{text}]", range.start),
                    })
                    .collect::<String>(),
                Err(range) => format!("open at {}", range.start),
            };
            assert_eq!(shown, expect, "{text}");
        };
        check("plain { text }", "T[plain { text }]");
        check("{{ a }}", "E2[ a ]");
        check("{{a}}/{{b}}x", "E2[a]T[/]E8[b]T[x]");
        check("{{ {'a': {'b': 1}} }}", "E2[ {'a': {'b': 1}} ]");
        check("{{ '}}' }}", "E2[ '}}' ]");
        check(r"{{ 'it\'s }}' }}", r"E2[ 'it\'s }}' ]");
        check("x {{ a", "open at 2");
        check("{{ a }}}}", "E2[ a ]T[}}]");
    }

    #[test]
    fn escaped_text_reads_back() {
        assert_eq!(whole(&escape(" {{")).map(|it| it.0), Some(" ' {{' ".into()));
        for text in ["{{", "a {{ b }} c", "{{{", "{{{{", "}}"] {
            let back: String = parts(&escape(text))
                .unwrap()
                .into_iter()
                .map(|it| match it {
                    Part::Text(text) => text,
                    Part::Expression(source, _) => {
                        assert_eq!(source.trim(), "'{{'");
                        "{{".to_owned()
                    }
                })
                .collect();
            assert_eq!(back, text);
        }
    }

    #[test]
    fn whole_expressions_may_have_blanks_around() {
        assert_eq!(whole(" {{ a }} ").map(|it| it.0), Some(" a ".into()));
        assert_eq!(whole("{{ a }}{{ b }}"), None);
        assert_eq!(whole("x{{ a }}"), None);
    }
}
