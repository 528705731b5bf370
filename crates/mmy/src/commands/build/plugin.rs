//! What `--plugin` names.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::failure::{Failure, Outcome};

/// A plugin crate, as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginSpec {
    /// A folder with a `Cargo.toml`.
    Folder(PathBuf),
    /// A published crate: name and version.
    Published(String, String),
}

impl FromStr for PluginSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_path = text.contains(['/', '\\']) || text == "." || text == ".." || Path::new(text).is_dir();
        if is_path {
            return Ok(PluginSpec::Folder(text.into()));
        }
        match text.split_once('@') {
            Some((name, version)) if !name.is_empty() && version.starts_with(|it: char| it.is_ascii_digit()) => {
                Ok(PluginSpec::Published(name.to_owned(), version.to_owned()))
            }
            _ => {
                Err("give a folder, such as ./my_blocks, or a published crate with its version, my_blocks@0.1.0".into())
            }
        }
    }
}

/// A plugin crate that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginCrate {
    /// Its name.
    pub name: String,
    /// Its line in the host's `[dependencies]`.
    pub dependency: String,
    /// Hash of its source; for a published crate that is the registry's own, known once it was fetched.
    pub source: Option<String>,
}

impl PluginSpec {
    /// Reads the folder's manifest and hashes its files.
    ///
    /// # Errors
    /// When the folder is no crate.
    pub fn look(&self, registry: Option<&str>) -> Outcome<PluginCrate> {
        match self {
            PluginSpec::Published(name, version) => {
                let registry = registry.map(|it| format!(", registry = {}", quoted(it))).unwrap_or_default();
                let dependency = format!("{name} = {{ version = {}{registry} }}", quoted(&format!("={version}")));
                Ok(PluginCrate { name: name.clone(), dependency, source: None })
            }
            PluginSpec::Folder(folder) => {
                let manifest = folder.join("Cargo.toml");
                let text = fs::read_to_string(&manifest).map_err(|error| {
                    Failure::User(format!("`{}` is no folder of a crate: its Cargo.toml: {error}", folder.display()))
                })?;
                let name = package_name(&text)
                    .ok_or_else(|| Failure::User(format!("`{}` has no `package.name`", manifest.display())))?;
                let folder = fs::canonicalize(folder).map_err(Failure::io("find", folder))?;
                let dependency = format!("{name} = {{ path = {} }}", quoted(&folder.display().to_string()));
                Ok(PluginCrate { name, dependency, source: Some(hash(&folder)?) })
            }
        }
    }
}

fn package_name(manifest: &str) -> Option<String> {
    let table: toml::Table = manifest.parse().ok()?;
    Some(table.get("package")?.get("name")?.as_str()?.to_owned())
}

/// As TOML writes it.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// BLAKE3 over names and contents of everything that the crate is compiled from.
fn hash(folder: &Path) -> Outcome<String> {
    let mut files = vec![folder.join("Cargo.toml"), folder.join("build.rs")];
    let mut folders = vec![folder.join("src")];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(&inside).map_err(Failure::io("list", &inside))? {
            let path = entry.map_err(Failure::io("list", &inside))?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let mut hasher = blake3::Hasher::new();
    for file in files.iter().filter(|it| it.is_file()) {
        let bytes = fs::read(file).map_err(Failure::io("read", file))?;
        let name = file.strip_prefix(folder).unwrap_or(file).to_string_lossy().replace('\\', "/");
        hasher.update(format!("{name}\0{}\0", bytes.len()).as_bytes());
        hasher.update(&bytes);
    }
    Ok(format!("blake3:{}", hasher.finalize().to_hex()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_told_from_published_crates() {
        let published = |name: &str, version: &str| Ok(PluginSpec::Published(name.into(), version.into()));
        assert_eq!("./my_blocks".parse(), Ok(PluginSpec::Folder("./my_blocks".into())));
        assert_eq!("..".parse(), Ok(PluginSpec::Folder("..".into())));
        assert_eq!("my_blocks@0.1.0".parse(), published("my_blocks", "0.1.0"));
        for bad in ["my_blocks", "my_blocks@", "@1.0", "my_blocks@latest"] {
            assert!(bad.parse::<PluginSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hash_follows_from_names_and_contents() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("src/inner")).unwrap();
        fs::write(root.join("Cargo.toml"), "[package]\nname = \"x\"\n").unwrap();
        fs::write(root.join("src/lib.rs"), "mod inner;").unwrap();
        fs::write(root.join("src/inner/mod.rs"), "").unwrap();
        let first = hash(root).unwrap();
        fs::write(root.join("notes.md"), "not compiled").unwrap();
        assert_eq!(hash(root).unwrap(), first);
        fs::write(root.join("src/inner/mod.rs"), "//").unwrap();
        let second = hash(root).unwrap();
        assert_ne!(second, first);
        fs::rename(root.join("src/inner"), root.join("src/other")).unwrap();
        assert_ne!(hash(root).unwrap(), second);
    }
}
