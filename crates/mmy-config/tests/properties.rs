//! For random trees: merging is what it says, and showing and reading again give the same.

use mmy_config::{Loaded, Options, load_str};
use proptest::prelude::*;
use serde_json::{Map, Value};

fn key() -> impl Strategy<Value = String> {
    // Few names, so that trees overlap; `_`, blanks, dots and letters beyond ASCII among them.
    prop_oneof!["[a-d]", "[a-c_]{1,3}", "[ .\"'ü=\\[\\]]{1,2}"].prop_filter("a key of the language", |it| it != "vars")
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has only finite numbers", |it| it.is_finite()).prop_map(Value::from),
        "[ -~\\n\\täß✓]{0,12}".prop_map(Value::from),
        "[{}' a]{0,8}".prop_map(Value::from),
    ];
    let node = leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            table(inner).prop_map(Value::Object),
        ]
    });
    table(node).prop_map(Value::Object)
}

fn table(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((key(), value), 0..6).prop_map(|entries| entries.into_iter().collect())
}

/// A tree whose text has no expressions: braces are escaped.
fn escaped(tree: &Value) -> Value {
    fn escape(tree: &mut Value) {
        match tree {
            Value::String(text) if text.trim() == "{{" => *text = format!("{{{{ '{text}' }}}}"),
            Value::String(text) => *text = text.replace("{{", "{{ '{{' }}"),
            Value::Array(items) => items.iter_mut().for_each(escape),
            Value::Object(entries) => entries.values_mut().for_each(escape),
            _ => {}
        }
    }
    let mut tree = tree.clone();
    escape(&mut tree);
    tree
}

/// A tree as TOML, written by another hand than ours.
fn toml(tree: &Value) -> String {
    toml::to_string(&escaped(tree)).expect("a tree of plain values")
}

/// Tables merge, everything else is replaced.
fn merged(lower: &Value, upper: &Value) -> Value {
    let (Value::Object(lower), Value::Object(upper)) = (lower, upper) else { return upper.clone() };
    let mut out = lower.clone();
    for (key, value) in upper {
        let value = lower.get(key).map_or(value.clone(), |lower| merged(lower, value));
        out.insert(key.clone(), value);
    }
    Value::Object(out)
}

fn load(text: &str, below: Option<String>) -> Loaded {
    let options = Options { defaults: below, ..Options::default() };
    load_str("c.toml", text, &options).unwrap_or_else(|report| panic!("{report}\n{text}"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn show_and_read_again(tree in tree()) {
        let loaded = load(&toml(&tree), None);
        prop_assert_eq!(&loaded.to_json(), &tree);
        let again = load(&loaded.to_toml(), None);
        prop_assert_eq!(&again.to_json(), &tree);
        prop_assert_eq!(again.to_toml(), loaded.to_toml());
    }

    #[test]
    fn json_is_read_as_toml_is(tree in tree()) {
        let loaded = load_str("c.json", &escaped(&tree).to_string(), &Options::default());
        prop_assert_eq!(&loaded.unwrap_or_else(|report| panic!("{report}")).to_json(), &tree);
    }

    #[test]
    fn merge(lower in tree(), upper in tree()) {
        let loaded = load(&toml(&upper), Some(toml(&lower)));
        prop_assert_eq!(loaded.to_json(), merged(&lower, &upper));
    }

    /// Text of any kind is read or refused, and a refusal can be shown.
    #[test]
    fn never_panics(text in "([ -~\\n]|[a-c] = |\"\\{\\{|\\}\\}\"|_base_|vars\\.|\\[|ü){0,40}", item in "[a-c.~+=\\[\\]\\{\\}\"0-9 -]{0,12}") {
        let options = Options { set: vec![item], ..Options::default() };
        for name in ["c.toml", "c.json"] {
            if let Err(report) = load_str(name, &text, &options) {
                prop_assert!(!report.to_string().is_empty());
            }
        }
    }
}
