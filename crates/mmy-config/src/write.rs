//! A resolved tree to TOML and JSON.

use std::fmt::Write;

use toml_writer::{ToTomlKey, ToTomlValue, TomlKeyBuilder, TomlStringBuilder};

use crate::{Node, NodeKind, edit::join, template};

/// Lines longer than this are broken where TOML allows it.
const WIDTH: usize = 100;

/// A document with a header for each table, values before tables, and short lists on one line.
pub(crate) fn toml(root: &Node) -> String {
    let mut out = String::new();
    table(root, "", &mut out);
    out
}

fn table(node: &Node, path: &str, out: &mut String) {
    let (tables, values): (Vec<_>, Vec<_>) = node.entries().iter().partition(|(_, it)| it.is_map());
    if !path.is_empty() && (!values.is_empty() || tables.is_empty()) {
        let gap = if out.is_empty() { "" } else { "\n" };
        let _ = writeln!(out, "{gap}[{path}]");
    }
    for (key, node) in values {
        let key = self::key(key);
        let _ = writeln!(out, "{key} = {}", value(node, 0, key.len() + 3));
    }
    for (key, node) in tables {
        table(node, &join(path, &self::key(key)), out);
    }
}

/// A value that begins in the given column of a line with the given indent.
fn value(node: &Node, indent: usize, column: usize) -> String {
    let short = line(node);
    match &node.kind {
        NodeKind::List(items) if column + short.len() > WIDTH => {
            let pad = " ".repeat(indent + 4);
            let shown: String =
                items.iter().map(|it| format!("{pad}{},\n", value(it, indent + 4, indent + 5))).collect();
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
                let shown = if nested { value(node, indent, here) } else { line(node) };
                let _ = write!(out, "{comma}{key} = {shown}");
            }
            out + " }"
        }
        _ => short,
    }
}

/// A value on one line.
fn line(node: &Node) -> String {
    match &node.kind {
        NodeKind::Bool(it) => it.to_string(),
        NodeKind::Int(it) => it.to_string(),
        NodeKind::Float(it) if it.is_nan() => "nan".to_owned(),
        // The shortest text that reads back as the same number, with a point or an exponent.
        NodeKind::Float(it) => format!("{it:?}"),
        NodeKind::Str(it) => text(&template::escape(it)),
        NodeKind::List(items) => format!("[{}]", items.iter().map(line).collect::<Vec<_>>().join(", ")),
        NodeKind::Map(entries) if entries.is_empty() => "{}".to_owned(),
        NodeKind::Map(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(key, it)| format!("{} = {}", self::key(key), line(it))).collect();
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
