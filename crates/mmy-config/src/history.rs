//! Who set a value: every layer that says something about it, in order, and what its expressions read.

use std::collections::BTreeSet;

use mmy_diag::Loc;
use serde_json::Value;

use crate::{
    Loaded, Node, NodeKind,
    edit::{Edit, Op, join},
    template::{self, Part},
};

/// What a layer does to the value at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Sets it, or a value around it.
    Set,
    /// Adds elements to a list.
    Append,
    /// Takes it away, or a table around it, by `_delete_` or `~key`.
    Remove,
}

/// One layer's say about a value.
#[derive(Debug, Clone)]
pub struct Change {
    /// What it does.
    pub action: Action,
    /// The key that the layer wrote: that of the value itself, or of a table or list around it.
    pub path: String,
    /// Where.
    pub loc: Option<Loc>,
    /// The texts with expressions that it wrote there.
    pub expressions: Vec<String>,
}

/// A name that an expression reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    /// The name as the expression has it: `img_scale`, `_base_.lr`, `env`.
    pub name: String,
    /// The path of what it means, for [`Loaded::get`]; `None` for what is no value of the tree.
    pub path: Option<String>,
}

impl Loaded {
    /// Every layer that set, changed or removed the value at a dotted path, lowest first. The path need not be there: what
    /// was set and removed again has a history too.
    pub fn history(&self, path: &str) -> Vec<Change> {
        let steps: Vec<_> = path.split('.').filter(|it| !it.is_empty()).collect();
        let mut out = Vec::new();
        for layer in self.layers.iter() {
            say(&layer.tree, &steps, 0, &mut out);
        }
        for edit in self.edits.iter() {
            self.edited(edit, &steps, &mut out);
        }
        out
    }

    fn edited(&self, edit: &Edit, steps: &[&str], out: &mut Vec<Change>) {
        let depth = edit.path.len();
        let same = |at: usize| {
            let name = edit.path[at].name.as_str();
            let len = || self.get(&steps[..at].join(".")).map_or(0, |it| it.items().len() as i64);
            let position = |it: &str| it.parse::<i64>().ok().map(|it| if it < 0 { it + len() } else { it });
            name == steps[at] || position(name).is_some_and(|it| Some(it) == position(steps[at]))
        };
        if depth > steps.len() || !(0..depth).all(same) {
            return;
        }
        let change = |action, node: Option<&Node>| Change {
            action,
            path: steps[..depth].join("."),
            loc: node.and_then(|it| it.value.clone()).or_else(|| edit.path.last().map(|it| it.loc.clone())),
            expressions: node.map(expressions).unwrap_or_default(),
        };
        match &edit.op {
            Op::Set(node) => say(node, steps, depth, out),
            Op::Append(node) | Op::Insert(_, node) => out.push(change(Action::Append, Some(node))),
            Op::Remove => out.push(change(Action::Remove, None)),
        }
    }

    /// What the expressions of a change read, sorted. `rest` is the path below the change's own that is asked about: where
    /// the expression is nothing but a name, so that the tree there is an alias, it is looked up below that name.
    pub fn reads(&self, change: &Change, rest: &str) -> Vec<Read> {
        let mut out = BTreeSet::new();
        for text in &change.expressions {
            let sources: Vec<_> = match template::splice(text) {
                Some((source, _)) => vec![source],
                None => template::parts(text)
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|it| if let Part::Expression(source, _) = it { Some(source) } else { None })
                    .collect(),
            };
            let alias = change.expressions.len() == 1 && sources.len() == 1;
            let jinja = minijinja::Environment::new();
            for source in &sources {
                let Ok(expression) = jinja.compile_expression(source) else { continue };
                for name in expression.undeclared_variables(true) {
                    let below = if alias && source.trim() == name { join(&name, rest) } else { name.clone() };
                    out.insert(Read { path: self.meant(below.trim_end_matches('.')), name });
                }
            }
        }
        out.into_iter().collect()
    }

    /// The path of what a name means in an expression: a variable, else a key of the root. What lies below a value, such as
    /// an attribute of a number, is cut off.
    fn meant(&self, name: &str) -> Option<String> {
        let first = name.split('.').next().unwrap_or(name);
        let mut path = if self.vars.child(first).is_some() { format!("vars.{name}") } else { name.to_owned() };
        while self.get(&path).is_none() {
            path.truncate(path.rfind('.')?);
        }
        Some(path).filter(|it| it != "vars")
    }

    /// Adds what `whole`, the typed config as JSON, has and the tree has not: the defaults of its parts. They have no place.
    pub fn fill(&mut self, whole: &Value) {
        fill(&mut self.root, whole);
    }
}

