//! Parts whose names and arguments stand apart.

use mmy_config::{Options, from_node, load_str};
use mmy_registry::{Build, BuildError, Call, Kind, find, register};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeSeed};

/// Things that are called.
struct Callee;
impl Kind for Callee {
    const NAME: &'static str = "test callee";
    type Args<'a> = i64;
    type Output = String;
}

/// A convolution.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Conv {
    /// Channels out.
    c2: i64,
    /// Kernel.
    #[serde(default = "three")]
    k: i64,
}

fn three() -> i64 {
    3
}

impl Build<Callee> for Conv {
    fn build(&self, channels: i64) -> Result<String, BuildError> {
        match self.k {
            0 => Err(BuildError::new("an empty kernel").at("k")),
            k => Ok(format!("{channels}→{} by {k}", self.c2)),
        }
    }
}
register!(Callee, "Conv", Conv);

/// The arguments of a `Conv`.
struct Arguments(Call<Callee>);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entry = find("test callee", "Conv").expect("registered above");
        Call::arguments(entry).deserialize(deserializer).map(Arguments)
    }
}

#[derive(Deserialize)]
struct Root {
    conv: Arguments,
}

/// What the arguments build, or what is wrong with them.
fn call(arguments: &str) -> String {
    let loaded = load_str("config.toml", &format!("conv = {arguments}"), &Options::default()).expect("good TOML");
    match from_node::<Root>(&loaded) {
        Ok(root) => root.conv.0.build(4).unwrap_or_else(|it| it.to_string()),
        Err(report) => report.to_string(),
    }
}

#[test]
fn a_list_and_a_table_say_the_same() {
    assert_eq!(call("[8, 5]"), "4→8 by 5");
    assert_eq!(call("{ k = 5, c2 = 8 }"), "4→8 by 5");
    assert_eq!(call("[8]"), "4→8 by 3");
}

#[test]
fn what_does_not_fit_is_told_where_it_was_written() {
    assert_eq!(call("[8, 0]"), "1: an empty kernel");
    assert_eq!(call("{ c2 = 8, k = 0 }"), "k: an empty kernel");
    for (arguments, expect) in [
        ("[]", "c2"),
        ("[8, 1, 2]", "`Conv` takes 2 arguments at most: c2, k"),
        ("[8, \"1\"]", "`conv.1` must be a whole number"),
        ("{ c2 = 8, kernel = 1 }", "has no key `kernel`"),
        ("8", "the arguments of `Conv`, a list or a table"),
    ] {
        let found = call(arguments);
        assert!(found.contains(expect), "{arguments}: `{expect}` is not in\n{found}");
    }
}

#[test]
fn without_arguments_there_are_the_defaults() {
    let entry = find("test callee", "Conv").expect("registered above");
    let error = Call::<Callee>::without_arguments::<serde_json::Error>(entry).expect_err("channels are needed");
    assert!(error.to_string().contains("c2"), "{error}");
}
