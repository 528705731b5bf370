//! JSON Schema of whole configs, for editors: the parts' own types put together.
//!
//! It describes a config as it is written, before its bases are merged into it. So no key is required, any value may be an
//! expression, and a table without a `type` (its base has one) may have the keys of any part of its kind. The dialect is
//! draft 7, which every TOML and YAML language server knows.

use serde_json::{Map, Value, json};

use crate::{Entry, entries, kinds, names};

/// What tells an expression from other text.
const EXPRESSION: &str = "\\{\\{";

/// The schema of a config whose root is described by `root`.
pub fn document(root: &schemars::Schema) -> Value {
    let root = root.as_value();
    let mut top = Reader { root, open: Vec::new() }.convert(root);
    if let Some(properties) = top.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove("_delete_");
        let path = json!({ "type": "string", "description": "A file to build on, relative to this one." });
        let list = json!({ "type": "array", "items": path, "description": "Files to build on, relative to this one." });
        properties.insert("_base_".into(), json!({ "anyOf": [path, list] }));
        let vars = "Variables for expressions; `--set NAME=VALUE` changes one.";
        properties.insert("vars".into(), json!({ "type": "object", "description": vars }));
        let marker = "Marks this file as out of use: `expected` and `reference` name what to take instead.";
        properties.insert("_deprecation_".into(), json!({ "type": "object", "description": marker }));
    }
    let mut definitions = Map::new();
    for kind in kinds() {
        definitions.insert(name_of(kind), self::kind(kind));
    }
    for entry in entries() {
        definitions.insert(part_name(entry), part(entry));
    }
    let mut out = Map::new();
    out.insert("$schema".into(), "http://json-schema.org/draft-07/schema#".into());
    out.insert("title".into(), "A config of mmy".into());
    if let Value::Object(top) = top {
        out.extend(top);
    }
    // The root is a table, never an expression.
    out.insert("type".into(), "object".into());
    out.remove("pattern");
    out.insert("definitions".into(), definitions.into());
    out.into()
}

/// The name of a kind's definition. Language servers take references apart as URLs, so that blanks are out.
fn name_of(kind: &str) -> String {
    kind.replace(' ', "_")
}

fn part_name(entry: &Entry) -> String {
    format!("{}.{}", name_of(entry.kind), entry.name)
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}") })
}

/// Any part of a kind.
fn kind(kind: &str) -> Value {
    let of_kind: Vec<_> = entries().into_iter().filter(|it| it.kind == kind).collect();
    let mut chosen: Vec<_> = of_kind.iter().map(|it| json!({ "const": it.name, "description": about(it) })).collect();
    // `mmdet.NAME` and `plugin::NAME`, which `mmy config check` judges.
    chosen.push(json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]+(\\.|::)[A-Za-z0-9_]+$" }));
    chosen.push(expression());
    let mut keys = Map::new();
    let describe = format!("Which {kind} it is.");
    keys.insert("type".into(), json!({ "description": describe, "anyOf": chosen }));
    for entry in &of_kind {
        for (key, value) in part(entry)["properties"].as_object().into_iter().flatten().filter(|it| it.0 != "type") {
            match keys.get_mut(key) {
                None => drop(keys.insert(key.clone(), value.clone())),
                Some(known) => either(known, value),
            }
        }
    }
    let mut all = vec![json!({ "properties": keys, "additionalProperties": false })];
    all.extend(of_kind.iter().map(|it| {
        let named = json!({ "pattern": format!("^(.*(\\.|::))?{}$", it.name) });
        json!({ "if": { "required": ["type"], "properties": { "type": named } }, "then": reference(&part_name(it)) })
    }));
    json!({ "type": ["object", "string"], "pattern": EXPRESSION, "allOf": all })
}

/// Adds what one more part says about a key that others have too.
fn either(known: &mut Value, value: &Value) {
    const MARK: &str = "x-any-part";
    if known == value {
        return;
    }
    if known.get(MARK).is_none() {
        *known = json!({ MARK: true, "anyOf": [known.clone()] });
    }
    if let Some(options) = known["anyOf"].as_array_mut().filter(|it| !it.contains(value)) {
        options.push(value.clone());
    }
}

