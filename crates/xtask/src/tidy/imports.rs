//! Who may depend on whom: the picture in `docs/architecture.md`, held against `cargo metadata`.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use crate::{
    checkout::{Checkout, output},
    suite::QUICK,
};

/// The picture, from the top down: each package, and what stands right below it. A package may look into everything
/// below it, however far down.
const PICTURE: [(&str, &[&str]); 18] = [
    ("mmy-example-plugin", &["mmy-plugin"]),
    ("mmy", &["mmy-check", "mmy-plot"]),
    ("mmy-check", &["mmy-engine"]),
    ("mmy-plugin", &["mmy-engine"]),
    ("mmy-engine", &["mmy-models", "mmy-data", "mmy-eval"]),
    ("mmy-models", &["mmy-nn", "mmy-structures", "mmy-registry"]),
    ("mmy-data", &["mmy-structures", "mmy-registry", "mmy-formats"]),
    ("mmy-eval", &["mmy-structures", "mmy-registry"]),
    ("mmy-nn", &["mmy-torch", "mmy-registry", "mmy-formats"]),
    ("mmy-structures", &["mmy-torch"]),
    ("mmy-torch", &[]),
    ("mmy-formats", &[]),
    ("mmy-registry", &["mmy-config"]),
    ("mmy-config", &["mmy-diag"]),
    ("mmy-diag", &[]),
    ("mmy-plot", &[]),
    ("xtask", &["mmy-libtorch"]),
    ("mmy-libtorch", &[]),
];

/// Open to everybody, since every build script asks it where libtorch is.
const OPEN: &str = "mmy-libtorch";

/// The tests of the whole may look into everything.
const EVERYWHERE: &str = "mmy-tests";

/// A package of the workspace.
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its `Cargo.toml`.
    pub manifest: PathBuf,
    /// Whether it has a build script.
    pub build_script: bool,
    /// Names of what it depends on, tests and build script included.
    pub dependencies: BTreeSet<String>,
}

/// What `cargo metadata` says.
pub struct Metadata {
    /// The packages of this workspace, by name.
    pub members: BTreeMap<String, Package>,
    /// From a package's name to the names of what it is built from, without what only its tests need.
    built_from: BTreeMap<String, BTreeSet<String>>,
}

impl Metadata {
    /// Asks cargo.
    pub fn read(checkout: &Checkout) -> Result<Self> {
        let args = ["metadata", "--format-version", "1", "--filter-platform", &host()?];
        let json = output(&mut checkout.cargo(&args))?;
        Self::from_json(&serde_json::from_str(&json)?)
    }

    fn from_json(json: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let members: BTreeSet<_> = list(&json["workspace_members"]).iter().map(text).collect();
        let mut names = BTreeMap::new();
        let mut out = Metadata { members: BTreeMap::new(), built_from: BTreeMap::new() };
        for package in list(&json["packages"]) {
            let (id, name) = (text(&package["id"]), text(&package["name"]));
            if members.contains(&id) {
                let kinds = list(&package["targets"]).iter().map(|it| it["kind"][0].clone()).collect::<Vec<_>>();
                let dependencies = list(&package["dependencies"]).iter().map(|it| text(&it["name"])).collect();
                out.members.insert(
                    name.clone(),
                    Package {
                        name: name.clone(),
                        manifest: text(&package["manifest_path"]).into(),
                        build_script: kinds.iter().any(|it| it == "custom-build"),
                        dependencies,
                    },
                );
            }
            names.insert(id, name);
        }
        for node in list(&json["resolve"]["nodes"]) {
            let needs = list(&node["deps"]);
            let built_from = needs
                .iter()
                .filter(|it| list(&it["dep_kinds"]).iter().any(|it| it["kind"] != "dev"))
                .filter_map(|it| names.get(&text(&it["pkg"])).cloned());
            let name = names.get(&text(&node["id"])).context("cargo metadata names a node that it does not list")?;
            out.built_from.entry(name.clone()).or_default().extend(built_from);
        }
        Ok(out)
    }

    /// Whether building `package` and its tests builds `other`.
    pub fn needs(&self, package: &str, other: &str) -> bool {
        let own = self.members.get(package).into_iter().flat_map(|it| &it.dependencies);
        let mut queue: Vec<_> = own.cloned().collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = queue.pop() {
            if name == other {
                return true;
            }
            if seen.insert(name.clone()) {
                queue.extend(self.built_from.get(&name).into_iter().flatten().cloned());
            }
        }
        false
    }
}

