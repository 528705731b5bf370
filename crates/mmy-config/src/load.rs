//! The whole way from a file to a resolved tree.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use figment::Source;
use mmy_diag::{Code, Diagnostic, Loc, Report, Severity, Sources, nearest};

use crate::{
    Node,
    edit::{self, Edit, State},
    files::Files,
    merge::{self, Layer},
    overrides, read,
    resolve::Resolver,
    write,
};

/// What there is besides the files.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--set` items: `key.path.0.prob=0.3`, `key+=[…]`, `~key`; later ones win.
    pub set: Vec<String>,
    /// The environment, for `{{ env("NAME") }}` and for variables `MMY_TABLE__KEY`. Empty unless asked for, so that what
    /// a library loads does not depend on who runs it.
    pub env: BTreeMap<String, String>,
    /// A TOML document below every file.
    pub defaults: Option<String>,
}

impl Options {
    /// These `--set` items and the environment of the process.
    pub fn from_env(set: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let text = |it: std::ffi::OsString| it.into_string().ok();
        let env = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
        Options { set: set.into_iter().map(Into::into).collect(), env, defaults: None }
    }
}

/// A config, merged and resolved.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The tree without `[vars]`.
    pub root: Node,
    /// The variables, resolved.
    pub vars: Node,
    /// Every text that was read.
    pub sources: Sources,
    /// Every file that was read, lowest first; the file that was asked for comes last.
    pub chain: Vec<PathBuf>,
    /// What is probably not meant, though it can be run.
    pub warnings: Vec<Diagnostic>,
    /// The variables that some expression reads, sorted.
    pub used_vars: Vec<String>,
    /// The trees of the files as they were written, lowest first.
    pub(crate) layers: Arc<[Layer]>,
    /// What the environment and `--set` change, in order.
    pub(crate) edits: Arc<[Edit]>,
    /// For each source that was read as a base, the place that names it.
    named_by: HashMap<usize, Loc>,
}

/// Loads a file with its bases, the environment and overrides.
///
/// # Errors
/// Everything that is wrong with the files and their expressions, in one report.
pub fn load(path: &Path, options: &Options) -> Result<Loaded, Report> {
    run(options, |files| {
        files.read(path, None);
    })
}

/// Loads a text as if it stood in a file called `name`: bases are looked for beside it.
///
/// # Errors
/// As [`load`].
pub fn load_str(name: &str, text: &str, options: &Options) -> Result<Loaded, Report> {
    run(options, |files| {
        files.text(Path::new(name), text.to_owned(), None);
    })
}

fn run(options: &Options, read: impl FnOnce(&mut Files)) -> Result<Loaded, Report> {
    let mut files = Files::default();
    if let Some(text) = &options.defaults {
        defaults(text, &mut files, read);
    } else {
        read(&mut files);
    }
    let Files { layers, paths, mut sources, mut out, named_by, .. } = files;
    if !is_fatal(&out) {
        // What is missing from an unreadable file would be reported again by everything that refers to it.
        let positions: Vec<_> = (0..layers.len()).collect();
        let mut tree = merge::all(&layers.iter().collect::<Vec<_>>(), &positions, State::Merged, &mut out);
        variables(&tree, &mut out);
        let known: Vec<_> = tree.child("vars").into_iter().flat_map(Node::keys).map(str::to_owned).collect();
        let files = sources.iter().count();
        let edits: Vec<_> = edits(options, &mut sources, &mut out).into_iter().map(|it| with_vars(it, &tree)).collect();
        for edit in &edits {
            edit::apply(&mut tree, edit.clone(), State::Merged, &mut out);
        }
        let raw = Arc::from(layers.as_slice());
        let resolver = Resolver::new(tree, layers, paths.clone(), sources.clone(), options.env.clone());
        let resolved = resolver.run(&mut out);
        let used_vars = resolver.used_vars();
        if let Some((_, vars)) = &resolved {
            let set = |node: &Node| node.key.as_ref().is_some_and(|it| it.file >= files);
            let idle = |(name, node): &&(String, Node)| set(node) && !used_vars.contains(name);
            out.extend(vars.entries().iter().filter(idle).map(|(name, node)| without_effect(name, node, &known)));
        }
        let (errors, warnings): (Vec<_>, Vec<_>) = out.into_iter().partition(|it| it.severity == Severity::Error);
        match resolved {
            Some((root, vars)) if errors.is_empty() => {
                let (layers, edits) = (raw, edits.into());
                let chain = paths;
                let mut loaded = Loaded { root, vars, sources, chain, warnings, used_vars, layers, edits, named_by };
                loaded.warnings = loaded.warnings.iter().map(|it| loaded.with_trail(it.clone())).collect();
                return Ok(loaded);
            }
            _ => out = errors.into_iter().chain(warnings).collect(),
        }
    }
    let out: Vec<_> = out.into_iter().map(|it| trail(it, &sources, &named_by)).collect();
    Err(Report::new(out, sources))
}

fn is_fatal(out: &[Diagnostic]) -> bool {
    out.iter().any(|it| it.severity == Severity::Error)
}

/// Puts the built-in defaults below every file.
fn defaults(text: &str, files: &mut Files, read: impl FnOnce(&mut Files)) {
    let file = files.sources.add("built-in defaults", text);
    let tree = read::document(text, file, &mut files.out);
    let source = Source::Custom("built-in defaults".to_owned());
    files.layers.push(Layer { source, file, tree, ancestors: Default::default() });
    files.paths.push(PathBuf::from("built-in defaults"));
    read(files);
    for layer in &mut files.layers[1..] {
        layer.ancestors.insert(0);
    }
}

