//! What the parts' own types say about them, in words: the manual that `mmy registry`, `mmy config explain` and the
//! generated pages show.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use mmy_config::{Loaded, Node};
use mmy_registry::Entry;
use serde_json::Value;

/// One key of a part.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Its type in words: `integer`, `list of number`, `any backbone`, `"linear" | "cosine"`.
    pub kind: String,
    /// What it is when nobody sets it.
    pub default: Option<Value>,
    /// Whether somebody has to set it.
    pub required: bool,
    /// Its doc.
    pub doc: String,
}

impl Key {
    /// `, required`, ` = 24`, `, optional`.
    pub fn default_shown(&self) -> String {
        match &self.default {
            _ if self.required => ", required".to_owned(),
            Some(value) => format!(" = {value}"),
            None => ", optional".to_owned(),
        }
    }
}

/// The doc of a part.
pub fn doc(entry: &Entry) -> String {
    entry.schema().get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The first sentence of a doc, without its full stop.
pub fn first_sentence(doc: &str) -> String {
    let paragraph = doc.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    match paragraph.split_once(". ") {
        Some((first, _)) => first.to_owned(),
        None => paragraph.trim_end_matches('.').to_owned(),
    }
}

/// The keys of the table that a schema describes, in the order of the type.
pub fn keys(schema: &Value) -> Vec<Key> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(name, property)| key(name, property, schema, schema)).collect()
}

fn key(name: &str, property: &Value, table: &Value, root: &Value) -> Key {
    let required = table.get("required").and_then(Value::as_array).into_iter().flatten();
    Key {
        name: name.to_owned(),
        kind: type_name(property, root),
        default: property.get("default").filter(|it| !it.is_null()).cloned(),
        required: required.into_iter().any(|it| it.as_str() == Some(name)),
        doc: property.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
    }
}

/// What the types say about a place in a config.
#[derive(Debug, Clone)]
pub struct Found {
    /// The part whose key it is, or `the config`.
    pub owner: String,
    /// The key, where the owner has one of that name.
    pub key: Option<Key>,
    /// The keys that there are, where it has none.
    pub known: Vec<String>,
}

/// What the types of a whole config say. The schema of a part is made once, when it is first asked for.
pub struct Types {
    root: Rc<Value>,
    parts: RefCell<HashMap<(&'static str, &'static str), Rc<Value>>>,
}

impl Types {
    /// The types below a root that `schema` describes.
    pub fn new(schema: Value) -> Self {
        Types { root: Rc::new(schema), parts: RefCell::default() }
    }

    fn part(&self, entry: &Entry) -> Rc<Value> {
        let mut parts = self.parts.borrow_mut();
        parts.entry((entry.kind, entry.name)).or_insert_with(|| Rc::new(entry.schema().to_value())).clone()
    }

    /// Looks a dotted path up; the parts on the way are those that the config chooses. `None` when the way leads through
    /// something that the types do not describe.
    pub fn find(&self, loaded: &Loaded, path: &str) -> Option<Found> {
        let mut place = Place { schema: (*self.root).clone(), root: self.root.clone(), owner: "the config" };
        let mut node = Some(&loaded.root);
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            place.enter_part(self, node)?;
            let child = place.child(step)?;
            if steps.peek().is_none() {
                let known =
                    || place.schema["properties"].as_object().into_iter().flatten().map(|it| it.0.clone()).collect();
                let key = (!child.is_null()).then(|| key(step, &child, &place.schema, &place.root));
                let known = if key.is_none() { known() } else { Vec::new() };
                return Some(Found { owner: place.owner.to_owned(), key, known });
            }
            place.schema = child;
            node = node.and_then(|it| it.child(step));
        }
        None
    }
}

struct Place {
    schema: Value,
    /// The document that references are about.
    root: Rc<Value>,
    owner: &'static str,
}

impl Place {
    /// Follows references and choices down to a table or list; for a part, to the one that the config names.
    fn enter_part(&mut self, types: &Types, node: Option<&Node>) -> Option<()> {
        loop {
            if let Some(kind) = self.schema.get("x-mmy-kind").and_then(Value::as_str) {
                let name = node.and_then(|it| it.child("type")).and_then(Node::as_str)?;
                let entry = mmy_registry::find(kind, name)?;
                self.root = types.part(entry);
                self.schema = (*self.root).clone();
                self.owner = entry.name;
            } else if let Some(target) = self.schema.get("$ref").and_then(Value::as_str) {
                self.schema = target.strip_prefix('#').and_then(|it| self.root.pointer(it))?.clone();
            } else if let Some(options) = self.schema.get("anyOf").and_then(Value::as_array) {
                let is_null = |it: &&Value| it.get("type").and_then(Value::as_str) == Some("null");
                self.schema = options.iter().find(|it| !is_null(it))?.clone();
            } else {
                return Some(());
            }
        }
    }

    /// The schema of what is under a key or an index; `null` when there is no such key.
    fn child(&self, step: &str) -> Option<Value> {
        if step.parse::<i64>().is_ok() {
            let items = self.schema.get("items").or_else(|| self.schema.get("prefixItems")?.get(0))?;
            return Some(items.clone());
        }
        let properties = self.schema.get("properties").and_then(Value::as_object);
        let more = self.schema.get("additionalProperties").filter(|it| it.is_object());
        let child = properties.and_then(|it| it.get(step)).or(more);
        (properties.is_some() || more.is_some()).then(|| child.cloned().unwrap_or(Value::Null))
    }
}

/// A type in words.
fn type_name(property: &Value, root: &Value) -> String {
    if let Some(kind) = property.get("x-mmy-kind").and_then(Value::as_str) {
        return format!("any {kind}");
    }
    if let Some(target) = property.get("$ref").and_then(Value::as_str) {
        let resolved = target.strip_prefix('#').and_then(|it| root.pointer(it));
        return resolved.map_or_else(|| target.to_owned(), |it| type_name(it, root));
    }
    for any in ["anyOf", "oneOf"] {
        if let Some(options) = property.get(any).and_then(Value::as_array) {
            let names = options.iter().map(|it| type_name(it, root)).filter(|it| it != "null");
            return names.collect::<Vec<_>>().join(" | ");
        }
    }
    if let Some(value) = property.get("const") {
        return value.to_string();
    }
    if let Some(values) = property.get("enum").and_then(Value::as_array) {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    let of_items = |key: &str| property.get(key).map(|it| type_name(it, root));
    match property.get("type") {
        Some(Value::String(name)) if name == "array" => match (property.get("prefixItems"), of_items("items")) {
            (Some(Value::Array(items)), _) => {
                format!("[{}]", items.iter().map(|it| type_name(it, root)).collect::<Vec<_>>().join(", "))
            }
            (_, Some(items)) => format!("list of {items}"),
            _ => "list".into(),
        },
        Some(Value::String(name)) if name == "object" => "table".into(),
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).filter(|it| *it != "null").collect::<Vec<_>>().join(" | ")
        }
        _ => "any value".into(),
    }
}