/// One part.
fn part(entry: &Entry) -> Value {
    let schema = entry.schema();
    let root = schema.as_value();
    let mut out = Reader { root, open: Vec::new() }.convert(root);
    if let Some(table) = out.as_object_mut() {
        table.insert("title".into(), entry.name.into());
        let name = json!({ "type": "string", "description": about(entry) });
        let keys = table.entry("properties").or_insert_with(|| json!({})).as_object_mut();
        if let Some(keys) = keys {
            keys.insert("type".into(), name);
            keys.entry("_delete_").or_insert_with(delete);
        }
    }
    out
}

fn about(entry: &Entry) -> String {
    entry.schema().get("description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn expression() -> Value {
    json!({ "type": "string", "pattern": EXPRESSION })
}

fn delete() -> Value {
    json!({ "type": "boolean", "description": "Take the place of the table below instead of merging with it." })
}

/// Turns what schemars says about a type into what a config file may say.
struct Reader<'a> {
    root: &'a Value,
    /// The references that are being followed, so that a type that holds itself comes to an end.
    open: Vec<String>,
}

impl Reader<'_> {
    fn convert(&mut self, schema: &Value) -> Value {
        let Some(table) = schema.as_object() else { return schema.clone() };
        let mut out = Map::new();
        for key in ["description", "default"] {
            if let Some(value) = table.get(key).filter(|it| !it.is_null()) {
                out.insert(key.into(), value.clone());
            }
        }
        // A text with a kind is the name of a part alone, as in the lines of a layer list.
        let is_name = table.get("type").and_then(Value::as_str) == Some("string");
        if let Some(kind) = table.get("x-mmy-kind").and_then(Value::as_str).filter(|_| !is_name) {
            return match names(kind).is_empty() {
                true => json!({ "type": ["object", "string"] }),
                false => reference(&name_of(kind)),
            };
        }
        if let Some(target) = table.get("$ref").and_then(Value::as_str) {
            let resolved = target.strip_prefix('#').and_then(|it| self.root.pointer(it)).cloned();
            if let Some(resolved) = resolved.filter(|_| !self.open.iter().any(|it| it == target)) {
                self.open.push(target.to_owned());
                let inner = self.convert(&resolved);
                self.open.pop();
                return over(inner, out);
            }
            return out.into();
        }
        for any in ["anyOf", "oneOf"] {
            if let Some(options) = table.get(any).and_then(Value::as_array) {
                return self.options(options, out);
            }
        }
        for key in ["const", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "maxItems"] {
            if let Some(value) = table.get(key) {
                out.insert(key.into(), value.clone());
            }
        }
        let types: Vec<&str> = match table.get("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).filter(|it| *it != "null").collect(),
            _ => Vec::new(),
        };
        if out.contains_key("const") || out.contains_key("enum") {
            let moved: Map<_, _> = ["const", "enum"].iter().filter_map(|it| out.remove_entry(*it)).collect();
            out.insert("anyOf".into(), json!([moved, expression()]));
            return out.into();
        }
        if types.contains(&"array") {
            self.array(table, &mut out);
        }
        if types.contains(&"object") {
            self.object(table, &mut out);
        }
        // `pattern` is about text alone: a value is of its own type, or an expression.
        match types.as_slice() {
            [] => {}
            types if types.contains(&"string") => drop(out.insert("type".into(), json!(types))),
            types => {
                out.insert("type".into(), types.iter().copied().chain(["string"]).collect::<Vec<_>>().into());
                out.insert("pattern".into(), EXPRESSION.into());
            }
        }
        out.into()
    }

    fn options(&mut self, options: &[Value], out: Map<String, Value>) -> Value {
        let is_null = |it: &Value| it.get("type").and_then(Value::as_str) == Some("null");
        let mut rest: Vec<_> = options.iter().filter(|it| !is_null(it)).map(|it| self.convert(it)).collect();
        if rest.len() == 1 {
            return over(rest.remove(0), out);
        }
        // The names of an enum need the expression only once.
        let names = |it: &Value| it["anyOf"].as_array().filter(|it| it.len() == 2 && it[1] == expression()).is_some();
        if rest.iter().all(names) {
            let own = |it: Value| over(it["anyOf"][0].clone(), it.as_object().cloned().unwrap_or_default());
            rest = rest.into_iter().map(own).collect();
            rest.iter_mut().filter_map(Value::as_object_mut).for_each(|it| drop(it.remove("anyOf")));
            rest.push(expression());
        }
        let mut out = out;
        out.insert("anyOf".into(), rest.into());
        out.into()
    }

    fn array(&mut self, table: &Map<String, Value>, out: &mut Map<String, Value>) {
        if let Some(items) = table.get("prefixItems").and_then(Value::as_array) {
            let items: Vec<_> = items.iter().map(|it| self.convert(it)).collect();
            out.insert("items".into(), items.into());
        } else if let Some(items) = table.get("items") {
            let items = self.convert(items);
            out.insert("items".into(), items);
        }
    }

    fn object(&mut self, table: &Map<String, Value>, out: &mut Map<String, Value>) {
        let mut properties = Map::new();
        for (key, value) in table.get("properties").and_then(Value::as_object).into_iter().flatten() {
            properties.insert(key.clone(), self.convert(value));
        }
        properties.insert("_delete_".into(), delete());
        out.insert("properties".into(), properties.into());
        if let Some(more) = table.get("additionalProperties") {
            let more = self.convert(more);
            out.insert("additionalProperties".into(), more);
        }
    }
}

