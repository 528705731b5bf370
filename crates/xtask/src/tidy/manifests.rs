//! Rules for `Cargo.toml`.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{
    Finding,
    imports::{Metadata, Package},
};

/// Checks the manifest of every package.
pub fn check(metadata: &Metadata, root: &Path) -> Result<Vec<Finding>> {
    let mut out = Vec::new();
    for package in metadata.members.values() {
        let path = &package.manifest;
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let path = path.strip_prefix(root).unwrap_or(path);
        let mut found = check_text(&package.name, &text);
        if metadata.needs(&package.name, "torch-sys") && !has_run_path(package) {
            found.push((1, RUN_PATH.to_owned()));
        }
        out.extend(found.into_iter().map(|(line, what)| Finding { path: path.to_owned(), line, what }));
    }
    Ok(out)
}

const RUN_PATH: &str = "its tests would not find libtorch when they run: give it a build.rs that prints \
                        mmy_libtorch::run_path(), as its neighbours have";

fn has_run_path(package: &Package) -> bool {
    package.build_script && package.dependencies.contains("mmy-libtorch")
}

/// The lines that break a rule, and which.
fn check_text(name: &str, text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut section = "";
    let mut shares_lints = false;
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") && line.contains('=') && !line.starts_with('#') {
            if !line.contains("workspace = true") {
                out.push((number, "state the version once, in the workspace's Cargo.toml".to_owned()));
            }
        } else if section == "[lints]" && line == "workspace = true" {
            shares_lints = true;
        } else if section == "[package]" {
            for key in ["version", "edition", "rust-version", "license", "publish"] {
                let own = line.strip_prefix(key).is_some_and(|it| it.trim_start().starts_with('='));
                if own {
                    out.push((number, format!("`{key}` is the workspace's: write `{key}.workspace = true`")));
                }
            }
        }
    }
    // The one crate with `unsafe` has lints of its own.
    if !shares_lints && name != "mmy-torch" {
        out.push((1, "add `[lints] workspace = true`, or missing docs and `unsafe` pass unseen".to_owned()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_manifest(name: &str, text: &str, expect: &[(usize, &str)]) {
        let found = check_text(name, text);
        let lines: Vec<_> = found.iter().map(|it| it.0).collect();
        assert_eq!(lines, expect.iter().map(|it| it.0).collect::<Vec<_>>(), "{found:?}");
        for ((_, what), (_, piece)) in found.iter().zip(expect) {
            assert!(what.contains(piece), "{what}");
        }
    }

    #[test]
    fn versions_and_lints_are_the_workspace_s() {
        let lints = "[lints]\nworkspace = true\n";
        check_manifest("mmy-nn", &format!("[dependencies]\nserde.workspace = true\n{lints}"), &[]);
        check_manifest("mmy-nn", &format!("[dependencies]\nserde = \"1\"\n{lints}"), &[(2, "state the version once")]);
        check_manifest(
            "mmy-nn",
            &format!("[dev-dependencies]\nserde = {{ version = \"1\" }}\n{lints}"),
            &[(2, "state the version once")],
        );
        check_manifest("mmy-nn", &format!("[package]\nname = \"x\"\nedition = \"2021\"\n{lints}"), &[(3, "edition")]);
        check_manifest("mmy-nn", "[dependencies]\n", &[(1, "[lints]")]);
        check_manifest("mmy-torch", "[dependencies]\n", &[]);
    }

    #[test]
    fn a_package_with_tensors_has_a_run_path() {
        let package = |build_script, dependencies: &[&str]| Package {
            name: "x".to_owned(),
            manifest: "x/Cargo.toml".into(),
            build_script,
            dependencies: dependencies.iter().map(|it| (*it).to_owned()).collect(),
        };
        assert!(has_run_path(&package(true, &["mmy-libtorch", "tch"])));
        assert!(!has_run_path(&package(true, &["tch"])));
        assert!(!has_run_path(&package(false, &["mmy-libtorch", "tch"])));
    }
}
