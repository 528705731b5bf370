//! What expressions see: names, tables, lists, the environment.

use std::{path::Path, sync::Arc};

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Enumerator, Object, ObjectRepr, ValueKind},
};
use mmy_diag::{Code, Diagnostic};

use crate::{
    Node, NodeKind,
    edit::join,
    resolve::{Resolver, Tree},
};

/// The names of an expression: variables, keys of the root, `_base_`, `env`, and the parts of the file's name.
#[derive(Debug)]
pub(crate) struct Root {
    pub resolver: Arc<Resolver>,
    /// The source that the expression was written in.
    pub file: Option<usize>,
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let resolver = &self.resolver;
        let layer = resolver.layers.iter().position(|it| Some(it.file) == self.file);
        // What `--set` says belongs to the file that it changes.
        let path = resolver.paths.get(layer.unwrap_or(resolver.paths.len().saturating_sub(1)));
        let part =
            |it: Option<&std::ffi::OsStr>| Some(Value::from(it.unwrap_or_default().to_string_lossy().into_owned()));
        match (name, path) {
            ("_base_", _) => {
                let tree = layer.map_or(Tree::Files, Tree::BasesOf);
                return Some(Value::from_object(Scope { resolver: resolver.clone(), tree, path: Vec::new() }));
            }
            ("env", _) => return Some(Value::from_object(Env(resolver.clone()))),
            ("fileDirname", Some(path)) => {
                let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
                return part(Some(folder.as_os_str()));
            }
            ("fileBasename", Some(path)) => return part(path.file_name()),
            ("fileBasenameNoExtension", Some(path)) => return part(path.file_stem()),
            ("fileExtname", Some(path)) => {
                let dotted = path.extension().map(|it| format!(".{}", it.to_string_lossy()));
                return Some(Value::from(dotted.unwrap_or_default()));
            }
            _ => {}
        }
        let variable = resolver.see(Tree::Final, vec!["vars".into(), name.into()]);
        variable.or_else(|| resolver.see(Tree::Final, vec![name.into()])).or_else(|| {
            let keys = |path: &[String]| {
                let keys = resolver.raw(Tree::Final, path, |it| it.keys().map(str::to_owned).collect::<Vec<_>>());
                keys.unwrap_or_default()
            };
            let known = keys(&["vars".into()]).into_iter().chain(keys(&[]));
            resolver.missed(name.to_owned(), known.filter(|it| it != "vars").collect());
            None
        })
    }
}

/// A table or a list that is not resolved yet.
#[derive(Debug)]
pub(crate) struct Scope {
    pub resolver: Arc<Resolver>,
    pub tree: Tree,
    pub path: Vec<String>,
}

impl Scope {
    fn node<T>(&self, then: impl FnOnce(&Node) -> T) -> Option<T> {
        self.resolver.raw(self.tree, &self.path, then)
    }
}

impl Object for Scope {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.node(|it| matches!(it.kind, NodeKind::List(_))) {
            Some(true) => ObjectRepr::Seq,
            _ => ObjectRepr::Map,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let step = step(key)?;
        let under =
            |first: &[String]| self.resolver.see(self.tree, [first, &self.path, std::slice::from_ref(&step)].concat());
        let variable = if self.path.is_empty() { under(&["vars".into()]) } else { None };
        variable.or_else(|| under(&[])).or_else(|| {
            let known = self.node(|it| it.keys().map(str::to_owned).collect()).unwrap_or_default();
            let table = if self.path.is_empty() { "_base_".to_owned() } else { self.path.join(".") };
            self.resolver.missed(join(&table, &step), known);
            None
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let keys = |node: &Node| match &node.kind {
            NodeKind::List(items) => Enumerator::Seq(items.len()),
            _ => Enumerator::Values(node.keys().map(Value::from).collect()),
        };
        self.node(keys).unwrap_or(Enumerator::Empty)
    }
}

/// A table or a list whose values are all known.
#[derive(Debug)]
pub(crate) struct Item(pub Arc<Node>);

impl Item {
    pub fn value(node: Node) -> Value {
        match node.kind {
            NodeKind::Bool(it) => Value::from(it),
            NodeKind::Int(it) => Value::from(it),
            NodeKind::Float(it) => Value::from(it),
            NodeKind::Str(it) => Value::from(it),
            NodeKind::List(_) | NodeKind::Map(_) => Value::from_object(Item(Arc::new(node))),
        }
    }
}

impl Object for Item {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.0.is_map() { ObjectRepr::Map } else { ObjectRepr::Seq }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.child(&step(key)?).cloned().map(Item::value)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &self.0.kind {
            NodeKind::List(items) => Enumerator::Seq(items.len()),
            _ => Enumerator::Values(self.0.keys().map(Value::from).collect()),
        }
    }
}

/// `env("NAME")` and `env("NAME", default)`.
#[derive(Debug)]
struct Env(Arc<Resolver>);

impl Object for Env {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let usage = || Error::new(ErrorKind::InvalidOperation, "write env(\"NAME\") or env(\"NAME\", default)");
        let (name, default) = match args {
            [name] => (name, None),
            [name, default] => (name, Some(default)),
            _ => return Err(usage()),
        };
        let name = name.as_str().ok_or_else(usage)?;
        if let Some(text) = self.0.env(name) {
            return Ok(Value::from(text));
        }
        default.cloned().ok_or_else(|| {
            let title = format!("the environment variable `{name}` is not set");
            let help = format!("set it, or give a default: env(\"{name}\", \"…\")");
            self.0.blame(|loc| Diagnostic::new(Code::UnsetVariable, title).primary(loc, "").help(help));
            self.0.spoil();
            Error::new(ErrorKind::InvalidOperation, "the variable is not set")
        })
    }
}

/// A key or an index as a step of a path.
fn step(key: &Value) -> Option<String> {
    match key.kind() {
        ValueKind::String => key.as_str().map(str::to_owned),
        ValueKind::Number => i64::try_from(key.clone()).ok().map(|it| it.to_string()),
        _ => None,
    }
}
