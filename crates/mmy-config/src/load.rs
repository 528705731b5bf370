//! The whole way from a file to a resolved tree.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use figment::Source;
use mmy_diag::{Code, Diagnostic, Loc, Report, Severity, Sources};

use crate::{
    Node,
    de::Hidden,
    edit::{self, Edit, State},
    files::Files,
    merge::{self, Layer},
    overrides::{self, Spelling},
    read,
    resolve::{Resolution, Resolver},
    template, variables, write,
};

/// Says what else is known of a name that is not among those known at a place.
pub type Elsewhere = fn(&str, &[&str]) -> Option<String>;

/// What there is besides the files.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--set` items: `key.path.0.prob=0.3`, `key+=[…]`, `key.+1=…`, `~key`; later ones win.
    pub set: Vec<String>,
    /// Items in mmengine's spelling, `a.b=1 c.0.d=[1,2]`; they come before those of `set`.
    pub cfg_options: Vec<String>,
    /// The environment, for `{{ env("NAME") }}` and for variables `MMY_TABLE__KEY`. Empty unless asked for, so that what
    /// a library loads does not depend on who runs it.
    pub env: BTreeMap<String, String>,
    /// A TOML document below every file.
    pub defaults: Option<String>,
    /// The keys of the root. In a JSON file, which has no `[vars]`, any other key at the top is a variable.
    pub root_keys: Vec<String>,
    /// What else can be said of a name that nothing is known by: the name, and those that are known there.
    pub elsewhere: Option<Elsewhere>,
}

