//! Parts in a config: what is read, what is built, what is refused, and where the report points.

use mmy_config::{Loaded, Options, from_node, load_str};
use mmy_registry::{Build, BuildError, Kind, Slot, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Things that have channels.
#[derive(Debug)]
struct Layer;
impl Kind for Layer {
    const NAME: &'static str = "test layer";
    type Args<'a> = usize;
    type Output = String;
}

/// A convolution.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Conv {
    /// Channels out.
    out_channels: usize,
    /// Kernel, height and width.
    kernel: [usize; 2],
    /// How it is normalised.
    norm: Norm,
}

/// Normalisation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Norm {
    /// Added to the variance.
    eps: f64,
}

impl Default for Norm {
    fn default() -> Self {
        Norm { eps: 0.001 }
    }
}

impl Default for Conv {
    fn default() -> Self {
        Conv { out_channels: 8, kernel: [3, 3], norm: Norm::default() }
    }
}

impl Build<Layer> for Conv {
    fn build(&self, in_channels: usize) -> Result<String, BuildError> {
        if !self.out_channels.is_multiple_of(in_channels) {
            let message = format!("{} is no multiple of the {in_channels} channels that come in", self.out_channels);
            return Err(BuildError::new(message).at("out_channels").help("choose a multiple"));
        }
        Ok(format!("{in_channels}→{}", self.out_channels))
    }
}
register!(Layer, "Conv", Conv);

/// Layers one after another.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Stack {
    /// The layers.
    layers: Vec<Slot<Layer>>,
    /// What comes last, if anything.
    last: Option<Slot<Layer>>,
}

impl Build<Layer> for Stack {
    fn build(&self, in_channels: usize) -> Result<String, BuildError> {
        let built: Result<Vec<_>, _> = self.layers.iter().chain(&self.last).map(|it| it.build(in_channels)).collect();
        Ok(format!("[{}]", built?.join(" ")))
    }
}
register!(Layer, "Stack", Stack);

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    model: Slot<Layer>,
}

fn loaded(text: &str) -> Loaded {
    load_str("c.toml", text, &Options::default()).unwrap_or_else(|report| panic!("{report}"))
}

/// What a user of the config sees: the built thing, or the report.
fn show(text: &str) -> String {
    let loaded = loaded(text);
    let built = from_node::<Root>(&loaded)
        .and_then(|root| root.model.build(2).map_err(|error| loaded.diagnose(&error.path, error.message, error.help)));
    built.unwrap_or_else(|report| report.to_string())
}

const NESTED: &str = r#"
[model]
type = "Stack"
layers = [
    { out_channels = 4, type = "mmdet.Conv" },
    { type = "Stack", layers = [{ type = "mmy_registry::Conv", kernel = [1, 1], norm = { eps = 1 } }] },
]
last = { type = "mmyolo.Conv", out_channels = 6 }
"#;

#[test]
fn builds_nested_parts() {
    assert_eq!(show(NESTED), "[2→4 [2→8] 2→6]");
}

#[test]
fn reports_point_to_the_fault() {
    insta::assert_snapshot!("unknown_name", show("model.type = \"Convv\""));
    insta::assert_snapshot!("unknown_prefix", show("model.type = \"torch.Conv\""));
    insta::assert_snapshot!("no_type", show("[model]\nout_channels = 3"));
    insta::assert_snapshot!("no_table", show("model = \"Conv\""));
    insta::assert_snapshot!("type_is_a_number", show("model = { type = 3 }"));
    let nested = NESTED.replace("kernel", "kernels").replace("eps", "epsilon").replace("= 6", "= \"6\"");
    insta::assert_snapshot!("nested_keys_and_types", show(&nested));
    insta::assert_snapshot!("does_not_fit", show(&NESTED.replace("kernel", "out_channels = 3, kernel")));
    insta::assert_snapshot!("default_does_not_fit", {
        let root: Root = from_node(&loaded(NESTED)).expect("a good config");
        let error = root.model.build(3).expect_err("4 is no multiple of 3");
        let without = loaded(&NESTED.replace("out_channels = 4, ", ""));
        format!("{error}\n{}", without.diagnose(&error.path, error.message.clone(), error.help.clone()))
    });
}

/// What is written is read back as the same, with every default spelled out and `type` first.
#[test]
fn serialises() {
    let root: Root = from_node(&loaded(NESTED)).expect("a good config");
    let written = serde_json::to_string(&root).expect("plain data");
    assert_eq!(
        written,
        concat!(
            r#"{"model":{"type":"Stack","layers":["#,
            r#"{"type":"Conv","out_channels":4,"kernel":[3,3],"norm":{"eps":0.001}},"#,
            r#"{"type":"Stack","layers":[{"type":"Conv","out_channels":8,"kernel":[1,1],"norm":{"eps":1.0}}],"last":null}"#,
            r#"],"last":{"type":"Conv","out_channels":6,"kernel":[3,3],"norm":{"eps":0.001}}}}"#
        )
    );
    let back: Root = serde_json::from_str(&written).expect("its own output");
    assert_eq!(serde_json::to_string(&back).expect("plain data"), written);
    assert_eq!(back.model.build(2).expect("as before"), "[2→4 [2→8] 2→6]");
}

#[test]
fn knows_its_place() {
    let root: Root = from_node(&loaded(NESTED)).expect("a good config");
    let entry = root.model.entry();
    assert_eq!((root.model.path(), root.model.name()), ("model", "Stack"));
    assert_eq!((entry.kind, entry.krate, entry.file), ("test layer", "mmy-registry", file!()));
    assert!(entry.line > 1);
}

#[test]
fn schema_carries_docs_and_defaults() {
    let schema = mmy_registry::find("test layer", "Conv").expect("registered above").schema();
    let schema = schema.as_value();
    assert_eq!(schema["description"], "A convolution.");
    assert_eq!(schema["properties"]["out_channels"]["description"], "Channels out.");
    assert_eq!(schema["properties"]["out_channels"]["default"], 8);
    assert_eq!(schema["additionalProperties"], false);
    let stack = mmy_registry::find("test layer", "Stack").expect("registered above").schema();
    assert_eq!(stack.as_value()["properties"]["layers"]["items"]["x-mmy-kind"], "test layer");
}

#[test]
fn finds_names() {
    let check = |name: &str, expect: Option<&str>| {
        assert_eq!(mmy_registry::find("test layer", name).map(|it| it.name), expect, "{name}");
    };
    check("Conv", Some("Conv"));
    check("mmdet.Conv", Some("Conv"));
    check("mmyolo.Conv", Some("Conv"));
    check("mmy-registry::Conv", Some("Conv"));
    check("other_crate::Conv", None);
    check("Conv.Conv", None);
    check("conv", None);
    assert_eq!(mmy_registry::find("another kind", "Conv").map(|it| it.name), None);
    assert_eq!(mmy_registry::names("test layer"), ["Conv", "Stack"]);
    assert_eq!(mmy_registry::kinds(), ["test layer"]);
    assert_eq!(mmy_registry::check(), Ok(()));
}
