//! Lays one tree over another.
//!
//! Figment decides whose value wins: each layer is a provider, and the tag of a merged value names the layer. This module
//! adds what figment has no notion of: the order of keys, places, `_delete_`, tables over expressions, and the clash of
//! two bases.

use std::collections::BTreeSet;

use figment::{
    Figment, Metadata, Profile, Provider, Source,
    value::{Dict, Map, Value},
};
use mmy_diag::{Code, Diagnostic};

use crate::{
    Node, NodeKind,
    edit::{Edit, Op, State, join},
    template,
};

/// The key that makes a table take the place of the one below it.
const DELETE: &str = "_delete_";

/// One file's own tree.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// Which layer it is, for figment.
    pub source: Source,
    /// Its text, as an index into the sources.
    pub file: usize,
    /// What the file says.
    pub tree: Node,
    /// The layers that this one builds on: its bases and theirs, as positions in the list of layers.
    pub ancestors: BTreeSet<usize>,
    /// Whether it was read from JSON.
    pub is_json: bool,
}

impl Provider for &Layer {
    fn metadata(&self) -> Metadata {
        Metadata::from("config layer", self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(dict(&self.tree)))
    }
}

fn dict(table: &Node) -> Dict {
    table.entries().iter().map(|(key, node)| (key.clone(), value(node))).collect()
}

fn value(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Bool(it) => Value::from(*it),
        NodeKind::Int(it) => Value::from(*it),
        NodeKind::Float(it) => Value::from(*it),
        NodeKind::Str(it) => Value::from(it.as_str()),
        NodeKind::List(items) => Value::from(items.iter().map(value).collect::<Vec<_>>()),
        NodeKind::Map(_) => Value::from(dict(node)),
    }
}

/// The one tree that `layers` make, lowest first; `positions` are theirs in the list of all layers. Warnings and clashes go to `out`.
pub(crate) fn all(layers: &[&Layer], positions: &[usize], state: State, out: &mut Vec<Diagnostic>) -> Node {
    let mut layers: Vec<Layer> = layers.iter().map(|&it| it.clone()).collect();
    for upper in 0..layers.len() {
        let mut tree = std::mem::take(&mut layers[upper].tree);
        let (below, rest) = layers.split_at_mut(upper);
        let mut below: Vec<_> = below.iter_mut().zip(positions).collect();
        delete(&mut tree, &mut Vec::new(), &rest[0].ancestors, &mut below, out);
        layers[upper].tree = tree;
    }
    let roots: Vec<_> = layers.iter().zip(positions).map(|(layer, &at)| (at, layer, &layer.tree)).collect();
    let before = out.len();
    clashes("", &roots, out);
    let clashes = out.len() > before;
    let figment = layers.iter().fold(Figment::new(), Figment::merge);
    // Providers are plain data, so that this cannot fail; an empty table is what figment has for no layers.
    let merged = figment.data().ok().and_then(|mut it| it.remove(&Profile::Default)).unwrap_or_default();
    let winner = |it: &Value| {
        let source = figment.get_metadata(it.tag()).and_then(|it| it.source.as_ref());
        layers.iter().position(|layer| Some(&layer.source) == source)
    };
    let builds_on = |upper: usize, lower: usize| layers[upper].ancestors.contains(&positions[lower]);
    let trees: Vec<_> = layers.iter().map(|it| &it.tree).enumerate().collect();
    // What clashes needs no second finding about how it was merged.
    let mut warnings = Vec::new();
    let by_hand = layers.last().is_some_and(|it| matches!(it.source, Source::Custom(_)));
    let how = Merge { winner: &winner, builds_on: &builds_on, by_hand, state };
    let tree = build(&Value::from(merged), &trees, &how, "", &mut warnings);
    if !clashes {
        out.append(&mut warnings);
    }
    tree
}

/// `upper` over `lower`, which stand at `path`.
pub(crate) fn two(path: &str, lower: Node, upper: Node, state: State, out: &mut Vec<Diagnostic>) -> Node {
    // Under a key, so that either may be something else than a table.
    let layer = |name: &str, node: Node, ancestors: &[usize]| Layer {
        source: Source::Custom(name.to_owned()),
        file: 0,
        tree: Node::new(NodeKind::Map(vec![(path.to_owned(), node)]), None),
        ancestors: ancestors.iter().copied().collect(),
        is_json: false,
    };
    let (lower, upper) = (layer("lower", lower, &[]), layer("upper", upper, &[0]));
    all(&[&lower, &upper], &[0, 1], state, out).remove(path).unwrap_or_default()
}