impl Options {
    /// These `--set` items and the environment of the process.
    pub fn from_env(set: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let text = |it: std::ffi::OsString| it.into_string().ok();
        let env = std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect();
        Options { set: set.into_iter().map(Into::into).collect(), env, ..Options::default() }
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
    /// What is wrong with a config that was only [examined](examine); [`load`] refuses such a one.
    pub errors: Vec<Diagnostic>,
    /// What is probably not meant, though it can be run.
    pub warnings: Vec<Diagnostic>,
    /// The variables that some expression reads, sorted.
    pub used_vars: Vec<String>,
    /// What the environment gave to expressions.
    pub used_env: BTreeMap<String, String>,
    /// Values that are not known because of `errors`.
    pub(crate) faulty: Hidden,
    pub(crate) elsewhere: Option<Elsewhere>,
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
    examine(path, options).and_then(sound)
}

/// Loads a text as if it stood in a file called `name`: bases are looked for beside it.
///
/// # Errors
/// As [`load`].
pub fn load_str(name: &str, text: &str, options: &Options) -> Result<Loaded, Report> {
    let read = |files: &mut Files| {
        files.text(Path::new(name), text.to_owned(), None);
    };
    run(options, read).and_then(sound)
}

/// Loads a file as [`load`] does, but gives what can be had of a config whose expressions or overrides are at fault:
/// values that are not known are left out, and nothing that is read from them is blamed for it.
///
/// # Errors
/// When a file of the chain cannot be read, since all that it sets would be missing everywhere.
pub fn examine(path: &Path, options: &Options) -> Result<Loaded, Report> {
    run(options, |files| {
        files.read(path, None);
    })
}

fn sound(loaded: Loaded) -> Result<Loaded, Report> {
    if loaded.errors.is_empty() {
        return Ok(loaded);
    }
    Err(Report::new(loaded.errors.into_iter().chain(loaded.warnings), loaded.sources))
}

fn run(options: &Options, read: impl FnOnce(&mut Files)) -> Result<Loaded, Report> {
    let mut files = Files::default();
    files.root_keys.clone_from(&options.root_keys);
    if let Some(text) = &options.defaults {
        defaults(text, &mut files, read);
    } else {
        read(&mut files);
    }
    let Files { layers, paths, mut sources, mut out, named_by, .. } = files;
    if out.iter().any(|it| it.severity == Severity::Error) {
        // What is missing from an unreadable file would be reported again by everything that refers to it.
        let out: Vec<_> = out.into_iter().map(|it| trail(it, &sources, &named_by)).collect();
        return Err(Report::new(out, sources));
    }
    let positions: Vec<_> = (0..layers.len()).collect();
    let mut tree = merge::all(&layers.iter().collect::<Vec<_>>(), &positions, State::Merged, &mut out);
    variables::check(&tree, &mut out);
    let known: Vec<_> = tree.child("vars").into_iter().flat_map(Node::keys).map(str::to_owned).collect();
    let files = sources.iter().count();
    let edits: Vec<_> = edits(options, &mut sources, &mut out).into_iter().map(|it| with_vars(it, &tree)).collect();
    for edit in &edits {
        edit::apply("", &mut tree, edit.clone(), State::Merged, &mut out);
    }
    let raw = Arc::from(layers.as_slice());
    let resolver = Resolver::new(tree, layers, paths.clone(), sources.clone(), options.env.clone());
    let Resolution { root, vars, faulty } = resolver.run(&mut out);
    let (used_vars, used_env) = resolver.used();
    let sound = !out.iter().any(|it| it.severity == Severity::Error);
    let asked = variables::Asked { known: &known, files, root: &root, sound, used: &used_vars };
    variables::idle(&vars, &resolver.layers, &asked, &mut out);
    let out = out.into_iter().map(|it| trail(it, &sources, &named_by));
    let (errors, warnings) = out.partition(|it: &Diagnostic| it.severity == Severity::Error);
    Ok(Loaded {
        root,
        vars,
        sources,
        chain: paths,
        errors,
        warnings,
        used_vars,
        used_env,
        faulty,
        elsewhere: options.elsewhere,
        layers: raw,
        edits: edits.into(),
        named_by,
    })
}

/// Puts the built-in defaults below every file.
fn defaults(text: &str, files: &mut Files, read: impl FnOnce(&mut Files)) {
    let file = files.sources.add("built-in defaults", text);
    let tree = read::document(text, file, &mut files.out);
    let source = Source::Custom("built-in defaults".to_owned());
    files.layers.push(Layer { source, file, tree, ancestors: Default::default(), is_json: false });
    files.paths.push(PathBuf::from("built-in defaults"));
    read(files);
    for layer in &mut files.layers[1..] {
        layer.ancestors.insert(0);
    }
}

fn edits(options: &Options, sources: &mut Sources, out: &mut Vec<Diagnostic>) -> Vec<Edit> {
    let mut edits = overrides::environment(&options.env, sources, out);
    let given = options.cfg_options.iter().map(|it| ("--cfg-options", it, Spelling::Mmengine));
    for (name, item, spelling) in given.chain(options.set.iter().map(|it| ("--set", it, Spelling::Toml))) {
        let file = sources.add(name, item.as_str());
        match overrides::item(item, file, spelling) {
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
        let message = message.into();
        let title = if path.is_empty() { message } else { format!("`{}`: {message}", path.join(".")) };
        let mut finding = Diagnostic::new(Code::PartDoesNotFit, title);
        finding.help.extend(help);
        Report::new([self.locate(finding, path)], self.sources.clone())
    }

    /// Points a finding to the value at a path or, where the key was not written, to the nearest table around it.
    pub fn locate(&self, finding: Diagnostic, path: &[String]) -> Diagnostic {
        let (mut node, mut depth) = (&self.root, 0);
        while let Some(child) = path.get(depth).and_then(|it| node.child(it)) {
            (node, depth) = (child, depth + 1);
        }
        let label = match path.get(depth) {
            Some(key) => format!("`{key}` is not set here and has its default"),
            None => String::new(),
        };
        let finding = finding.primary(node.loc().cloned(), label);
        // Who reads a variable and nothing else is changed where the variable is.
        let text = node.value.as_ref().map_or("", |it| self.sources.text(it)).trim_matches(['"', '\'']);
        let name = template::whole(text).map(|it| it.0.trim().to_owned());
        let variable = name.and_then(|it| Some((self.vars.child(&it)?.loc()?.clone(), it)));
        self.with_trail(match variable {
            Some((loc, name)) => finding.note(loc, format!("`{name}` is set here")),
            None => finding,
        })
    }

    /// The same config with another value at a path, or without it. What is around the value keeps its places.
    #[must_use]
    pub fn with(&self, path: &[String], value: Option<&serde_json::Value>) -> Loaded {
        let mut out = self.clone();
        if let Some((last, parents)) = path.split_last() {
            let parent = parents.iter().try_fold(&mut out.root, |node, step| node.child_mut(step));
            match (parent, value) {
                (Some(parent), Some(value)) => {
                    let old = parent.child(last).cloned().unwrap_or_default();
                    let (key, value) = (old.key, Node::from_json(value).unwrap_or_default());
                    let node = Node { key, value: old.value, ..value };
                    match parent.child_mut(last) {
                        Some(child) => *child = node,
                        None => parent.insert(last, node),
                    }
                }
                (Some(parent), None) => {
                    parent.remove(last);
                }
                (None, _) => {}
            }
        }
        out
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
