//! A resolved tree to TOML and JSON.

use std::fmt::Write;

use toml_writer::{ToTomlKey, ToTomlValue, TomlKeyBuilder, TomlStringBuilder};

use crate::{Node, NodeKind, edit::join, template};

/// Lines longer than this are broken where TOML allows it.
const WIDTH: usize = 100;

/// How a document is written.
struct Style<'a> {
    /// Whether each element of a list of tables has a header of its own.
    headers: bool,
    /// What text becomes between quotes.
    text: &'a dyn Fn(&str) -> String,
    /// What is put behind the value at a dotted path.
    note: &'a dyn Fn(&str, &Node) -> Option<String>,
}

const PLAIN: Style<'static> = Style { headers: false, text: &template::escape, note: &|_, _| None };

/// A document with a header for each table, values before tables, and short lists on one line.
pub(crate) fn toml(root: &Node) -> String {
    document(root, &PLAIN)
}

/// A document whose texts hold expressions, as they are before anything is resolved.
pub(crate) fn unresolved(root: &Node) -> String {
    document(root, &Style { text: &str::to_owned, ..PLAIN })
}

/// A document with a remark behind each value for which `note` has one.
pub(crate) fn annotated(root: &Node, note: &dyn Fn(&str, &Node) -> Option<String>) -> String {
    document(root, &Style { headers: true, note, ..PLAIN })
}

/// One value on one line.
pub(crate) fn inline(node: &Node) -> String {
    line(node, &PLAIN)
}

fn document(root: &Node, style: &Style<'_>) -> String {
    let mut out = String::new();
    table(root, None, ("", ""), style, &mut out);
    out
}

/// Writes a table with its header; `path` is the one in headers and the one for remarks, which counts list elements.
fn table(node: &Node, header: Option<String>, path: (&str, &str), style: &Style<'_>, out: &mut String) {
    let rows = |it: &Node| style.headers && !it.items().is_empty() && it.items().iter().all(Node::is_map);
    let (tables, values): (Vec<_>, Vec<_>) = node.entries().iter().partition(|(_, it)| it.is_map() || rows(it));
    let element = header.as_ref().is_some_and(|it| it.starts_with("[["));
    if let Some(header) = header.filter(|_| element || !values.is_empty() || tables.is_empty()) {
        let gap = if out.is_empty() { "" } else { "\n" };
        let _ = writeln!(out, "{gap}{header}");
    }
    for (name, node) in values {
        let key = key(name);
        let mut shown = format!("{key} = {}", value(node, style, 0, key.len() + 3));
        if let Some(note) = (style.note)(&join(path.1, name), node) {
            // Behind the first line, where a list that is broken over several begins.
            let first = shown.find('\n').unwrap_or(shown.len());
            let gap = 40_usize.saturating_sub(shown[..first].chars().count()).max(2);
            shown.insert_str(first, &format!("{}# {note}", " ".repeat(gap)));
        }
        let _ = writeln!(out, "{shown}");
    }
    for (name, node) in tables {
        let (inner, dotted) = (join(path.0, &key(name)), join(path.1, name));
        if node.is_map() {
            table(node, Some(format!("[{inner}]")), (&inner, &dotted), style, out);
        }
        for (at, item) in node.items().iter().enumerate() {
            table(item, Some(format!("[[{inner}]]")), (&inner, &format!("{dotted}.{at}")), style, out);
        }
    }
}

/// A value that begins in the given column of a line with the given indent.
fn value(node: &Node, style: &Style<'_>, indent: usize, column: usize) -> String {
    let short = line(node, style);
    match &node.kind {
        NodeKind::List(items) if column + short.len() > WIDTH => {
            let pad = " ".repeat(indent + 4);
            let shown: String =
                items.iter().map(|it| format!("{pad}{},\n", value(it, style, indent + 4, indent + 5))).collect();
            format!("[\n{shown}{}]", " ".repeat(indent))
        }
        NodeKind::Map(entries) if column + short.len() > WIDTH => {
            // An inline table stays on its line, but a list inside it may be broken.
            let mut out = String::from("{ ");
            for (at, (key, node)) in entries.iter().enumerate() {
                let comma = if at == 0 { "" } else { ", " };
                let key = self::key(key);
                let here = column + out.rsplit('\n').next().map_or(0, str::len) + comma.len() + key.len() + 3;
                // Breaking a list of plain values would gain nothing.
                let nested = node.items().iter().any(|it| matches!(it.kind, NodeKind::Map(_) | NodeKind::List(_)));
                let shown = if nested { value(node, style, indent, here) } else { line(node, style) };
                let _ = write!(out, "{comma}{key} = {shown}");
            }
            out + " }"
        }
        _ => short,
    }
}

/// A value on one line.
fn line(node: &Node, style: &Style<'_>) -> String {
    match &node.kind {
        NodeKind::Bool(it) => it.to_string(),
        NodeKind::Int(it) => it.to_string(),
        NodeKind::Float(it) if it.is_nan() => "nan".to_owned(),
        // The shortest text that reads back as the same number, with a point or an exponent.
        NodeKind::Float(it) => format!("{it:?}"),
        NodeKind::Str(it) => text(&(style.text)(it)),
        NodeKind::List(items) => {
            format!("[{}]", items.iter().map(|it| line(it, style)).collect::<Vec<_>>().join(", "))
        }
        NodeKind::Map(entries) if entries.is_empty() => "{}".to_owned(),
        NodeKind::Map(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(key, it)| format!("{} = {}", self::key(key), line(it, style))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

fn key(key: &str) -> String {
    TomlKeyBuilder::new(key).as_default().to_toml_key()
}

/// Text on one line: as it is where TOML can, otherwise with escapes.
fn text(text: &str) -> String {
    let text = TomlStringBuilder::new(text);
    text.as_basic_pretty().or_else(|| text.as_literal()).unwrap_or_else(|| text.as_basic()).to_toml_value()
}

/// The tree as JSON, keys in the same order. JSON has no infinite numbers: they become `null`.
pub(crate) fn json(node: &Node) -> serde_json::Value {
    match &node.kind {
        NodeKind::Bool(it) => (*it).into(),
        NodeKind::Int(it) => (*it).into(),
        NodeKind::Float(it) => (*it).into(),
        NodeKind::Str(it) => it.as_str().into(),
        NodeKind::List(items) => items.iter().map(json).collect(),
        NodeKind::Map(entries) => {
            serde_json::Value::Object(entries.iter().map(|(key, it)| (key.clone(), json(it))).collect())
        }
    }
}
