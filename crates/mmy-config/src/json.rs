//! One JSON text to a tree with places, as `mmengine.Config.dump` writes it.

use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{self, ObjectPropName, Value},
    common::{Range, Ranged},
    parse_to_ast,
};
use mmy_diag::{Code, Diagnostic, Loc};

use crate::{Node, NodeKind};

/// How deep values may lie in each other: as deep as TOML's reader lets them.
const DEEPEST: usize = 80;

/// Reads a JSON document. `null` unsets a key, as `{{ none }}` does. A key at the top that is none of `root_keys` and does
/// not begin with `_` is a helper variable, and goes to `[vars]`.
pub(crate) fn document(text: &str, file: usize, root_keys: &[String], out: &mut Vec<Diagnostic>) -> Node {
    let fail = |loc: Loc, title: String| Diagnostic::new(Code::Syntax, title).primary(loc, "");
    let empty = Node::new(NodeKind::default(), Loc::new(file, 0..0));
    if let Some(at) = too_deep(text) {
        out.push(fail(Loc::new(file, at..at + 1), format!("values lie in each other more than {DEEPEST} deep")));
        return empty;
    }
    let strict = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        // Python writes them.
        allow_non_finite_numbers: true,
        allow_extended_string_escapes: false,
    };
    let parsed = match parse_to_ast(text, &CollectOptions::default(), &strict) {
        Ok(parsed) => parsed,
        Err(error) => {
            let range = error.range();
            let loc = Loc::new(file, range.start..range.end);
            out.push(fail(loc, format!("this is not JSON: {}", error.kind())));
            return empty;
        }
    };
    let Some(Value::Object(object)) = &parsed.value else {
        let loc = Loc::new(file, 0..parsed.value.map_or(0, |it| it.end()));
        out.push(fail(loc, "a config is a table: { … }".to_owned()));
        return empty;
    };
    let mut root = Reader { file, out }.object(object);
    if !root_keys.is_empty() {
        let variable = |key: &str| key != "vars" && !key.starts_with('_') && !root_keys.iter().any(|it| it == key);
        let (vars, keys): (Vec<_>, Vec<_>) = root.into_iter().partition(|it| variable(&it.0));
        root = keys;
        if !vars.is_empty() {
            root.push(("vars".to_owned(), Node::new(NodeKind::Map(vars), None)));
        }
    }
    Node::new(NodeKind::Map(root), Loc::new(file, 0..0))
}

/// Where the text opens a bracket too many, so that reading it might exhaust the stack.
fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    text.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > DEEPEST
    })
}

struct Reader<'a> {
    file: usize,
    out: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn loc(&self, range: Range) -> Loc {
        Loc::new(self.file, range.start..range.end)
    }

    fn object(&mut self, object: &ast::Object<'_>) -> Vec<(String, Node)> {
        let mut entries: Vec<(String, Node)> = Vec::with_capacity(object.properties.len());
        for property in &object.properties {
            let (name, range) = match &property.name {
                ObjectPropName::String(it) => (it.value.to_string(), it.range),
                ObjectPropName::Word(it) => (it.value.to_owned(), it.range),
            };
            let mut node = self.value(&property.value);
            let key = self.loc(range);
            if let Some((_, first)) = entries.iter().find(|it| it.0 == name) {
                let finding = Diagnostic::new(Code::Syntax, format!("the key `{name}` is there twice"));
                self.out.push(finding.primary(key, "").note(first.key.clone(), "it is set here first"));
                continue;
            }
            node.key = Some(key);
            entries.push((name, node));
        }
        entries
    }

    fn value(&mut self, value: &Value<'_>) -> Node {
        let loc = self.loc(value.range());
        let kind = match value {
            Value::StringLit(it) => NodeKind::Str(it.value.to_string()),
            Value::NumberLit(it) => match (it.value.parse(), it.value.parse()) {
                (Ok(whole), _) => NodeKind::Int(whole),
                (_, Ok(number)) => NodeKind::Float(number),
                _ => NodeKind::Float(f64::NAN),
            },
            Value::BooleanLit(it) => NodeKind::Bool(it.value),
            Value::NullKeyword(_) => NodeKind::Str("{{ none }}".to_owned()),
            Value::Array(it) => NodeKind::List(it.elements.iter().map(|it| self.value(it)).collect()),
            Value::Object(it) => NodeKind::Map(self.object(it)),
        };
        Node::new(kind, loc)
    }
}
