//! The tree that a config becomes.

use mmy_diag::Loc;

use crate::{edit::Edit, write};

/// A config value and the places that set it.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// Where the key of this value was written; for a table, its header. Elements of a list have none.
    pub key: Option<Loc>,
    /// Where the value was written. A value that came out of an expression points to the expression.
    pub value: Option<Loc>,
    /// The value itself.
    pub kind: NodeKind,
    /// The places of the values that this one took the place of, lowest layer first.
    pub overridden: Vec<Loc>,
    /// Changes from higher layers that wait until the expression below them is known. Empty once resolved.
    pub(crate) edits: Vec<Edit>,
}

/// What a [`Node`] holds.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Str(String),
    /// A list.
    List(Vec<Node>),
    /// A table in the order in which its keys were first written, bases first.
    Map(Vec<(String, Node)>),
}

impl Default for NodeKind {
    fn default() -> Self {
        NodeKind::Map(Vec::new())
    }
}

impl NodeKind {
    /// The kind in plain words, as used in messages: `a whole number`.
    pub fn describe(&self) -> &'static str {
        match self {
            NodeKind::Bool(_) => "a boolean",
            NodeKind::Int(_) => "a whole number",
            NodeKind::Float(_) => "a number",
            NodeKind::Str(_) => "text",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a table",
        }
    }
}

impl Node {
    /// A value at a place, without a key.
    pub(crate) fn new(kind: NodeKind, value: impl Into<Option<Loc>>) -> Self {
        Node { key: None, value: value.into(), kind, overridden: Vec::new(), edits: Vec::new() }
    }

    /// A JSON value without places; `None` for `null`, which configs do not have. A `null` in a list is left out.
    pub fn from_json(value: &serde_json::Value) -> Option<Node> {
        use serde_json::Value;
        let kind = match value {
            Value::Null => return None,
            Value::Bool(it) => NodeKind::Bool(*it),
            Value::Number(it) => match it.as_i64() {
                Some(it) => NodeKind::Int(it),
                None => NodeKind::Float(it.as_f64()?),
            },
            Value::String(it) => NodeKind::Str(it.clone()),
            Value::Array(items) => NodeKind::List(items.iter().filter_map(Node::from_json).collect()),
            Value::Object(entries) => {
                let entry = |(key, it): (&String, &Value)| Some((key.clone(), Node::from_json(it)?));
                NodeKind::Map(entries.iter().filter_map(entry).collect())
            }
        };
        Some(Node::new(kind, None))
    }

    /// The child under a key, or the element with that index (negative ones count from the end).
    pub fn child(&self, step: &str) -> Option<&Node> {
        match &self.kind {
            NodeKind::Map(entries) => entries.iter().find(|(key, _)| key == step).map(|(_, node)| node),
            NodeKind::List(items) => items.get(index(step, items.len())?),
            _ => None,
        }
    }

    pub(crate) fn child_mut(&mut self, step: &str) -> Option<&mut Node> {
        match &mut self.kind {
            NodeKind::Map(entries) => entries.iter_mut().find(|(key, _)| key == step).map(|(_, node)| node),
            NodeKind::List(items) => index(step, items.len()).and_then(|it| items.get_mut(it)),
            _ => None,
        }
    }

    /// The node at a dotted path: `train_pipeline.0.prob`. The empty path is the node itself.
    pub fn get(&self, path: &str) -> Option<&Node> {
        path.split('.').filter(|it| !it.is_empty()).try_fold(self, |node, step| node.child(step))
    }

    /// The entries of a table; none for other kinds.
    pub fn entries(&self) -> &[(String, Node)] {
        match &self.kind {
            NodeKind::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The elements of a list; none for other kinds.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            NodeKind::List(items) => items,
            _ => &[],
        }
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, if this is one.
    pub fn as_int(&self) -> Option<i64> {
        match self.kind {
            NodeKind::Int(it) => Some(it),
            _ => None,
        }
    }

    /// The number, whole or not, if this is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self.kind {
            NodeKind::Int(it) => Some(it as f64),
            NodeKind::Float(it) => Some(it),
            _ => None,
        }
    }

    /// The boolean, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self.kind {
            NodeKind::Bool(it) => Some(it),
            _ => None,
        }
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(self.kind, NodeKind::Map(_))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries().iter().map(|(key, _)| key.as_str())
    }

    /// Puts a value under a key of a table: in the old one's place, or at the end.
    pub(crate) fn insert(&mut self, key: &str, node: Node) {
        if let NodeKind::Map(entries) = &mut self.kind {
            match entries.iter_mut().find(|(it, _)| it == key) {
                Some(entry) => entry.1 = node,
                None => entries.push((key.to_owned(), node)),
            }
        }
    }

    pub(crate) fn remove(&mut self, step: &str) -> Option<Node> {
        match &mut self.kind {
            NodeKind::Map(entries) => entries.iter().position(|(key, _)| key == step).map(|at| entries.remove(at).1),
            NodeKind::List(items) => index(step, items.len()).filter(|&at| at < items.len()).map(|at| items.remove(at)),
            _ => None,
        }
    }

    /// The value as TOML on one line; a table is an inline one.
    pub fn to_toml_inline(&self) -> String {
        write::inline(self)
    }

    /// The tree as a TOML document whose texts may hold expressions, as one writes a config by hand.
    pub fn to_toml_unresolved(&self) -> String {
        write::unresolved(self)
    }

    /// The value as JSON, keys in the same order.
    pub fn to_json(&self) -> serde_json::Value {
        write::json(self)
    }

    /// The best place to point at for this node as a whole: the value, or the header of a table.
    pub fn loc(&self) -> Option<&Loc> {
        let (first, second) = if self.is_map() { (&self.key, &self.value) } else { (&self.value, &self.key) };
        first.as_ref().or(second.as_ref())
    }

    /// Whether both hold the same value, wherever it was written and in whatever order of keys.
    pub fn same_value(&self, other: &Node) -> bool {
        match (&self.kind, &other.kind) {
            (NodeKind::Bool(a), NodeKind::Bool(b)) => a == b,
            (NodeKind::Int(a), NodeKind::Int(b)) => a == b,
            (NodeKind::Float(a), NodeKind::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            (NodeKind::Str(a), NodeKind::Str(b)) => a == b,
            (NodeKind::List(a), NodeKind::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_value(b))
            }
            (NodeKind::Map(a), NodeKind::Map(b)) => {
                a.len() == b.len() && a.iter().all(|(key, a)| other.child(key).is_some_and(|b| a.same_value(b)))
            }
            _ => false,
        }
    }
}

/// The position that `step` means in a list of `len` elements; `-1` is the last one. It may lie past the end.
fn index(step: &str, len: usize) -> Option<usize> {
    let at: i64 = step.parse().ok()?;
    if at < 0 { len.checked_sub(at.unsigned_abs() as usize) } else { usize::try_from(at).ok() }
}
