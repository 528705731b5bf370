//! `mmy registry`.

mod docs;

use std::fmt::Write;

use mmy_registry::Entry;
use serde_json::{Value, json};

use crate::{
    cli::RegistryCommand,
    failure::{Failure, Outcome},
    manual::{self, first_sentence},
    output::{show, show_json},
};

pub use docs::DocsArgs;

pub fn run(command: RegistryCommand) -> Outcome {
    match command {
        RegistryCommand::List { kind, json } => list(kind.as_deref(), json),
        RegistryCommand::Show { name } => explain(&name),
        RegistryCommand::Docs(args) => docs::run(&args),
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
        let about = first_sentence(&manual::doc(entry));
        let _ = writeln!(out, "  {:width$}  {about}  ({})", entry.name, entry.krate);
    }
    show(&out)
}

fn row(entry: &Entry) -> Value {
    json!({
        "kind": entry.kind,
        "name": entry.name,
        "about": first_sentence(&manual::doc(entry)),
        "crate": entry.krate,
        "version": entry.version,
        "file": entry.file,
        "line": entry.line,
    })
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
    show(&found.into_iter().map(|it| part(it)).collect::<Vec<_>>().join("\n"))
}

/// What a part is, where it is written, and its keys.
fn part(entry: &Entry) -> String {
    let mut out = format!("{} ({})\n", entry.name, entry.kind);
    let place = format!("{} {}, {}:{}", entry.krate, entry.version, entry.file, entry.line);
    let _ = writeln!(out, "{place}\n\n{}", manual::doc(entry));
    for (number, key) in manual::keys(entry.schema().as_value()).iter().enumerate() {
        if number == 0 {
            out.push_str("\nkeys:\n");
        }
        let _ = writeln!(out, "  {}: {}{}", key.name, key.kind, key.default_shown());
        for line in key.doc.lines() {
            let _ = writeln!(out, "      {line}");
        }
    }
    out
}
