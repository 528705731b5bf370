//! `cargo xtask tidy`: the rules of the house that no compiler checks. Each finding names its file and line.

mod features;
mod imports;
mod manifests;
mod parts;
mod source;
mod text;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use source::Source;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Relative to the root.
    path: PathBuf,
    /// Counted from 1.
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.what)
    }
}

/// Checks the checkout and prints what it finds.
pub fn run(checkout: &Checkout) -> Result<ExitCode> {
    let root = &checkout.root;
    let mut findings = Vec::new();
    let files = rust_files(root)?;
    let sources = files.iter().map(|it| Source::read(root, it)).collect::<Result<Vec<_>>>()?;
    let tests: String = sources.iter().map(Source::tests).collect();
    for source in &sources {
        findings.extend(text::check(source));
        findings.extend(parts::check(source, &tests));
    }
    let metadata = imports::Metadata::read(checkout)?;
    findings.extend(imports::check(&metadata, root));
    findings.extend(manifests::check(&metadata, root)?);
    findings.extend(features::check(checkout)?);
    for name in ["rust-toolchain", "rust-toolchain.toml"] {
        if root.join(name).exists() {
            findings.push(Finding {
                path: name.into(),
                line: 1,
                what: "not every machine can fetch toolchains: state rust-version in Cargo.toml alone".to_owned(),
            });
        }
    }
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        eprintln!("tidy: {} files, {} packages, nothing to mend", files.len(), metadata.members.len());
        Ok(ExitCode::SUCCESS)
    } else {
        eprintln!("tidy: {} to mend", findings.len());
        Ok(ExitCode::from(1))
    }
}

/// Every Rust file of the checkout, relative to its root.
fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let context = || format!("cannot list {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(context)? {
            let entry = entry.with_context(context)?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let generated = name.starts_with('.') || ["target", "data", "work_dirs"].contains(&&*name);
            let kind = entry.file_type().with_context(context)?;
            if kind.is_dir() && !(generated && path.parent() == Some(root)) {
                folders.push(path);
            } else if kind.is_file() && name.ends_with(".rs") {
                out.push(path.strip_prefix(root)?.to_owned());
            }
        }
    }
    out.sort();
    Ok(out)
}
