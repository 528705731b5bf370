//! `mmy config check`: a corpus of broken configs, each with what is said of it. Read each snapshot as a newcomer would: is
//! it plain at once what to do?

use std::path::Path;

use mmy_check::{Purpose, check};
use mmy_config::{Options, examine};
use mmy_diag::Report;
use mmy_engine::{
    RunConfig,
    optim::{GroupArgs, OptimConstructor, OptimConstructorKind, ParamGroup},
};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::support::{config, folder, mmy, ok, train_args};

register!(OptimConstructorKind, "ForgetfulConstructor", Forgetful);
register!(
    OptimConstructorKind,
    "OldConstructor",
    Old,
    deprecated = "use `DefaultOptimWrapperConstructor` in its place"
);

/// Leaves the first layers out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Forgetful {}

impl Build<OptimConstructorKind> for Forgetful {
    fn build(&self, (): ()) -> Result<Box<dyn OptimConstructor>, BuildError> {
        Ok(Box::new(Group { but: "backbone.stem" }))
    }
}

/// One group, as ever.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Old {}

impl Build<OptimConstructorKind> for Old {
    fn build(&self, (): ()) -> Result<Box<dyn OptimConstructor>, BuildError> {
        Ok(Box::new(Group { but: "nothing" }))
    }
}

#[derive(Debug)]
struct Group {
    but: &'static str,
}

impl OptimConstructor for Group {
    fn groups(&self, args: &GroupArgs<'_>) -> Result<Vec<ParamGroup>, BuildError> {
        let kept = args.params.iter().filter(|it| !it.name.starts_with(self.but));
        let params = kept.map(|it| (it.name.clone(), it.tensor.shallow_clone())).collect();
        Ok(vec![ParamGroup::new("all", params, &args.defaults, args.defaults.weight_decay)])
    }
}

/// What is said of a config of the corpus; the file `args` beside it holds the command line and the environment.
fn findings(path: &Path) -> Report {
    // Relative, so that no report holds the place of the checkout.
    let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("the corpus is in this package");
    let args = std::fs::read_to_string(path.with_file_name("args")).unwrap_or_default();
    let mut options =
        Options { root_keys: RunConfig::keys(), elsewhere: Some(mmy_registry::elsewhere), ..Options::default() };
    for line in args.lines() {
        match (line.strip_prefix("env ").and_then(|it| it.split_once('=')), line.strip_prefix("cfg-options ")) {
            (Some((name, value)), _) => {
                options.env.insert(name.to_owned(), value.to_owned());
            }
            (None, Some(item)) => options.cfg_options.push(item.to_owned()),
            (None, None) => options.set.push(line.to_owned()),
        }
    }
    match examine(path, &options) {
        Ok(loaded) => check(&loaded, Purpose::Anything).report,
        Err(report) => report,
    }
}

#[test]
fn corpus() {
    insta::glob!("../fixtures/check", "*/config.toml", |path| {
        let report = findings(path);
        assert!(!report.diagnostics.is_empty(), "nothing is found in {}", path.display());
        for it in &report.diagnostics {
            assert!(it.primary.is_some(), "no place: {report}");
            assert!(it.primary.as_ref().is_some_and(|it| report.sources.get(it.loc.file).is_some()));
        }
        insta::assert_snapshot!(report);
    });
}

/// Every shipped config is without a finding, save those that say so themselves and data that are not here.
#[test]
fn shipped_configs_are_clean() {
    for path in crate::support::shipped() {
        let options =
            Options { root_keys: RunConfig::keys(), elsewhere: Some(mmy_registry::elsewhere), ..Options::default() };
        let loaded = examine(&path, &options).unwrap_or_else(|report| panic!("{report}"));
        let report = check(&loaded, Purpose::Anything).report;
        let mut ids: Vec<_> = report.diagnostics.iter().map(|it| it.code.id()).filter(|it| *it != "W0360").collect();
        ids.dedup();
        // What is kept as it was published has its faults, and says so.
        if path.to_string_lossy().ends_with("as_published.toml") {
            ids.retain(|it| !it.starts_with("W03"));
        }
        assert!(ids.is_empty(), "{}\n{report}", path.display());
    }
}

#[test]
fn the_command_tells_and_sets_its_status() {
    let dir = folder();
    let good = config("starnet_s1_yolov5.toml");
    let ran = ok(dir.path(), &["config", "check", &good]);
    assert!(ran.out.ends_with("starnet_s1_yolov5.toml: nothing found\n"), "{}", ran.out);
    assert!(ran.err.is_empty(), "{}", ran.err);
    // A warning is no failure, unless it is asked to be one.
    let idle = ["config", "check", &good, "--set", "max_epochs=60"];
    assert!(ok(dir.path(), &idle).out.contains("warning[W0106]"));
    assert_eq!(mmy(dir.path(), &[&idle[..], &["--strict"]].concat()).status, Some(2));
    // All files are looked at, and all findings come at once.
    std::fs::write(
        dir.path().join("bad.toml"),
        format!("_base_ = \"{good}\"\n[model.neck]\nin_channels = [1, 2, 3]\n"),
    )
    .unwrap();
    let ran = mmy(dir.path(), &["config", "check", "bad.toml", &good, "absent.toml"]);
    assert_eq!(ran.status, Some(2));
    for text in ["error[E0310]", "bad.toml:3:15", "bad.toml: 1 error", "nothing found", "error[E0100]"] {
        assert!(ran.out.contains(text), "`{text}` is not in\n{}", ran.out);
    }
    let ran = mmy(dir.path(), &["config", "check", "bad.toml", "--json"]);
    let rows: Value = serde_json::from_str(&ran.out).unwrap();
    let row = &rows[0];
    assert_eq!((row["code"].as_str(), row["severity"].as_str()), (Some("E0310"), Some("error")));
    assert_eq!((row["primary"]["line"].as_u64(), row["primary"]["column"].as_u64()), (Some(3), Some(15)));
    assert!(!dir.path().join("data").exists() && !dir.path().join("work_dirs").exists());
}

/// A run begins with the same check: its errors end it before anything is made, its warnings are told once.
#[test]
fn a_run_begins_with_the_check() {
    let dir = folder();
    let good = config("starnet_s1_yolov5.toml");
    let ran =
        mmy(dir.path(), &["train", &good, "--set", "img_scale=[150, 150]", "--set", "model.neck.num_csp_block=2"]);
    assert_eq!(ran.status, Some(2), "{}", ran.err);
    for text in ["error[E0330]", "error[E0201]", "did you mean `num_csp_blocks`?"] {
        assert!(ran.err.contains(text), "`{text}` is not in\n{}", ran.err);
    }
    assert!(!dir.path().join("data").exists() && !dir.path().join("work_dirs").exists());
    let repeated = ["--cfg-options", "val_interval=1", "randomness.seed=7", "--set", "max_epochs=2"];
    let ran = ok(dir.path(), &train_args(&good, &repeated));
    assert_eq!(ran.err.matches("warning[").count(), 1, "{}", ran.err);
    assert!(ran.err.contains("warning[W0106]"), "{}", ran.err);
}
