//! The values of expressions back to nodes.

use std::sync::Arc;

use minijinja::{Value, value::ValueKind};
use mmy_diag::{Code, Diagnostic, Loc};

use crate::{
    Node, NodeKind,
    fault::describe,
    resolve::{Faulty, Resolved, Resolver},
    scope::{Item, Scope},
};

impl Resolver {
    /// Turns the value of an expression into a node at the place of `at`.
    pub(crate) fn node(self: &Arc<Self>, value: &Value, at: &Node) -> Resolved {
        let node = self.convert(value, at.value.as_ref())?;
        // Without this, an alias would point to where its target was written.
        let (key, value, overridden) = (at.key.clone(), at.value.clone(), at.overridden.clone());
        Ok(node.map(|it| Node { key, value, overridden, ..it }))
    }

    /// Parts of an aliased value keep the places where they were written; what an expression made is at `loc`.
    fn convert(self: &Arc<Self>, value: &Value, loc: Option<&Loc>) -> Resolved {
        let refuse = |title: String| {
            self.report(Diagnostic::new(Code::ExpressionFails, title).primary(loc.cloned(), ""));
            Err(Faulty)
        };
        if let Some(item) = value.downcast_object_ref::<Item>() {
            return Ok(Some((*item.0).clone()));
        }
        if let Some(scope) = value.downcast_object_ref::<Scope>() {
            let raw = self.raw(scope.tree, &scope.path, Node::clone).unwrap_or_default();
            return self.resolve(scope.tree, &mut scope.path.clone(), &raw);
        }
        let kind = match value.kind() {
            ValueKind::None => return Ok(None),
            ValueKind::Bool => NodeKind::Bool(value.is_true()),
            ValueKind::Number if value.is_integer() => match i64::try_from(value.clone()) {
                Ok(it) => NodeKind::Int(it),
                Err(_) => return refuse(format!("the whole number {value} does not fit into 64 bits")),
            },
            ValueKind::Number => NodeKind::Float(f64::try_from(value.clone()).unwrap_or(f64::NAN)),
            ValueKind::String => NodeKind::Str(value.to_string()),
            ValueKind::Seq | ValueKind::Iterable => {
                let Ok(items) = value.try_iter() else { return refuse("this list cannot be read".to_owned()) };
                let mut out = Vec::new();
                for item in items.checked() {
                    let Ok(item) = item else { return refuse("this list cannot be read".to_owned()) };
                    match self.convert(&item, loc)? {
                        Some(node) => out.push(node),
                        None => return refuse("an element of this list is none".to_owned()),
                    }
                }
                NodeKind::List(out)
            }
            ValueKind::Map => {
                let Ok(keys) = value.try_iter() else { return refuse("this table cannot be read".to_owned()) };
                let mut out = Vec::new();
                for key in keys {
                    let Some(name) = key.as_str() else {
                        return refuse(format!("the keys of a table are text, and {key} is none"));
                    };
                    let Ok(child) = value.get_item(&key) else { continue };
                    out.extend(self.convert(&child, loc)?.map(|it| (name.to_owned(), it)));
                }
                NodeKind::Map(out)
            }
            kind => return refuse(format!("{} is no value of a config", describe(kind))),
        };
        Ok(Some(Node::new(kind, loc.cloned())))
    }
}
