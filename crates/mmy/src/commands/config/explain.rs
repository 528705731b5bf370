//! `mmy config explain`.

use std::{collections::HashSet, fmt::Write};

use clap::Args;
use mmy_config::{Action, Change, Loaded, Node};
use serde_json::{Map, Value, json};

use super::origin;
use crate::{
    cli::ConfigArgs,
    failure::{Failure, Outcome},
    manual::{Found, Types},
    output::{show, show_json},
    project::schema_of_configs,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy config explain configs/starnet_s1_yolov5.toml model.bbox_head.loss_obj.loss_weight
  mmy config explain configs/starnet_s1_yolov5.toml num_classes --set num_classes=20
  mmy config explain configs/starnet_s1_yolov5.toml train_dataloader.dataset.pipeline.1.scale
  mmy config explain configs/starnet_s1_yolov5.toml --json    # every value")]
pub struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The value, as a dotted path; a bare name of `[vars]` means that variable. Without it, every value is explained
    key: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ExplainArgs) -> Outcome {
    // Not as a typed config: that a value is of the wrong type may be why one asks.
    let loaded = mmy_config::load(&args.config.config, &crate::project::options(&args.config))?;
    let types = Types::new(schema_of_configs());
    let explain = |path: &str| Explanation::new(&loaded, &types, path);
    let Some(key) = &args.key else {
        let all: Vec<_> = origin::leaves(&loaded.root).into_iter().map(|(path, _)| explain(&path)).collect();
        return match args.json {
            true => show_json(&all.iter().map(Explanation::to_json).collect::<Vec<_>>()),
            false => show(&all.iter().map(Explanation::to_text).collect::<Vec<_>>().join("\n")),
        };
    };
    let found = explain(&meant(&loaded, key));
    if !found.is_known() {
        return Err(found.unknown(key));
    }
    if args.json { show_json(&found.to_json()) } else { show(&found.to_text()) }
}

/// A bare name that is a variable means that variable; indices may be negative.
fn meant(loaded: &Loaded, key: &str) -> String {
    let first = key.split('.').next().unwrap_or(key);
    let path = if loaded.vars.child(first).is_some() { format!("vars.{key}") } else { key.to_owned() };
    let mut out: Vec<String> = Vec::new();
    for step in path.split('.') {
        let len = loaded.get(&out.join(".")).map_or(0, |it| it.items().len());
        let back = step.strip_prefix('-').and_then(|it| it.parse::<usize>().ok()).filter(|it| (1..=len).contains(it));
        out.push(back.map_or_else(|| step.to_owned(), |it| (len - it).to_string()));
    }
    out.join(".")
}

/// What is known about one value.
struct Explanation<'a> {
    loaded: &'a Loaded,
    path: String,
    node: Option<&'a Node>,
    changes: Vec<Change>,
    found: Option<Found>,
}

impl<'a> Explanation<'a> {
    fn new(loaded: &'a Loaded, types: &Types, path: &str) -> Self {
        let found = if path.starts_with("vars.") { None } else { types.find(loaded, path) };
        Explanation { loaded, path: path.to_owned(), node: loaded.get(path), changes: loaded.history(path), found }
    }

    fn is_known(&self) -> bool {
        self.node.is_some() || !self.changes.is_empty() || self.found.as_ref().is_some_and(|it| it.key.is_some())
    }

    fn unknown(&self, key: &str) -> Failure {
        let (parent, last) = self.path.rsplit_once('.').unwrap_or(("", &self.path));
        let mut known: Vec<String> = self.found.iter().flat_map(|it| it.known.clone()).collect();
        let there = self.loaded.get(parent).map(Node::entries).unwrap_or_default();
        known.extend(there.iter().map(|it| it.0.clone()));
        if parent.is_empty() {
            known.extend(self.loaded.vars.entries().iter().map(|it| it.0.clone()));
        }
        let near = mmy_diag::nearest(last, known.iter().map(String::as_str));
        let hint = near.map(|it| format!("; did you mean `{it}`?")).unwrap_or_default();
        Failure::User(format!("nothing is known of `{key}`: no file sets it, and no part has such a key{hint}"))
    }

