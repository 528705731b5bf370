//! Where a value of a config comes from, in words.

use mmy_config::{Loaded, Node};
use mmy_diag::Loc;
use serde_json::{Value, json};

/// The place of a value as one says it: `configs/a.toml:3`, `--set lr=0.1`, `MMY__LR=0.1`, `built-in defaults:2`.
pub fn place(loaded: &Loaded, loc: &Loc) -> String {
    let Some(source) = loaded.sources.get(loc.file) else { return "an unknown place".to_owned() };
    match source.name.as_str() {
        "--set" => format!("--set {}", source.text.trim()),
        "environment" => format!("environment {}", source.text.trim()),
        name => format!("{name}:{}", loaded.sources.position(loc).map_or(0, |it| it.line)),
    }
}

/// What is written at a place, on one line and not too long.
pub fn written(loaded: &Loaded, loc: &Loc) -> String {
    let text = loaded.sources.text(loc).split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(90) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// A place, and what is written there where it is an expression.
pub fn remark_at(loaded: &Loaded, loc: &Loc) -> String {
    let written = written(loaded, loc);
    let expression = if written.contains("{{") { format!(" {written}") } else { String::new() };
    format!("{}{expression}", place(loaded, loc))
}

/// Place, expression, and what the value took the place of, on one line. `default` says what a value without a place is.
pub fn remark(loaded: &Loaded, node: &Node, default: impl FnOnce() -> String) -> String {
    let Some(loc) = node.loc() else { return default() };
    let mut out = remark_at(loaded, loc);
    for lower in node.overridden.iter().rev() {
        out += &format!(", over {}", place(loaded, lower));
    }
    // A remark in TOML is one line.
    out.replace(['\n', '\r'], " ")
}

/// A place as an object: `place`, `file`, `line`, `column`, `written`.
pub fn json(loaded: &Loaded, loc: &Loc) -> Value {
    let at = loaded.sources.position(loc);
    json!({
        "place": place(loaded, loc),
        "file": loaded.sources.get(loc.file).map(|it| it.name.as_str()),
        "line": at.map(|it| it.line),
        "column": at.map(|it| it.column),
        "written": loaded.sources.text(loc),
    })
}

/// The dotted path of every value that is no table and no list of them, with the value. Empty tables and lists count too.
pub fn leaves(root: &Node) -> Vec<(String, &Node)> {
    fn walk<'a>(node: &'a Node, path: String, out: &mut Vec<(String, &'a Node)>) {
        let below = |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
        if node.entries().is_empty() && node.items().is_empty() {
            if !path.is_empty() {
                out.push((path, node));
            }
            return;
        }
        node.entries().iter().for_each(|(key, it)| walk(it, below(key), out));
        node.items().iter().enumerate().for_each(|(at, it)| walk(it, below(&at.to_string()), out));
    }
    let mut out = Vec::new();
    walk(root, String::new(), &mut out);
    out
}