/// The target triple of this machine, as rustc says it.
fn host() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let text = output(Command::new(rustc).arg("-vV"))?;
    let host = text.lines().find_map(|it| it.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Checks every package's dependencies against the picture.
pub fn check(metadata: &Metadata, root: &Path) -> Vec<Finding> {
    let mut out = Vec::new();
    for package in metadata.members.values() {
        let mut find = |dependency: &str, what: String| {
            let text = fs::read_to_string(&package.manifest).unwrap_or_default();
            let line = text.lines().position(|it| it.starts_with(dependency)).map_or(1, |it| it + 1);
            let path = package.manifest.strip_prefix(root).unwrap_or(&package.manifest).to_owned();
            out.push(Finding { path, line, what });
        };
        let name = package.name.as_str();
        if QUICK.contains(&name) && metadata.needs(name, "torch-sys") {
            find("tch", format!("{name} needs libtorch, and its tests are to run in seconds without it"));
        }
        if name == EVERYWHERE {
            continue;
        }
        if !PICTURE.iter().any(|it| it.0 == name) {
            find("[package]", format!("{name} has no place in the picture of crates/xtask/src/tidy/imports.rs"));
            continue;
        }
        let below = below(name);
        for other in package.dependencies.iter().filter(|it| metadata.members.contains_key(*it)) {
            if other != OPEN && !below.contains(other.as_str()) {
                find(other, format!("{name} may not look into {other}: imports go down only"));
            }
        }
    }
    out
}

/// Every package below `name` in the picture.
fn below(name: &str) -> BTreeSet<&'static str> {
    let right_below = PICTURE.iter().filter(|it| it.0 == name).flat_map(|it| it.1);
    right_below.flat_map(|it| below(it).into_iter().chain([*it])).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A workspace of packages, each with what it depends on; `tch` needs `torch-sys`.
    fn workspace(packages: &[(&str, &[(&str, &str)])]) -> Metadata {
        let outside: [(&str, &[(&str, &str)]); 3] =
            [("tch", &[("torch-sys", "normal")]), ("torch-sys", &[]), ("serde", &[])];
        let describe = |(name, needs): &(&str, &[(&str, &str)])| {
            json!({
                "id": name, "name": name, "manifest_path": format!("/x/{name}/Cargo.toml"), "targets": [],
                "dependencies": needs.iter().map(|it| json!({ "name": it.0 })).collect::<Vec<_>>(),
            })
        };
        let node = |(name, needs): &(&str, &[(&str, &str)])| {
            let deps = needs.iter().map(|(name, kind)| {
                let kind = if *kind == "normal" { Value::Null } else { json!(kind) };
                json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] })
            });
            json!({ "id": name, "deps": deps.collect::<Vec<_>>() })
        };
        let all = || packages.iter().chain(&outside);
        let json = json!({
            "workspace_members": packages.iter().map(|it| it.0).collect::<Vec<_>>(),
            "packages": all().map(describe).collect::<Vec<_>>(),
            "resolve": { "nodes": all().map(node).collect::<Vec<_>>() },
        });
        Metadata::from_json(&json).unwrap()
    }

    #[track_caller]
    fn check_workspace(packages: &[(&str, &[(&str, &str)])], expect: &[&str]) {
        let found = check(&workspace(packages), Path::new("/x"));
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (finding, piece) in found.iter().zip(expect) {
            assert!(finding.what.contains(piece), "{finding}");
        }
    }

    #[test]
    fn imports_go_down() {
        check_workspace(&[("mmy-nn", &[("mmy-torch", "normal"), ("tch", "normal")]), ("mmy-torch", &[])], &[]);
        check_workspace(
            &[("mmy-models", &[("mmy-data", "normal")]), ("mmy-data", &[])],
            &["mmy-models may not look into mmy-data"],
        );
        check_workspace(&[("mmy-libtorch", &[("mmy-torch", "normal")]), ("mmy-torch", &[])], &["mmy-libtorch may not"]);
        // A test that looks up is an import as well.
        check_workspace(&[("mmy-nn", &[("mmy-models", "dev")]), ("mmy-models", &[])], &["mmy-nn may not look into"]);
        check_workspace(&[("xtask", &[("mmy-diag", "normal")]), ("mmy-diag", &[])], &["xtask may not look into"]);
        check_workspace(&[("mmy-tests", &[("mmy-nn", "dev")]), ("mmy-nn", &[])], &[]);
    }

    #[test]
    fn a_new_package_needs_a_place() {
        check_workspace(&[("mmy-new", &[])], &["no place in the picture"]);
    }

    #[test]
    fn some_packages_never_need_libtorch() {
        let without = "without it";
        check_workspace(&[("mmy-diag", &[("tch", "normal")])], &[without]);
        check_workspace(&[("mmy-diag", &[("tch", "dev")])], &[without]);
        check_workspace(
            &[("mmy-config", &[("mmy-diag", "normal")]), ("mmy-diag", &[("tch", "normal")])],
            &[without, without],
        );
        // What only another package's tests need is not built with it.
        check_workspace(&[("mmy-config", &[("mmy-diag", "normal")]), ("mmy-diag", &[("tch", "dev")])], &[without]);
    }

    #[test]
    fn the_picture_goes_down() {
        let place = |name: &str| PICTURE.iter().position(|it| it.0 == name).unwrap();
        for (name, right_below) in PICTURE {
            assert!(right_below.iter().all(|it| place(name) < place(it)), "{name}");
        }
        assert!(below("mmy-engine").contains("mmy-diag"));
        assert!(!below("mmy-models").contains("mmy-data"));
    }
}