fn edits(options: &Options, sources: &mut Sources, out: &mut Vec<Diagnostic>) -> Vec<Edit> {
    let mut edits = overrides::environment(&options.env, sources, out);
    for item in &options.set {
        let file = sources.add("--set", item.as_str());
        match overrides::item(item, file) {
            Ok(edit) => edits.push(edit),
            Err(finding) => out.push(*finding),
        }
    }
    edits
}

/// A bare name that is a variable means `vars.NAME`.
fn with_vars(mut edit: Edit, tree: &Node) -> Edit {
    let first = &edit.path[0];
    if tree.child("vars").is_some_and(|it| it.child(&first.name).is_some()) {
        let vars = edit::Step { name: "vars".to_owned(), loc: first.loc.clone() };
        edit.path.insert(0, vars);
    }
    edit
}

/// An override set a variable that no expression reads. Where no file has it either, it is a slip.
fn without_effect(name: &str, node: &Node, known: &[String]) -> Diagnostic {
    let slip = !known.iter().any(|it| it == name);
    let code = if slip { Code::OverrideTarget } else { Code::IdleOverride };
    let title = format!("setting `{name}` has no effect: no expression reads this variable");
    let finding = Diagnostic::new(code, title).primary(node.key.clone(), "");
    match nearest(name, known.iter().map(String::as_str)).filter(|_| slip) {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding,
    }
}

/// Variables live in a table, and one with the name of a key at the root hides that key from expressions and `--set`.
fn variables(tree: &Node, out: &mut Vec<Diagnostic>) {
    if let Some(vars) = tree.child("vars").filter(|it| !it.is_map()) {
        let title = format!("`vars` must be a table of variables, not {}", vars.kind.describe());
        out.push(Diagnostic::new(Code::WrongType, title).primary(vars.loc().cloned(), ""));
    }
    for (name, variable) in tree.child("vars").map(Node::entries).unwrap_or_default() {
        if let Some(key) = tree.child(name) {
            let title = format!("the variable `{name}` has the name of a key at the root");
            out.push(
                Diagnostic::new(Code::ShadowedKey, title)
                    .primary(variable.key.clone(), "expressions and `--set` mean this one")
                    .note(key.loc().cloned(), "and never this one")
                    .help("rename the variable"),
            );
        }
    }
}

impl Loaded {
    /// The node at a dotted path: `train_pipeline.0.prob`, `vars.num_classes`.
    pub fn get(&self, path: &str) -> Option<&Node> {
        match path.strip_prefix("vars") {
            Some(rest) if rest.is_empty() || rest.starts_with('.') => self.vars.get(rest),
            _ => self.root.get(path),
        }
    }

    /// The resolved config as TOML: no bases, no variables, no expressions. Loading it gives the same tree.
    pub fn to_toml(&self) -> String {
        write::toml(&self.root)
    }

    /// As [`Loaded::to_toml`], with a remark behind each value. `note` gets the value's dotted path and the value. Lists of
    /// tables have a header for each element, so that every value has a line for its remark.
    pub fn to_toml_with(&self, note: &dyn Fn(&str, &Node) -> Option<String>) -> String {
        write::annotated(&self.root, note)
    }

    /// The resolved config as JSON, keys in the same order.
    pub fn to_json(&self) -> serde_json::Value {
        write::json(&self.root)
    }

    /// A finding about the value at a path, as for a part that cannot be built. It points to the value or, where the key
    /// was not written, to the nearest table around it.
    pub fn diagnose(&self, path: &[String], message: impl Into<String>, help: Option<String>) -> Report {
        let (mut node, mut depth) = (&self.root, 0);
        while let Some(child) = path.get(depth).and_then(|it| node.child(it)) {
            (node, depth) = (child, depth + 1);
        }
        let message = message.into();
        let title = if path.is_empty() { message } else { format!("`{}`: {message}", path.join(".")) };
        let label = match path.get(depth) {
            Some(key) => format!("`{key}` is not set here and has its default"),
            None => String::new(),
        };
        let mut finding = Diagnostic::new(Code::PartDoesNotFit, title).primary(node.loc().cloned(), label);
        finding.help.extend(help);
        Report::new([self.with_trail(finding)], self.sources.clone())
    }

    /// Adds the `_base_` chain that leads to the file of a finding.
    pub fn with_trail(&self, finding: Diagnostic) -> Diagnostic {
        trail(finding, &self.sources, &self.named_by)
    }
}

fn trail(finding: Diagnostic, sources: &Sources, named_by: &HashMap<usize, Loc>) -> Diagnostic {
    let Some(mut file) = finding.primary.as_ref().map(|it| it.loc.file) else { return finding };
    if !finding.trail.is_empty() {
        return finding;
    }
    let mut chain = Vec::new();
    while let Some(loc) = named_by.get(&file) {
        chain.push(sources.get(file).map_or("", |it| it.name.as_str()).to_owned());
        file = loc.file;
    }
    if chain.is_empty() {
        return finding;
    }
    chain.push(sources.get(file).map_or("", |it| it.name.as_str()).to_owned());
    chain.reverse();
    finding.trail(format!("`_base_` chain: {}", chain.join(" → ")))
}
