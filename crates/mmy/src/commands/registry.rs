//! `mmy registry`.

use std::fmt::Write;

use mmy_registry::Entry;
use serde_json::{Value, json};

use crate::{
    cli::RegistryCommand,
    failure::{Failure, Outcome},
    output::{show, show_json},
};

pub fn run(command: RegistryCommand) -> Outcome {
    match command {
        RegistryCommand::List { kind, json } => list(kind.as_deref(), json),
        RegistryCommand::Show { name } => explain(&name),
    }
}

fn list(kind: Option<&str>, as_json: bool) -> Outcome {
    let kinds = mmy_registry::kinds();
    let kind = kind.map(|it| it.trim_end_matches('s').to_lowercase().replace('-', "_"));
    let same = |a: &str, b: &str| a.replace(' ', "_").trim_end_matches('s') == b.replace(' ', "_");
    if let Some(wanted) = kind.as_deref().filter(|wanted| !kinds.iter().any(|it| same(it, wanted))) {
        let near = mmy_diag::nearest(wanted, kinds.iter().copied());
        let hint = near.map(|it| format!("; did you mean `{it}`?")).unwrap_or_default();
        return Err(Failure::User(format!("there is no kind `{wanted}`{hint}\n  kinds: {}", kinds.join(", "))));
    }
    let entries = mmy_registry::entries();
    let chosen: Vec<_> = entries.into_iter().filter(|it| kind.as_deref().is_none_or(|k| same(it.kind, k))).collect();
    if as_json {
        let rows: Vec<_> = chosen.iter().map(|it| row(it)).collect();
        return show_json(&rows);
    }
    let mut out = String::new();
    let width = chosen.iter().map(|it| it.name.len()).max().unwrap_or(0);
    let mut last = "";
    for entry in chosen {
        if entry.kind != last {
            let _ = writeln!(out, "{}{}", if last.is_empty() { "" } else { "\n" }, entry.kind);
            last = entry.kind;
        }
        let _ = writeln!(out, "  {:width$}  {}  ({})", entry.name, first_sentence(entry), entry.krate);
    }
    show(&out)
}

fn row(entry: &Entry) -> Value {
    json!({
        "kind": entry.kind,
        "name": entry.name,
        "about": first_sentence(entry),
        "crate": entry.krate,
        "version": entry.version,
        "file": entry.file,
        "line": entry.line,
    })
}

fn doc(entry: &Entry) -> String {
    let schema = entry.schema();
    schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn first_sentence(entry: &Entry) -> String {
    let doc = doc(entry);
    let paragraph = doc.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    match paragraph.split_once(". ") {
        Some((first, _)) => first.to_owned(),
        None => paragraph.trim_end_matches('.').to_owned(),
    }
}

fn explain(name: &str) -> Outcome {
    let entries = mmy_registry::entries();
    let bare = name.rsplit(['.', ':']).next().unwrap_or(name);
    let found: Vec<_> = entries.iter().filter(|it| it.name == bare).collect();
    if found.is_empty() {
        let near = mmy_diag::nearest(bare, entries.iter().map(|it| it.name));
        let hint =
            near.map_or_else(|| "; `mmy registry list` shows all".into(), |it| format!("; did you mean `{it}`?"));
        return Err(Failure::User(format!("nothing is called `{name}`{hint}")));
    }
    show(&found.into_iter().map(|it| manual(it)).collect::<Vec<_>>().join("\n"))
}

/// What a part is, where it is written, and its keys.
fn manual(entry: &Entry) -> String {
    let mut out = format!("{} ({})\n", entry.name, entry.kind);
    let _ = writeln!(out, "{} {}, {}:{}\n\n{}", entry.krate, entry.version, entry.file, entry.line, doc(entry));
    let schema = entry.schema();
    let required: Vec<_> = schema.get("required").and_then(Value::as_array).into_iter().flatten().collect();
    let keys = schema.get("properties").and_then(Value::as_object);
    for (number, (key, property)) in keys.into_iter().flatten().enumerate() {
        if number == 0 {
            out.push_str("\nkeys:\n");
        }
        let needed = required.iter().any(|it| it.as_str() == Some(key));
        let default = match property.get("default") {
            _ if needed => ", required".to_owned(),
            Some(value) if !value.is_null() => format!(" = {value}"),
            _ => ", optional".to_owned(),
        };
        let _ = writeln!(out, "  {key}: {}{default}", type_name(property, schema.as_value()));
        for line in description(property).lines() {
            let _ = writeln!(out, "      {line}");
        }
    }
    out
}

fn description(property: &Value) -> &str {
    property.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// A type in words: `integer`, `list of number`, `any backbone`, `"linear" | "cosine"`.
fn type_name(property: &Value, root: &Value) -> String {
    if let Some(kind) = property.get("x-mmy-kind").and_then(Value::as_str) {
        return format!("any {kind}");
    }
    if let Some(target) = property.get("$ref").and_then(Value::as_str) {
        let resolved = target.strip_prefix('#').and_then(|it| root.pointer(it));
        return resolved.map_or_else(|| target.to_owned(), |it| type_name(it, root));
    }
    for any in ["anyOf", "oneOf"] {
        if let Some(options) = property.get(any).and_then(Value::as_array) {
            let names = options.iter().map(|it| type_name(it, root)).filter(|it| it != "null");
            return names.collect::<Vec<_>>().join(" | ");
        }
    }
    if let Some(value) = property.get("const") {
        return value.to_string();
    }
    if let Some(values) = property.get("enum").and_then(Value::as_array) {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    let of_items = |key: &str| property.get(key).map(|it| type_name(it, root));
    match property.get("type") {
        Some(Value::String(name)) if name == "array" => match (property.get("prefixItems"), of_items("items")) {
            (Some(Value::Array(items)), _) => {
                format!("[{}]", items.iter().map(|it| type_name(it, root)).collect::<Vec<_>>().join(", "))
            }
            (_, Some(items)) => format!("list of {items}"),
            _ => "list".into(),
        },
        Some(Value::String(name)) if name == "object" => "table".into(),
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).filter(|it| *it != "null").collect::<Vec<_>>().join(" | ")
        }
        _ => "any value".into(),
    }
}
