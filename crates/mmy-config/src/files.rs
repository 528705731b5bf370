//! Reads a file and its `_base_` chain into layers.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Component, Path, PathBuf},
};

use figment::Source;
use mmy_diag::{Code, Diagnostic, Loc, Sources, nearest};

use crate::{Node, NodeKind, json, merge::Layer, read};

/// The key that names the files that a file builds on.
const BASE: &str = "_base_";

/// The key by which a file says that it is on its way out.
const DEPRECATION: &str = "_deprecation_";

/// Every file that was read, bases before what builds on them.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub layers: Vec<Layer>,
    /// The path of each layer, as one would write it from the working directory.
    pub paths: Vec<PathBuf>,
    pub sources: Sources,
    pub out: Vec<Diagnostic>,
    /// The keys of the root: in a JSON file, any other is a variable.
    pub root_keys: Vec<String>,
    /// The layer of each file that was read whole; `None` when it could not be read.
    done: HashMap<PathBuf, Option<usize>>,
    /// The files that are being read, outermost first, each with the place that named it.
    open: Vec<(PathBuf, PathBuf, Option<Loc>)>,
    /// For each source, the place that named it first.
    pub named_by: HashMap<usize, Loc>,
}

impl Files {
    /// Reads a file and what it builds on; the position of its layer.
    pub fn read(&mut self, path: &Path, named_by: Option<Loc>) -> Option<usize> {
        // Behind a symbolic link `dir/..` is not the folder of `dir`.
        let real = std::fs::canonicalize(path).ok();
        let path = Some(tidy(path)).filter(|it| std::fs::canonicalize(it).ok() == real).unwrap_or(path.to_owned());
        let identity = real.unwrap_or_else(|| path.clone());
        if self.open.iter().any(|(it, ..)| *it == identity) {
            self.cycle(&identity, &path, named_by);
            return None;
        }
        if let Some(&done) = self.done.get(&identity) {
            return done;
        }
        // A device or a pipe might never end. What the caller names himself may be one: a shell makes them.
        let plain = |it: std::fs::Metadata| named_by.is_none() || it.is_file() || it.is_dir();
        let strange = || std::io::Error::other("it is no plain file");
        let there = std::fs::metadata(&path).and_then(|it| if plain(it) { Ok(()) } else { Err(strange()) });
        let layer = match there.and_then(|()| std::fs::read_to_string(&path)) {
            Ok(text) => {
                self.open.push((identity.clone(), path.clone(), named_by.clone()));
                let layer = self.text(&path, text, named_by);
                self.open.pop();
                Some(layer)
            }
            Err(error) => {
                self.unreadable(&path, &error, named_by);
                None
            }
        };
        self.done.insert(identity, layer);
        layer
    }

    /// The layer of a text, whose bases are looked for beside `path`.
    pub fn text(&mut self, path: &Path, text: String, named_by: Option<Loc>) -> usize {
        let file = self.sources.add_file(path, text.as_str());
        if let Some(loc) = named_by {
            self.named_by.insert(file, loc);
        }
        let is_json = path.extension().is_some_and(|it| it == "json");
        let mut tree = if is_json {
            json::document(&text, file, &self.root_keys, &mut self.out)
        } else {
            read::document(&text, file, &mut self.out)
        };
        self.deprecation(path, &mut tree);
        let mut ancestors = BTreeSet::new();
        for (base, loc) in self.bases(&mut tree) {
            let folder = path.parent().unwrap_or(Path::new(""));
            if let Some(layer) = self.read(&folder.join(base), loc) {
                ancestors.extend(self.layers[layer].ancestors.iter().copied().chain([layer]));
            }
        }
        let source = Source::File(path.to_owned());
        self.layers.push(Layer { source, file, tree, ancestors, is_json });
        self.paths.push(path.to_owned());
        self.layers.len() - 1
    }

    /// A file says that it is on its way out: `_deprecation_ = { expected = "other.toml", reference = "why" }`.
    fn deprecation(&mut self, path: &Path, tree: &mut Node) {
        let Some(mark) = tree.remove(DEPRECATION) else { return };
        let text = |key: &str| mark.child(key).and_then(Node::as_str);
        let title = format!("`{}` is on its way out", path.display());
        let mut finding = Diagnostic::new(Code::Deprecated, title).primary(mark.loc().cloned(), "it says so here");
        finding.help.extend(text("expected").map(|it| format!("use `{it}` in its place")));
        finding.help.extend(text("reference").map(|it| format!("see {it}")));
        self.out.push(finding);
        let known = ["expected", "reference"];
        let wrong = mark.entries().iter().find(|(key, it)| !known.contains(&key.as_str()) || it.as_str().is_none());
        if wrong.is_some() || !mark.is_map() {
            let at = wrong.map_or(&mark, |it| &it.1);
            let title = "`_deprecation_` is a table of two texts, `expected` and `reference`";
            self.out.push(Diagnostic::new(Code::BadValue, title).primary(at.key.clone().or(at.value.clone()), ""));
        }
    }

    fn bases(&mut self, tree: &mut Node) -> Vec<(String, Option<Loc>)> {
        let Some(node) = tree.remove(BASE) else { return Vec::new() };
        let bad = |node: &Node| {
            let title = format!("`_base_` is a path or a list of paths, and this is {}", node.kind.describe());
            Diagnostic::new(Code::BadBase, title).primary(node.loc().cloned(), "")
        };
        match node.kind {
            NodeKind::Str(path) => vec![(path, node.value)],
            NodeKind::List(items) => {
                let mut out = Vec::new();
                for item in items {
                    match &item.kind {
                        NodeKind::Str(path) => out.push((path.clone(), item.value)),
                        _ => self.out.push(bad(&item)),
                    }
                }
                out
            }
            _ => {
                self.out.push(bad(&node));
                Vec::new()
            }
        }
    }

    fn cycle(&mut self, identity: &Path, path: &Path, named_by: Option<Loc>) {
        let start = self.open.iter().position(|(it, ..)| it == identity).unwrap_or(0);
        let mut chain: Vec<_> = self.open[start..].iter().map(|(_, it, _)| it.display().to_string()).collect();
        chain.push(path.display().to_string());
        let mut finding = Diagnostic::new(Code::BaseCycle, "`_base_` runs in a circle")
            .primary(named_by, "this file builds on the one that names it")
            .trail(chain.join(" → "));
        for (_, _, loc) in &self.open[start + 1..] {
            finding = finding.note(loc.clone(), "through this base");
        }
        self.out.push(finding.help("remove one of these `_base_` entries"));
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error, named_by: Option<Loc>) {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
            _ if path.is_dir() => "it is a folder".to_owned(),
            _ => error.to_string(),
        };
        let title = format!("cannot read `{}`: {why}", path.display());
        let mut finding = Diagnostic::new(Code::Unreadable, title).primary(named_by, "named here");
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default();
        let beside: Vec<_> = std::fs::read_dir(folder)
            .map(|it| it.flatten().map(|it| it.file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        let near = nearest(&name, beside.iter().map(String::as_str));
        match near.filter(|_| error.kind() == std::io::ErrorKind::NotFound) {
            Some(near) => finding = finding.help(format!("did you mean `{}`?", tidy(&folder.join(near)).display())),
            None if !folder.is_dir() => finding = finding.help(format!("there is no folder `{}`", folder.display())),
            None => {}
        }
        self.out.push(finding);
    }
}

/// Removes `.` and `dir/..`, so that messages show the shortest path.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        let plain = matches!(out.components().next_back(), Some(Component::Normal(_)));
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain => {
                out.pop();
            }
            _ => out.push(part),
        }
    }
    out
}
