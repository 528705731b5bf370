//! Values as mmengine's `--cfg-options` writes them.
//!
//! A whole number, else a number, else true, false or None in any case of letters, else text; what has a comma, or stands in
//! square or round brackets, is a list, and lists may hold lists. Quotes and blanks are dropped.

use mmy_diag::Loc;

use crate::{Node, NodeKind};

/// How deep lists may lie in each other.
const DEEPEST: usize = 64;

/// The value that `text` means, all of which stands at `loc`.
pub(crate) fn value(text: &str, loc: &Loc) -> Node {
    let plain: String = text.chars().filter(|it| !it.is_whitespace()).collect();
    parse(&plain, loc, 0)
}

fn parse(text: &str, loc: &Loc, depth: usize) -> Node {
    let text = text.trim_matches(['"', '\'']);
    let inner =
        [('[', ']'), ('(', ')')].into_iter().find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close));
    let items = match inner.filter(|it| balanced(it)) {
        Some("") => Some(Vec::new()),
        Some(inner) => Some(split(inner)),
        None => Some(split(text)).filter(|it| it.len() > 1),
    };
    let kind = match items {
        Some(items) if depth < DEEPEST => {
            NodeKind::List(items.into_iter().map(|it| parse(it, loc, depth + 1)).collect())
        }
        _ => scalar(text),
    };
    Node::new(kind, loc.clone())
}

fn scalar(text: &str) -> NodeKind {
    // Python lets digits be parted by single underscores, and numbers begin with zeros.
    let parted = !text.starts_with('_') && !text.ends_with('_') && !text.contains("__");
    let digits = if parted { text.replace('_', "") } else { text.to_owned() };
    if let Ok(whole) = digits.parse() {
        return NodeKind::Int(whole);
    }
    if let Ok(number) = digits.parse() {
        return NodeKind::Float(number);
    }
    match text.to_lowercase().as_str() {
        "true" => NodeKind::Bool(true),
        "false" => NodeKind::Bool(false),
        _ if text == "None" => NodeKind::Str("{{ none }}".to_owned()),
        _ => NodeKind::Str(text.to_owned()),
    }
}

/// The pieces between the commas that stand in no bracket. A comma at the very end ends the last piece.
fn split(text: &str) -> Vec<&str> {
    let (mut out, mut depth, mut start) = (Vec::new(), 0i64, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < text.len() || out.is_empty() {
        out.push(&text[start..]);
    }
    out
}

/// Whether every bracket is closed after it was opened, so that those around the text belong together.
fn balanced(text: &str) -> bool {
    let mut depth = 0i64;
    let closes = text.chars().all(|letter| {
        depth += i64::from(matches!(letter, '[' | '(')) - i64::from(matches!(letter, ']' | ')'));
        depth >= 0
    });
    closes && depth == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write;

    #[test]
    fn values_are_mmengines() {
        let check = |text: &str, expect: &str| {
            let shown = write::json(&value(text, &Loc::new(0, 0..text.len()))).to_string();
            assert_eq!(shown, expect, "{text}");
        };
        // Right of each: what `mmengine.config.DictAction` makes of it, tuples as lists.
        check("1", "1");
        check("01", "1");
        check("1_000", "1000");
        check("1e-3", "0.001");
        check("0x10", "\"0x10\"");
        check("True", "true");
        check("FALSE", "false");
        check("None", "\"{{ none }}\"");
        check("a b", "\"ab\"");
        check("\"quoted\"", "\"quoted\"");
        check("1,2", "[1,2]");
        check("[1,2]", "[1,2]");
        check("(1, 2)", "[1,2]");
        check("[(1,2),(3,4)]", "[[1,2],[3,4]]");
        check("[[a,b],1.5]", "[[\"a\",\"b\"],1.5]");
        check("(1,2),(3,4)", "[[1,2],[3,4]]");
        check("[]", "[]");
        check("[1]", "[1]");
    }
}
