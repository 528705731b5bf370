//! Computes the expressions of a merged tree.
//!
//! Values are bound late: an expression sees the final tree, whichever layer wrote it. Each is computed when it is first
//! asked for and kept, so that the order of keys does not matter and a circle is found on the way.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value, value::ValueKind};
use mmy_diag::{Code, Diagnostic, Loc, Sources};

use crate::{
    Node, NodeKind,
    de::Hidden,
    edit::{self, Edit, Op, State, waits},
    fault::{cycle, describe, is_undefined, message, unknown},
    merge::{self, Layer},
    scope::{Item, Scope},
    template::{self, Part},
};

/// The findings are with the [`Resolver`]; the value cannot be used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faulty;

/// A resolved config.
#[derive(Debug)]
pub(crate) struct Resolution {
    /// The root without `[vars]`.
    pub root: Node,
    /// The variables.
    pub vars: Node,
    /// Which values are not known.
    pub faulty: Hidden,
}

/// A resolved value; `None` when its expression says `none`.
pub(crate) type Resolved = Result<Option<Node>, Faulty>;

/// Which tree a path leads through: the final one, or what a layer builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Tree {
    Final,
    /// What the bases of the layer with this position make.
    BasesOf(usize),
    /// What all files make, before the environment and `--set`.
    Files,
}

/// How deep expressions may refer to expressions, so that no config can exhaust the stack.
const DEEPEST: usize = 64;

/// What identifies an expression.
pub(crate) type Key = (Tree, Vec<String>);

/// An expression that is being computed.
pub(crate) struct Frame {
    pub key: Key,
    pub loc: Option<Loc>,
    /// Names that were looked up in vain, with the names that exist there.
    missed: Vec<(String, Vec<String>)>,
    /// Whether something that it refers to is at fault already.
    faulty: bool,
}

#[derive(Default)]
struct Work {
    done: HashMap<Key, Resolved>,
    stack: Vec<Frame>,
    out: Vec<Diagnostic>,
    used: HashSet<String>,
    used_env: BTreeMap<String, String>,
    bases: HashMap<Tree, Arc<Node>>,
}

/// Computes expressions; shared by the objects that expressions see.
pub(crate) struct Resolver {
    pub tree: Node,
    pub layers: Vec<Layer>,
    pub paths: Vec<PathBuf>,
    pub sources: Sources,
    env: BTreeMap<String, String>,
    jinja: Environment<'static>,
    work: Mutex<Work>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    pub fn new(
        tree: Node,
        layers: Vec<Layer>,
        paths: Vec<PathBuf>,
        sources: Sources,
        env: BTreeMap<String, String>,
    ) -> Arc<Self> {
        let mut jinja = Environment::new();
        jinja.set_undefined_behavior(UndefinedBehavior::Strict);
        Arc::new(Resolver { tree, layers, paths, sources, env, jinja, work: Mutex::default() })
    }

    /// Resolves the whole tree. Values at fault are left out; what is wrong with them goes to `out`.
    pub fn run(self: &Arc<Self>, out: &mut Vec<Diagnostic>) -> Resolution {
        let mut faulty = Hidden::new();
        let root = self.whatever_can_be(&mut Vec::new(), &self.tree, &mut faulty);
        out.append(&mut self.work().out);
        let mut root = root.ok().flatten().unwrap_or_default();
        let vars = root.remove("vars").unwrap_or_default();
        Resolution { root, vars, faulty }
    }

    /// As [`Resolver::resolve`], but of tables and lists everything that is not at fault. An element of a list that is
    /// keeps its place, so that the others keep theirs.
    fn whatever_can_be(self: &Arc<Self>, path: &mut Vec<String>, node: &Node, faulty: &mut Hidden) -> Resolved {
        let mut kind = match &node.kind {
            NodeKind::Map(_) if !waits(node) => NodeKind::Map(Vec::new()),
            NodeKind::List(_) if !waits(node) => NodeKind::List(Vec::new()),
            _ => return self.resolve(Tree::Final, path, node),
        };
        let numbered = node.items().iter().enumerate().map(|(at, it)| (at.to_string(), it));
        let children = node.entries().iter().map(|(key, it)| (key.clone(), it)).chain(numbered);
        for (key, child) in children {
            path.push(key);
            let resolved = self.whatever_can_be(path, child, faulty);
            let key = path.pop().unwrap_or_default();
            let fault = || (path.join("."), key.clone());
            match (&mut kind, resolved) {
                (NodeKind::Map(out), Ok(Some(child))) => out.push((key, child)),
                (NodeKind::Map(_), Ok(None)) => {}
                (NodeKind::Map(_), Err(Faulty)) => {
                    faulty.insert(fault());
                }
                (NodeKind::List(out), Ok(Some(child))) => out.push(child),
                (NodeKind::List(out), failed) => {
                    if failed.is_ok() {
                        self.report(none_in_list(child));
                    }
                    faulty.insert(fault());
                    out.push(child.clone());
                }
                _ => {}
            }
        }
        let (key, value, overridden) = (node.key.clone(), node.value.clone(), node.overridden.clone());
        Ok(Some(Node { key, value, kind, overridden, edits: Vec::new() }))
    }

