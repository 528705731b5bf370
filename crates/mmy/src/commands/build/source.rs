//! Where mmy's own source lies.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::failure::{Failure, Outcome};

/// A checkout of mmy: what a program with plugins is built from.
pub struct MmySource {
    root: PathBuf,
    manifest: String,
}

impl MmySource {
    /// The checkout that `MMY_SOURCE` names, or that this program was built from.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn find() -> Outcome<Self> {
        let named = env::var_os("MMY_SOURCE").map(PathBuf::from);
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
        let root = named.clone().unwrap_or_else(|| own.to_owned());
        let manifest = fs::read_to_string(root.join("Cargo.toml")).ok();
        match (manifest, root.join("crates/mmy-plugin/Cargo.toml").is_file()) {
            (Some(manifest), true) => Ok(MmySource { root: fs::canonicalize(&root).unwrap_or(root), manifest }),
            _ => Err(Failure::User(format!(
                "mmy's source is not in `{}`{}: set MMY_SOURCE to a checkout of mmy",
                root.display(),
                if named.is_some() { ", which MMY_SOURCE names" } else { ", from where this program was built" }
            ))),
        }
    }

    /// The checkout's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The `[profile…]` tables of the workspace: with others, everything would be compiled once more.
    pub fn profile(&self) -> String {
        let mut inside = false;
        let mut out = String::new();
        for line in self.manifest.lines() {
            if line.starts_with('[') {
                inside = line.starts_with("[profile");
            }
            if inside && !line.starts_with('#') && !line.is_empty() {
                out += line;
                out.push('\n');
            }
        }
        out
    }
}