/// Takes every `_delete_` out of `tree` and what it means out of the layers that it builds on.
fn delete(
    tree: &mut Node,
    path: &mut Vec<String>,
    ancestors: &BTreeSet<usize>,
    below: &mut [(&mut Layer, &usize)],
    out: &mut Vec<Diagnostic>,
) {
    if let Some(mark) = tree.remove(DELETE) {
        match mark.kind {
            NodeKind::Bool(true) => {
                let mut deleted = false;
                for (layer, _) in below.iter_mut().filter(|(_, at)| ancestors.contains(at)) {
                    deleted |= match path.split_last() {
                        Some((last, rest)) => rest
                            .iter()
                            .try_fold(&mut layer.tree, |node, step| node.child_mut(step))
                            .is_some_and(|parent| parent.remove(last).is_some()),
                        None => !std::mem::take(&mut layer.tree).entries().is_empty(),
                    };
                }
                if !deleted {
                    let title = format!("`_delete_` deletes nothing: no base sets `{}`", path.join("."));
                    let finding = Diagnostic::new(Code::DeletesNothing, title);
                    out.push(finding.primary(mark.key, "nothing below it").help("remove this line"));
                }
            }
            NodeKind::Bool(false) => {}
            _ => {
                let title = format!("`_delete_` is true or false, and this is {}", mark.kind.describe());
                out.push(Diagnostic::new(Code::BadDelete, title).primary(mark.value, ""));
            }
        }
    }
    match &mut tree.kind {
        NodeKind::Map(entries) => {
            for (key, node) in entries {
                path.push(key.clone());
                delete(node, path, ancestors, below, out);
                path.pop();
            }
        }
        NodeKind::List(items) => {
            // A list is replaced whole, so that nothing is below a table inside it.
            for (at, node) in items.iter_mut().enumerate() {
                path.push(at.to_string());
                delete(node, path, ancestors, &mut [], out);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Looks for a key that two layers set, neither of which builds on the other, to different values.
fn clashes(path: &str, here: &[(usize, &Layer, &Node)], out: &mut Vec<Diagnostic>) {
    if here.len() < 2 {
        return;
    }
    if here.iter().all(|(_, _, node)| node.is_map()) {
        let mut seen = BTreeSet::new();
        for key in here.iter().flat_map(|(_, _, node)| node.keys()).filter(|it| seen.insert(it.to_owned())) {
            let below = here.iter().filter_map(|&(at, layer, node)| Some((at, layer, node.child(key)?)));
            clashes(&join(path, key), &below.collect::<Vec<_>>(), out);
        }
        return;
    }
    let overruled = |at: &usize| here.iter().any(|(_, layer, _)| layer.ancestors.contains(at));
    let mut heads = here.iter().filter(|(at, _, _)| !overruled(at));
    let Some((_, _, first)) = heads.next() else { return };
    if let Some((_, _, second)) = heads.find(|(_, _, node)| !node.same_value(first)) {
        out.push(
            Diagnostic::new(Code::BaseClash, format!("two bases set `{path}` to different values"))
                .primary(second.loc().cloned(), "one base says this")
                .note(first.loc().cloned(), "another base says this")
                .help(format!("set `{path}` in the file that names both bases, or remove it from one of them")),
        );
    }
}

struct Merge<'a> {
    /// The layer that figment took a value from.
    winner: &'a dyn Fn(&Value) -> Option<usize>,
    /// Whether the first of two layers builds on the second.
    builds_on: &'a dyn Fn(usize, usize) -> bool,
    /// Whether the highest layer is no file, but an override.
    by_hand: bool,
    state: State,
}

impl Merge<'_> {
    /// Whether a value is an expression; once resolved, braces are only text.
    fn is_late(&self, node: &Node) -> bool {
        self.state == State::Merged && template::is_late(node)
    }
}

fn build(merged: &Value, here: &[(usize, &Node)], how: &Merge<'_>, path: &str, out: &mut Vec<Diagnostic>) -> Node {
    let Value::Dict(_, dict) = merged else {
        let won = (how.winner)(merged).and_then(|at| here.iter().position(|(layer, _)| *layer == at));
        let at = won.unwrap_or(here.len() - 1);
        let mut node = here[at].1.clone();
        if let Some((_, table)) = here[..at].last().filter(|(_, it)| it.is_map() && !how.is_late(&node)) {
            let title = format!("{} takes the place of the table `{path}`", node.kind.describe());
            let finding = Diagnostic::new(Code::ValueOverTable, title).primary(node.loc().cloned(), "this value");
            out.push(finding.note(table.loc().cloned(), "the table is here"));
        }
        out.extend(repeated(&node, here[at].0, &here[..at], how, path));
        inherit(&mut node, &here[..at]);
        return node;
    };
    // Figment merges tables down to the highest value that is none.
    let cut = here.iter().rposition(|(_, it)| !it.is_map()).map_or(0, |it| it + 1);
    let (below, tables) = here.split_at(cut);
    let top = tables.last().map(|it| it.1);
    let mut node = Node::new(NodeKind::default(), top.and_then(|it| it.value.clone()));
    node.key = top.and_then(|it| it.key.clone());
    for key in tables.iter().flat_map(|(_, it)| it.keys()) {
        if let (None, Some(value)) = (node.child(key), dict.get(key)) {
            let here: Vec<_> = tables.iter().filter_map(|(at, it)| Some((*at, it.child(key)?))).collect();
            node.insert(key, build(value, &here, how, &join(path, key), out));
        }
    }
    // Edits of merged tables come from overrides, and are the business of the highest.
    node.edits = tables.iter().flat_map(|(_, it)| it.edits.clone()).collect();
    let Some(((_, lower), rest)) = below.split_last() else { return node };
    if how.is_late(lower) {
        let mut late = (*lower).clone();
        inherit(&mut late, rest);
        late.key = node.key.clone();
        late.edits.push(Edit { path: Vec::new(), op: Op::Set(node) });
        return late;
    }
    let title = format!("a table takes the place of `{path}`, which is {}", lower.kind.describe());
    let finding = Diagnostic::new(Code::TableOverValue, title).primary(node.loc().cloned(), "this table");
    out.push(finding.note(lower.loc().cloned(), "the value is here"));
    inherit(&mut node, below);
    node
}

/// A value that is already what the layers below make it. A repeated `type` says what the table is, and the `[vars]` of a
/// file say what it is made with: neither is a finding.
fn repeated(node: &Node, at: usize, below: &[(usize, &Node)], how: &Merge<'_>, path: &str) -> Option<Diagnostic> {
    let overridden: Vec<_> = below.iter().filter(|(it, _)| (how.builds_on)(at, *it)).collect();
    let overruled = |lower: usize| overridden.iter().any(|(it, _)| (how.builds_on)(*it, lower));
    let heads: Vec<_> = overridden.iter().filter(|(it, _)| !overruled(*it)).collect();
    let own = |text: &str| ["_base_", "file"].iter().any(|it| text.contains(it));
    // What such an expression means depends on the file that it stands in.
    let local = how.is_late(node) && node.as_str().is_none_or(own);
    let named = path.rsplit('.').next() == Some("type") || (path.starts_with("vars.") && !how.by_hand);
    if heads.is_empty() || local || named || !heads.iter().all(|(_, it)| it.same_value(node)) {
        return None;
    }
    let title = format!("this repeats the value that `{path}` has already");
    let finding = Diagnostic::new(Code::RepeatedValue, title).primary(node.key.clone().or(node.value.clone()), "");
    let finding = finding.note(heads[0].1.loc().cloned(), "it is set to the same here");
    Some(finding.help(if how.by_hand { "leave it out" } else { "remove one of the two" }))
}

/// Keeps the places of what a node took the place of.
fn inherit(node: &mut Node, below: &[(usize, &Node)]) {
    let lower = below.iter().flat_map(|(_, it)| it.overridden.iter().chain(it.loc()).cloned());
    let own = std::mem::take(&mut node.overridden);
    node.overridden = lower.chain(own).collect();
}