    /// The variables that some expression read, sorted, and what the environment gave.
    pub fn used(&self) -> (Vec<String>, BTreeMap<String, String>) {
        let work = self.work();
        let mut used: Vec<_> = work.used.iter().cloned().collect();
        used.sort_unstable();
        (used, work.used_env.clone())
    }

    /// A variable of the environment.
    pub fn env(&self, name: &str) -> Option<&str> {
        let text = self.env.get(name)?;
        self.work().used_env.insert(name.to_owned(), text.clone());
        Some(text)
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The unresolved node at a path.
    pub fn raw<T>(&self, tree: Tree, path: &[String], then: impl FnOnce(&Node) -> T) -> Option<T> {
        let walk = |root: &Node| path.iter().try_fold(root, |node, step| node.child(step)).map(then);
        match tree {
            Tree::Final => walk(&self.tree),
            _ => walk(&self.bases(tree)),
        }
    }

    fn bases(&self, tree: Tree) -> Arc<Node> {
        if let Some(done) = self.work().bases.get(&tree) {
            return done.clone();
        }
        let wanted = |at: &usize| match tree {
            Tree::BasesOf(layer) => self.layers[layer].ancestors.contains(at),
            _ => true,
        };
        let positions: Vec<_> = (0..self.layers.len()).filter(wanted).collect();
        let layers: Vec<_> = positions.iter().map(|&it| &self.layers[it]).collect();
        // The same layers were merged before, and all that is wrong with them was said.
        let node = Arc::new(merge::all(&layers, &positions, State::Merged, &mut Vec::new()));
        self.work().bases.insert(tree, node.clone());
        node
    }

    /// What an expression sees at a path: a value, or an object that looks further when asked.
    pub fn see(self: &Arc<Self>, tree: Tree, path: Vec<String>) -> Option<Value> {
        let node = self.raw(tree, &path, |node| match &node.kind {
            _ if waits(node) => Some(node.clone()),
            NodeKind::List(_) | NodeKind::Map(_) => None,
            _ => Some(node.clone()),
        })?;
        if let (Tree::Final, [first, name, ..]) = (tree, &path[..])
            && first == "vars"
        {
            self.work().used.insert(name.clone());
        }
        let Some(node) = node else { return Some(Value::from_object(Scope { resolver: self.clone(), tree, path })) };
        Some(match self.resolve(tree, &mut path.clone(), &node) {
            Ok(Some(node)) => Item::value(node),
            Ok(None) => Value::from(()),
            Err(Faulty) => {
                self.spoil();
                Value::from(minijinja::Error::new(ErrorKind::InvalidOperation, "it refers to a faulty value"))
            }
        })
    }

    /// Notes that a name was looked up in vain.
    pub fn missed(&self, name: String, known: Vec<String>) {
        if let Some(frame) = self.work().stack.last_mut() {
            frame.missed.push((name, known));
        }
    }

    /// Notes that the expression at work depends on something faulty.
    pub fn spoil(&self) {
        if let Some(frame) = self.work().stack.last_mut() {
            frame.faulty = true;
        }
    }

    /// A finding.
    pub fn report(&self, finding: Diagnostic) {
        self.work().out.push(finding);
    }

    /// A finding about the expression at work.
    pub fn blame(&self, finding: impl FnOnce(Option<Loc>) -> Diagnostic) {
        let mut work = self.work();
        let loc = work.stack.last().and_then(|it| it.loc.clone());
        work.out.push(finding(loc));
    }

    pub fn resolve(self: &Arc<Self>, tree: Tree, path: &mut Vec<String>, node: &Node) -> Resolved {
        if !template::is_late(node) && node.edits.is_empty() {
            return self.compute(tree, path, node);
        }
        let key = (tree, path.clone());
        {
            let mut work = self.work();
            if let Some(done) = work.done.get(&key) {
                return done.clone();
            }
            if let Some(start) = work.stack.iter().position(|it| it.key == key) {
                let finding = cycle(&work.stack[start..]);
                work.out.push(finding);
                return Err(Faulty);
            }
            if work.stack.len() > DEEPEST {
                let title = format!("expressions refer to each other more than {DEEPEST} deep");
                let finding = Diagnostic::new(Code::ReferenceCycle, title).primary(node.value.clone(), "");
                work.out.push(finding);
                return Err(Faulty);
            }
            let loc = node.value.clone();
            work.stack.push(Frame { key: key.clone(), loc, missed: Vec::new(), faulty: false });
        }
        let mut resolved = self.compute(tree, path, node);
        if resolved.is_ok() && !node.edits.is_empty() {
            resolved = self.edited(tree, path, node, resolved.ok().flatten());
        }
        let mut work = self.work();
        work.stack.pop();
        work.done.insert(key, resolved.clone());
        resolved
    }

    fn compute(self: &Arc<Self>, tree: Tree, path: &mut Vec<String>, node: &Node) -> Resolved {
        let mut faulty = false;
        let kind = match &node.kind {
            NodeKind::Str(text) if text.contains("{{") => return self.text(node, text),
            NodeKind::Map(entries) => {
                let mut out = Vec::with_capacity(entries.len());
                for (key, child) in entries {
                    path.push(key.clone());
                    match self.resolve(tree, path, child) {
                        Ok(Some(child)) => out.push((key.clone(), child)),
                        Ok(None) => {}
                        Err(Faulty) => faulty = true,
                    }
                    path.pop();
                }
                NodeKind::Map(out)
            }
            NodeKind::List(items) => {
                let mut out = Vec::with_capacity(items.len());
                for (at, child) in items.iter().enumerate() {
                    path.push(at.to_string());
                    match child.as_str().and_then(template::splice) {
                        Some((source, range)) => match self.splice(tree, path, child, &source, range.start) {
                            Ok(items) => out.extend(items),
                            Err(Faulty) => faulty = true,
                        },
                        None => match self.resolve(tree, path, child) {
                            Ok(Some(child)) => out.push(child),
                            Ok(None) => {
                                faulty = true;
                                self.report(none_in_list(child));
                            }
                            Err(Faulty) => faulty = true,
                        },
                    }
                    path.pop();
                }
                NodeKind::List(out)
            }
            kind => kind.clone(),
        };
        let (key, value, overridden) = (node.key.clone(), node.value.clone(), node.overridden.clone());
        if faulty { Err(Faulty) } else { Ok(Some(Node { key, value, kind, overridden, edits: Vec::new() })) }
    }

    fn edited(self: &Arc<Self>, tree: Tree, path: &mut Vec<String>, node: &Node, below: Option<Node>) -> Resolved {
        let mut out = Vec::new();
        let mut result = below.unwrap_or_default();
        for (nth, edit) in node.edits.iter().enumerate() {
            // The value of a change is computed under a path of its own, apart from what is below it.
            path.push(format!("\u{1}{nth}"));
            let op = match &edit.op {
                Op::Remove => Some(Op::Remove),
                Op::Set(value) => self.resolve(tree, path, value)?.map(Op::Set),
                Op::Append(value) => self.resolve(tree, path, value)?.map(Op::Append),
                Op::Insert(at, value) => self.resolve(tree, path, value)?.map(|it| Op::Insert(at.clone(), it)),
            };
            path.pop();
            let op = op.unwrap_or(Op::Remove);
            edit::apply(&path.join("."), &mut result, Edit { path: edit.path.clone(), op }, State::Resolved, &mut out);
        }
        result.key = node.key.clone();
        let failed = out.iter().any(|it| it.severity == mmy_diag::Severity::Error);
        self.work().out.append(&mut out);
        if failed { Err(Faulty) } else { Ok(Some(result)) }
    }

    fn splice(
        self: &Arc<Self>,
        tree: Tree,
        path: &[String],
        node: &Node,
        source: &str,
        start: usize,
    ) -> Result<Vec<Node>, Faulty> {
        let frame = Frame { key: (tree, path.to_vec()), loc: node.value.clone(), missed: Vec::new(), faulty: false };
        self.work().stack.push(frame);
        let value = self.expression(node, source, start).and_then(|it| self.node(&it, node));
        self.work().stack.pop();
        match value? {
            Some(Node { kind: NodeKind::List(items), .. }) => Ok(items),
            other => {
                let found = other.map_or("none", |it| it.kind.describe());
                let title = format!("only a list can be spliced, and this is {found}");
                self.report(Diagnostic::new(Code::BadSplice, title).primary(node.value.clone(), ""));
                Err(Faulty)
            }
        }
    }

    fn text(self: &Arc<Self>, node: &Node, text: &str) -> Resolved {
        if template::splice(text).is_some() {
            let title = "`{{ *… }}` splices into a list, and this is no element of one";
            let finding = Diagnostic::new(Code::BadSplice, title).primary(node.value.clone(), "");
            self.report(finding.help("remove the `*`, or put it in brackets: [\"{{ *list }}\"]"));
            return Err(Faulty);
        }
        if let Some((source, range)) = template::whole(text) {
            let value = self.expression(node, &source, range.start)?;
            return self.node(&value, node);
        }
        let parts = template::parts(text).map_err(|range| {
            let loc = self.inside(node, range);
            let finding = Diagnostic::new(Code::ExpressionSyntax, "this `{{` is never closed").primary(loc, "");
            self.report(finding.help("end it with `}}`; plain text with braces is written {{ '{{' }}"));
            Faulty
        })?;
        let mut out = String::new();
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(&text),
                Part::Expression(source, range) => {
                    let value = self.expression(node, &source, range.start)?;
                    match value.kind() {
                        ValueKind::Bool | ValueKind::Number | ValueKind::String => out.push_str(&value.to_string()),
                        kind => {
                            let title = format!("{} cannot be put into text", describe(kind));
                            let loc = self.inside(node, range);
                            self.report(Diagnostic::new(Code::ExpressionFails, title).primary(loc, ""));
                            return Err(Faulty);
                        }
                    }
                }
            }
        }
        let mut result = node.clone();
        result.edits.clear();
        result.kind = NodeKind::Str(out);
        Ok(Some(result))
    }

    /// Computes one expression that begins at byte `start` of the text of `node`.
    fn expression(self: &Arc<Self>, node: &Node, source: &str, start: usize) -> Result<Value, Faulty> {
        let blanks = source.len() - source.trim_start().len();
        let whole = self.inside(node, start + blanks..(start + source.trim_end().len()).max(start + blanks));
        let compiled = self.jinja.compile_expression(source).map_err(|error| {
            let loc = error.range().filter(|it| !it.is_empty()).map(|it| start + it.start..start + it.end);
            let loc = loc.and_then(|it| self.inside(node, it)).or(whole.clone());
            let title = format!("this expression cannot be read: {}", message(&error));
            self.report(Diagnostic::new(Code::ExpressionSyntax, title).primary(loc, ""));
            Faulty
        })?;
        if let Some(frame) = self.work().stack.last_mut() {
            frame.missed.clear();
        }
        let file = node.value.as_ref().map(|it| it.file);
        let result = compiled.eval(Value::from_object(crate::scope::Root { resolver: self.clone(), file }));
        let (faulty, missed) = match self.work().stack.last_mut() {
            Some(frame) => (frame.faulty, std::mem::take(&mut frame.missed)),
            None => (false, Vec::new()),
        };
        if faulty {
            return Err(Faulty);
        }
        let finding = match (result, missed.last()) {
            (Ok(value), _) if !matches!(value.kind(), ValueKind::Undefined | ValueKind::Invalid) => return Ok(value),
            (Err(error), Some((name, known))) if is_undefined(&error) => unknown(name, known),
            (Err(error), _) if error.kind() == ErrorKind::UnknownFunction => {
                let title = format!("this expression cannot be computed: {}", message(&error));
                Diagnostic::new(Code::UnknownReference, title)
            }
            (Err(error), _) => {
                let title = format!("this expression cannot be computed: {}", message(&error));
                Diagnostic::new(Code::ExpressionFails, title)
            }
            (Ok(_), Some((name, known))) => unknown(name, known),
            (Ok(_), None) => Diagnostic::new(Code::ExpressionFails, "this expression has no value"),
        };
        self.report(finding.primary(whole, ""));
        Err(Faulty)
    }

    /// The place of a stretch of the text of a node. Where the text is escaped, that is all of it.
    fn inside(&self, node: &Node, range: std::ops::Range<usize>) -> Option<Loc> {
        let loc = node.value.as_ref()?;
        let (written, text) = (self.sources.text(loc), node.as_str()?);
        let offset = match written.find(text) {
            Some(at) if written.len() - text.len() <= 6 => loc.range.start + at,
            _ => return Some(loc.clone()),
        };
        Some(Loc::new(loc.file, offset + range.start..offset + range.end))
    }
}

fn none_in_list(element: &Node) -> Diagnostic {
    Diagnostic::new(Code::ExpressionFails, "an element of a list cannot be none")
        .primary(element.value.clone(), "this is none")
        .help("splice a list that may be empty: \"{{ *([x] if condition else []) }}\"")
}