/// What the tree of one layer says about a path, of which it covers the steps from `start` on.
fn say(tree: &Node, steps: &[&str], start: usize, out: &mut Vec<Change>) {
    let mut node = tree;
    for at in start..=steps.len() {
        let set = |node: &Node| Change {
            action: Action::Set,
            path: steps[..at].join("."),
            loc: node.loc().cloned(),
            expressions: expressions(node),
        };
        let mark = node.child("_delete_").filter(|it| node.is_map() && it.as_bool() == Some(true));
        if let Some(mark) = mark {
            out.push(Change { action: Action::Remove, loc: mark.key.clone(), expressions: Vec::new(), ..set(node) });
        }
        let Some(step) = steps.get(at) else {
            // A table that is only the way to its keys sets nothing itself, save that someone wrote its header.
            if at > 0 {
                out.push(if node.is_map() { Change { expressions: Vec::new(), ..set(node) } } else { set(node) });
            }
            return;
        };
        let spliced = node.items().iter().any(|it| it.as_str().and_then(template::splice).is_some());
        match node.child(step).filter(|_| !spliced) {
            Some(child) => node = child,
            // A value, or a list that is replaced whole: it takes the place of what lower layers have there.
            None if !node.is_map() => return out.push(set(node)),
            None => return,
        }
    }
}

/// Every text with an expression in a value.
fn expressions(node: &Node) -> Vec<String> {
    match &node.kind {
        NodeKind::Str(text) if template::is_late(node) => vec![text.clone()],
        NodeKind::List(items) => items.iter().flat_map(expressions).collect(),
        NodeKind::Map(entries) => entries.iter().flat_map(|(_, it)| expressions(it)).collect(),
        _ => Vec::new(),
    }
}

fn fill(node: &mut Node, whole: &Value) {
    match (&mut node.kind, whole) {
        (NodeKind::Map(_), Value::Object(entries)) => {
            for (key, value) in entries {
                match node.child_mut(key) {
                    Some(child) => fill(child, value),
                    None => {
                        if let Some(child) = Node::from_json(value) {
                            node.insert(key, child);
                        }
                    }
                }
            }
        }
        (NodeKind::List(items), Value::Array(values)) => {
            items.iter_mut().zip(values).for_each(|(item, value)| fill(item, value));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::{Loaded, Options, load_str};

    fn history(loaded: &Loaded, path: &str) -> Vec<String> {
        let place = |it: &super::Change| it.loc.as_ref().map_or("?".into(), |it| loaded.sources.show(it));
        loaded.history(path).iter().map(|it| format!("{:?} {} {}", it.action, it.path, place(it))).collect()
    }

    #[test]
    fn every_layer_is_told_in_order() {
        let defaults = "lr = 0.1\nmore = [1]\n[opt]\ntype = \"SGD\"\nmomentum = 0.9\n[[list]]\na = 1";
        let text = "\
lr = \"{{ base * 2 }}\"
other = \"{{ opt }}\"
spliced = [\"{{ *list }}\", 7]
[vars]
base = 1
[opt]
_delete_ = true
type = \"Adam\"";
        let set = ["lr=0.5", "~opt.type", "list.-1.a=2", "more+=[3]"].map(str::to_owned).into();
        let options = Options { set, defaults: Some(defaults.into()), ..Options::default() };
        let loaded = load_str("c.toml", text, &options).expect("a good config");
        let check = |path: &str, expect: &[&str]| assert_eq!(history(&loaded, path), expect, "{path}");
        check("lr", &["Set lr built-in defaults:1:6", "Set lr c.toml:1:6", "Set lr --set:1:4"]);
        check("opt.momentum", &["Set opt.momentum built-in defaults:5:12", "Remove opt c.toml:7:1"]);
        check(
            "opt.type",
            &[
                "Set opt.type built-in defaults:4:8",
                "Remove opt c.toml:7:1",
                "Set opt.type c.toml:8:8",
                "Remove opt.type --set:1:6",
            ],
        );
        check("list.0.a", &["Set list.0.a built-in defaults:7:5", "Set list.0.a --set:1:11"]);
        check("more.1", &["Set more built-in defaults:2:8", "Append more --set:1:7"]);
        check("other.type", &["Set other c.toml:2:9"]);
        check("spliced.0.a", &["Set spliced c.toml:3:11"]);
        check("nothing.here", &[]);
    }

    #[test]
    fn what_expressions_read() {
        let text = "\
a = \"{{ n * img[0] + _base_.a | default(1) + model.dim }}\"
b = \"{{ env('X', '1') }}/{{ n }}\"
alias = \"{{ model }}\"
model = { dim = 2 }
[vars]
n = 3
img = [1, 2]";
        let loaded = load_str("c.toml", text, &Options::default()).expect("a good config");
        let reads = |path: &str, rest: &str| -> Vec<String> {
            let change = loaded.history(path).pop().expect("it is set");
            let shown = |it: super::Read| format!("{}={}", it.name, it.path.unwrap_or_default());
            loaded.reads(&change, rest).into_iter().map(shown).collect()
        };
        assert_eq!(reads("a", ""), ["_base_.a=", "img=vars.img", "model.dim=model.dim", "n=vars.n"]);
        assert_eq!(reads("b", ""), ["env=", "n=vars.n"]);
        assert_eq!(reads("alias.dim", "dim"), ["model=model.dim"]);
    }

    #[test]
    fn defaults_fill_what_is_not_there() {
        let mut loaded = load_str("c.toml", "a = 1\n[[t]]\nb = 2", &Options::default()).expect("a good config");
        loaded.fill(&serde_json::json!({"a": 5, "t": [{"b": 1, "c": 0.5}], "n": null, "z": [true]}));
        assert_eq!(loaded.to_toml(), "a = 1\nt = [{ b = 2, c = 0.5 }]\nz = [true]\n");
        assert!(loaded.get("z").is_some_and(|it| it.loc().is_none()));
    }
}
