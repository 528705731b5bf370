//! A corpus of configs, one folder each: `config.toml`, the files that it builds on, and in `args` one `--set` item or
//! `env NAME=value` per line. The snapshot holds what a user would see: warnings and the resolved config, or the report.
//!
//! `merge/` holds one folder for each rule of the language, `broken/` what must be refused before types matter, and
//! `typed/` what a typed root refuses.

use std::path::Path;

use mmy_config::{Loaded, Options, from_node, load, load_str};
use mmy_diag::Report;
use serde::Deserialize;

/// A root such as an engine would have, in small.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only reading matters here")]
struct Root {
    work_dir: Option<String>,
    model: Model,
    train_cfg: TrainCfg,
    #[serde(default)]
    pipeline: Vec<Transform>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only reading matters here")]
struct Model {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    depths: Vec<usize>,
    #[serde(default)]
    img_scale: [u32; 2],
    #[serde(default)]
    mlp_ratio: f64,
    norm: Option<Norm>,
}

#[derive(Debug, Deserialize)]
enum Kind {
    StarNet,
    CSPDarknet,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only reading matters here")]
struct Norm {
    eps: f64,
    #[serde(default)]
    affine: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only reading matters here")]
struct TrainCfg {
    max_epochs: u32,
    val_interval: Option<std::num::NonZeroU32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only reading matters here")]
struct Transform {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    prob: f64,
}

fn load_case(config: &Path) -> Result<Loaded, Report> {
    // Relative, so that no report holds the place of the checkout.
    let config = config.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("the corpus is in this crate");
    let args = std::fs::read_to_string(config.with_file_name("args")).unwrap_or_default();
    let root_keys = ["work_dir", "model", "train_cfg", "pipeline"].map(str::to_owned).into();
    let mut options = Options { root_keys, ..Options::default() };
    for line in args.lines() {
        match (line.strip_prefix("env ").and_then(|it| it.split_once('=')), line.strip_prefix("cfg-options ")) {
            (Some((name, value)), _) => {
                options.env.insert(name.to_owned(), value.to_owned());
            }
            (None, Some(item)) => options.cfg_options.push(item.to_owned()),
            (None, None) => options.set.push(line.to_owned()),
        }
    }
    load(config, &options)
}

fn resolved(loaded: &Loaded) -> String {
    let shown = loaded.to_toml();
    let again = load_str("again.toml", &shown, &Options::default()).expect("a resolved config loads");
    assert!(loaded.root.same_value(&again.root), "not the same after a round trip:\n{shown}");
    assert_eq!(shown, again.to_toml());
    match loaded.warnings.is_empty() {
        true => shown,
        false => format!("{}\n\n{shown}", Report::new(loaded.warnings.clone(), loaded.sources.clone())),
    }
}

#[test]
fn merge() {
    insta::glob!("fixtures/merge/*/config.toml", |config| {
        let loaded = load_case(config).unwrap_or_else(|report| panic!("{report}"));
        insta::assert_snapshot!(resolved(&loaded));
    });
}

#[test]
fn broken() {
    insta::glob!("fixtures/broken/*/config.toml", |config| {
        let report = load_case(config).expect_err("a broken config");
        assert!(report.has_errors());
        insta::assert_snapshot!(report);
    });
}

#[test]
fn typed() {
    insta::glob!("fixtures/typed/*/config.toml", |config| {
        let loaded = load_case(config).unwrap_or_else(|report| panic!("{report}"));
        let report = from_node::<Root>(&loaded).expect_err("a wrong config");
        insta::assert_snapshot!(report);
    });
}