    fn to_text(&self) -> String {
        let value = self.node.map_or_else(|| "not set".to_owned(), |it| shorten(&it.to_toml_inline()));
        let mut out = format!("{} = {value}\n", self.path);
        let key = self.found.as_ref().and_then(|it| Some((&it.owner, it.key.as_ref()?)));
        if let Some((owner, key)) = key {
            let _ = writeln!(out, "  {owner}: {}{}", key.kind, key.default_shown());
            for line in key.doc.lines() {
                let _ = writeln!(out, "    {line}");
            }
        }
        match self.changes.as_slice() {
            [] => out.push_str("  nobody sets it\n"),
            changes => {
                out.push_str("  set by, lowest layer first:\n");
                for change in changes {
                    let _ = writeln!(out, "    {}", self.change(change));
                }
                if self.node.is_none() {
                    out.push_str(
                        "  in the end it is not set: the last of these removes it, or its expression is none\n",
                    );
                }
            }
        }
        // An alias shows its target's place, and an element of a list with splices its own.
        let shown = self.changes.iter().any(|it| it.loc.is_some() && it.loc.as_ref() == self.node.and_then(Node::loc));
        if let Some(loc) = self.node.and_then(Node::loc).filter(|_| !shown) {
            let _ = writeln!(out, "  written at {}", self.line(loc, ""));
        }
        let mut seen = HashSet::from([self.path.clone()]);
        let mut reads = String::new();
        self.read(&self.path, &self.changes, 2, &mut seen, &mut reads);
        if !reads.is_empty() {
            let _ = write!(out, "  its expression reads:\n{reads}");
        }
        out
    }

    fn change(&self, change: &Change) -> String {
        let around = if change.path == self.path { String::new() } else { format!("`{}` ", change.path) };
        let Some(loc) = &change.loc else { return around };
        match change.action {
            Action::Set if self.loaded.sources.text(loc).is_empty() => {
                format!("{}  {around}", origin::place(self.loaded, loc))
            }
            Action::Set => self.line(loc, &around),
            Action::Append => format!("{}  adds to the list {around}", origin::place(self.loaded, loc)),
            Action::Remove => format!("{}  removes {around}", origin::place(self.loaded, loc)).trim_end().to_owned(),
        }
    }

    fn line(&self, loc: &mmy_diag::Loc, what: &str) -> String {
        let place = origin::place(self.loaded, loc);
        let written = origin::written(self.loaded, loc);
        // `--set lr=0.1` and `MMY__LR=0.1` say already what they set.
        if ["--set", "environment"].iter().any(|it| place.starts_with(it)) {
            return format!("{place}  {what}").trim_end().to_owned();
        }
        format!("{place}  {what}{written}")
    }

    /// What the last change's expressions read, and what those read in turn.
    fn read(&self, path: &str, changes: &[Change], depth: usize, seen: &mut HashSet<String>, out: &mut String) {
        let Some(last) = changes.last() else { return };
        let rest = path.strip_prefix(last.path.as_str()).unwrap_or_default().trim_start_matches('.');
        for read in self.loaded.reads(last, rest) {
            let pad = "  ".repeat(depth);
            let Some(target) = read.path else {
                let _ = writeln!(out, "{pad}{}  {}", read.name, special(&read.name));
                continue;
            };
            let value = self.loaded.get(&target).map_or_else(String::new, |it| shorten(&it.to_toml_inline()));
            let changes = self.loaded.history(&target);
            let place = match changes.last().and_then(|it| it.loc.as_ref()) {
                Some(loc) => origin::remark_at(self.loaded, loc),
                None => String::new(),
            };
            let _ = writeln!(out, "{pad}{target} = {value}    # {place}");
            if seen.insert(target.clone()) && depth < 12 {
                self.read(&target, &changes, depth + 1, seen, out);
            }
        }
    }

    fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("path".into(), self.path.as_str().into());
        out.insert("value".into(), self.node.map_or(Value::Null, Node::to_json));
        let at = self.node.and_then(Node::loc).map(|it| origin::json(self.loaded, it));
        out.insert("origin".into(), at.unwrap_or(Value::Null));
        let action = |it: &Change| match it.action {
            Action::Set => "set",
            Action::Append => "append",
            Action::Remove => "remove",
        };
        let change = |it: &Change| {
            let at = it.loc.as_ref().map(|it| origin::json(self.loaded, it));
            json!({ "action": action(it), "path": it.path, "at": at, "expressions": it.expressions })
        };
        out.insert("history".into(), self.changes.iter().map(change).collect());
        let rest =
            |it: &Change| self.path.strip_prefix(it.path.as_str()).unwrap_or_default().trim_matches('.').to_owned();
        let reads = self.changes.last().map(|it| self.loaded.reads(it, &rest(it))).unwrap_or_default();
        out.insert("reads".into(), reads.iter().map(|it| json!({ "name": it.name, "path": it.path })).collect());
        if let Some((owner, key)) = self.found.as_ref().and_then(|it| Some((&it.owner, it.key.as_ref()?))) {
            let key = json!({ "part": owner, "type": key.kind, "default": key.default, "required": key.required, "doc": key.doc });
            out.insert("key".into(), key);
        }
        out.into()
    }
}

/// What a name of expressions means that is no value of the tree.
fn special(name: &str) -> &'static str {
    match name.split('.').next().unwrap_or(name) {
        "_base_" => "the value before this file's own changes",
        "env" => "the environment",
        "fileDirname" | "fileBasename" | "fileBasenameNoExtension" | "fileExtname" => "the name of the file",
        _ => "a function, or a name that may be missing",
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