/// `schema` with the description and default of the place where it is used. Beside a reference nothing else counts.
fn over(mut schema: Value, own: Map<String, Value>) -> Value {
    if let Some(table) = schema.as_object_mut().filter(|it| !it.contains_key("$ref")) {
        table.extend(own);
    }
    schema
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};

    use crate::{Build, BuildError, Kind, Slot, register};

    /// Shapes.
    #[derive(Debug)]
    struct Shape;
    impl Kind for Shape {
        const NAME: &'static str = "plane shape";
        type Args<'a> = ();
        type Output = ();
    }

    /// A circle.
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Circle {
        /// Half its width.
        radius: f64,
        /// How it is drawn.
        #[serde(default)]
        line: Option<Line>,
    }
    impl Build<Shape> for Circle {
        fn build(&self, (): ()) -> Result<(), BuildError> {
            Ok(())
        }
    }
    register!(Shape, "Circle", Circle);

    /// A square.
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Square {
        /// Its side.
        side: u8,
        /// What lies in it.
        inside: Vec<Slot<Shape>>,
    }
    impl Build<Shape> for Square {
        fn build(&self, (): ()) -> Result<(), BuildError> {
            Ok(())
        }
    }
    register!(Shape, "Square", Square);

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Line {
        /// Without gaps.
        Solid,
        Dashed,
    }

    #[derive(JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema matters")]
    struct Root {
        /// What to draw.
        shape: Option<Slot<Shape>>,
        /// Where.
        at: [i64; 2],
    }

    #[test]
    fn judges_configs_as_they_are_written() {
        let schema = super::document(&schemars::schema_for!(Root));
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let good = |value: Value| {
            let errors: Vec<_> = validator.iter_errors(&value).map(|it| it.to_string()).collect();
            assert!(errors.is_empty(), "{value}: {errors:?}");
        };
        let bad = |value: Value| assert!(!validator.is_valid(&value), "{value}");
        good(json!({ "_base_": "a.toml", "vars": { "x": 1 }, "at": [1, "{{ x }}"] }));
        good(json!({ "shape": { "type": "Circle", "radius": 1, "line": "solid", "_delete_": true } }));
        good(json!({ "shape": { "type": "mmdet.Circle", "radius": "{{ x / 2 }}", "line": "{{ x }}" } }));
        good(json!({ "shape": "{{ other }}", "at": "{{ place }}" }));
        good(json!({ "shape": { "side": 3 } }));
        good(json!({ "shape": { "type": "Square", "inside": ["{{ *more }}", { "type": "Circle" }] } }));
        bad(json!({ "shap": {} }));
        bad(json!({ "shape": "Circle" }));
        bad(json!({ "shape": { "type": "Circel" } }));
        bad(json!({ "shape": { "type": "Circle", "side": 3 } }));
        bad(json!({ "shape": { "type": "mmy.Circle", "side": 3 } }));
        bad(json!({ "shape": { "radios": 3 } }));
        bad(json!({ "shape": { "type": "Circle", "radius": "wide" } }));
        bad(json!({ "shape": { "type": "Circle", "line": "dotted" } }));
        bad(json!({ "shape": { "type": "Square", "side": -1 } }));
        bad(json!({ "shape": { "type": "Square", "inside": [{ "type": "Circle", "radius": true }] } }));
        bad(json!({ "at": [1, 2, 3] }));
    }
}
