//! Takes out what the types of our parts do not have, and puts keys in their order.

use std::collections::HashSet;

use mmy_config::{Node, NodeKind};
use serde_json::Value;

use super::{Import, NEEDLESS};

/// Fits a tree and the variables that it reads.
pub fn fit(import: &mut Import, schema: &Value, tree: &mut Node, vars: &mut Node) {
    let mut fitter = Fitter { import, vars, seen: HashSet::new() };
    fitter.fit(tree, schema, schema, "the config", "");
}

struct Fitter<'a> {
    import: &'a mut Import,
    vars: &'a mut Node,
    /// Variables that were fitted already.
    seen: HashSet<String>,
}

/// Whether a value stays.
#[derive(PartialEq)]
enum Fits {
    Yes,
    No,
}

impl Fitter<'_> {
    /// Fits a value to its type; `root` is the document that references of the type are about.
    fn fit(&mut self, node: &mut Node, schema: &Value, root: &Value, owner: &str, path: &str) -> Fits {
        if let Some(kind) = schema.get("x-mmy-kind").and_then(Value::as_str) {
            return self.part(node, kind, path);
        }
        if let Some(target) =
            schema.get("$ref").and_then(Value::as_str).and_then(|it| root.pointer(it.strip_prefix('#')?))
        {
            return self.fit(node, target, root, owner, path);
        }
        let variable = node.as_str().and_then(alias).map(|(name, spliced)| (name.to_owned(), spliced));
        if let Some((name, _)) = variable {
            self.variable(&name, schema, root, owner);
            return Fits::Yes;
        }
        if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
            // Among several types only a part or a table can have keys that do not fit.
            let option =
                options.iter().find(|it| it.get("x-mmy-kind").or(it.get("$ref")).or(it.get("items")).is_some());
            return option.map_or(Fits::Yes, |it| self.fit(node, it, root, owner, path));
        }
        match &mut node.kind {
            NodeKind::Map(_) => self.table(node, schema, root, owner, path),
            NodeKind::List(items) => {
                let Some(inner) = schema.get("items") else { return Fits::Yes };
                let mut at = 0;
                items.retain_mut(|it| {
                    at += 1;
                    // A splice is a list of what the elements are.
                    match it.as_str().and_then(alias).filter(|it| it.1).map(|it| it.0.to_owned()) {
                        Some(name) => {
                            self.variable(&name, schema, root, owner);
                            true
                        }
                        None => self.fit(it, inner, root, owner, &format!("{path}.{}", at - 1)) == Fits::Yes,
                    }
                });
            }
            _ => {}
        }
        Fits::Yes
    }

    fn part(&mut self, node: &mut Node, kind: &str, path: &str) -> Fits {
        if let Some((name, _)) = node.as_str().and_then(alias) {
            let schema = serde_json::json!({ "x-mmy-kind": kind });
            self.variable(name, &schema, &Value::Null, "");
            return Fits::Yes;
        }
        // The function that makes batches is named by a text alone in older configs.
        if let NodeKind::Str(name) = &node.kind
            && mmy_registry::find(kind, name).is_some()
        {
            *node = super::named_part(node.clone());
        }
        let Some(name) = node.child("type").and_then(Node::as_str).map(str::to_owned) else { return Fits::Yes };
        if name.contains("{{") {
            return Fits::Yes;
        }
        let Some(entry) = mmy_registry::find(kind, &name) else {
            let why = format!("no {kind} is called `{name}` here");
            if kind == "hook" {
                let key = path.rsplit('.').next().unwrap_or(path);
                match NEEDLESS.iter().find(|it| it.0 == key) {
                    Some((_, needless)) => self.import.leave(path, node, needless),
                    None => self.import.lose(path, node, &why),
                }
                return Fits::No;
            }
            self.import.lose(path, node, &format!("{why}; `mmy registry list` shows what there is"));
            return Fits::Yes;
        };
        let schema = entry.schema().to_value();
        self.table(node, &schema, &schema, entry.name, path);
        Fits::Yes
    }

    fn table(&mut self, node: &mut Node, schema: &Value, root: &Value, owner: &str, path: &str) {
        let is_part = std::ptr::eq(schema, root) && !path.is_empty();
        let NodeKind::Map(entries) = &mut node.kind else { return };
        let properties = schema.get("properties").and_then(Value::as_object);
        let more = schema.get("additionalProperties").filter(|it| it.is_object());
        if properties.is_none() && more.is_none() {
            return;
        }
        entries.retain_mut(|(key, child)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            // mmengine names a class also where there is but one.
            if matches!(key.as_str(), "type" | "_delete_") {
                return key != "type" || is_part || properties.is_some_and(|it| it.contains_key("type"));
            }
            let had = !child.entries().is_empty();
            match properties.and_then(|it| it.get(key)).or(more) {
                // A table that lost all of its keys says nothing any more.
                Some(schema) => {
                    self.fit(child, schema, root, owner, &path) == Fits::Yes && !(had && child.entries().is_empty())
                }
                None => {
                    match NEEDLESS.iter().find(|it| it.0 == key) {
                        Some((_, why)) => self.import.leave(&path, child, why),
                        None => self.import.lose(&path, child, &format!("{owner} has no such key")),
                    }
                    false
                }
            }
        });
        let order: Vec<_> = properties.into_iter().flatten().map(|it| it.0.as_str()).collect();
        let rank = |key: &str| order.iter().position(|it| *it == key).unwrap_or(order.len());
        entries.sort_by_key(|it| if it.0 == "type" { 0 } else { 1 + rank(&it.0) });
    }

    fn variable(&mut self, name: &str, schema: &Value, root: &Value, owner: &str) {
        if !self.seen.insert(name.to_owned()) {
            return;
        }
        if let Some(mut node) = super::child_mut(self.vars, name).map(std::mem::take) {
            self.fit(&mut node, schema, root, owner, &format!("vars.{name}"));
            if let Some(place) = super::child_mut(self.vars, name) {
                *place = node;
            }
        }
    }
}

/// The name that a text consists of as an expression, and whether it is a splice.
pub fn alias(text: &str) -> Option<(&str, bool)> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let (inner, spliced) = inner.strip_prefix('*').map_or((inner, false), |it| (it.trim(), true));
    let plain = !inner.is_empty() && inner.chars().all(|it| it.is_alphanumeric() || it == '_');
    plain.then_some((inner, spliced))
}
