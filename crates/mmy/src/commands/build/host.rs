//! The crate that links mmy and the plugins into one program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    plugin::{PluginCrate, quoted},
    source::MmySource,
};
use crate::failure::{Failure, Outcome};

/// A generated crate inside mmy's target folder, where cargo finds the checkout's settings and what is compiled already.
pub struct Host {
    folder: PathBuf,
    target: PathBuf,
    offline: bool,
}

/// What its binary is called.
const BINARY: &str = "mmy-with-plugins";

impl Host {
    /// Writes everything but `src/main.rs`.
    pub fn write(mmy: &MmySource, plugins: &[PluginCrate], offline: bool) -> Outcome<Self> {
        let target = mmy.root().join("target");
        let names: Vec<_> = plugins.iter().map(|it| it.name.as_str()).collect();
        let host = Host { folder: target.join("hosts").join(names.join("+")), target, offline };
        let crates = mmy.root().join("crates");
        let path = |name: &str| quoted(&crates.join(name).display().to_string());
        let dependencies: String = plugins.iter().map(|it| format!("{}\n", it.dependency)).collect();
        let manifest = format!(
            "# Made by `mmy build`.\n[package]\nname = \"{BINARY}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
             publish = false\n\n[workspace]\n\n[dependencies]\nmmy = {{ path = {} }}\n{dependencies}\n\
             [build-dependencies]\nmmy-libtorch = {{ path = {}, features = [\"required\"] }}\n\n\
             # A published plugin asks for a version of it; all have to mean the same crate.\n[patch.crates-io]\n\
             mmy-plugin = {{ path = {} }}\n\n{}",
            path("mmy"),
            path("mmy-libtorch"),
            path("mmy-plugin"),
            mmy.profile()
        );
        let build = "fn main() {\n    print!(\"{}\", mmy_libtorch::run_path());\n}\n";
        host.put("Cargo.toml", &manifest)?;
        host.put("build.rs", build)?;
        host.put("src/main.rs", "fn main() {}\n")?;
        // The versions that mmy itself was built with.
        let lock = mmy.root().join("Cargo.lock");
        fs::copy(&lock, host.folder.join("Cargo.lock")).map_err(Failure::io("copy", &lock))?;
        Ok(host)
    }

    /// Writes `src/main.rs`, which names every plugin, so that the linker keeps it, and the hash of its source.
    pub fn write_main(&self, plugins: &[PluginCrate]) -> Outcome {
        let uses: String = plugins.iter().map(|it| format!("use {} as _;\n", it.name.replace('-', "_"))).collect();
        let sources: String = plugins
            .iter()
            .filter_map(|it| it.source.as_ref().map(|source| format!("        ({:?}, {source:?}),\n", it.name)))
            .collect();
        let text = format!(
            "//! Made by `mmy build`.\n\n{uses}\nfn main() -> std::process::ExitCode {{\n    mmy::main_of_host(&[\n\
             {sources}    ])\n}}\n"
        );
        self.put("src/main.rs", &text)
    }

    /// Writes a file unless it says that already: cargo compiles what is newer.
    fn put(&self, name: &str, text: &str) -> Outcome {
        let path = self.folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|it| it == text) {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(Failure::io("make", folder))?;
        fs::write(&path, text).map_err(Failure::io("write", &path))
    }

    /// Fetches what is published; afterwards [`checksum`](Self::checksum) knows it.
    pub fn fetch(&self) -> Outcome {
        self.cargo(&["fetch"])
    }

    /// The registry's own hash of a published crate.
    pub fn checksum(&self, name: &str) -> Option<String> {
        let lock = fs::read_to_string(self.folder.join("Cargo.lock")).ok()?;
        let table: toml::Table = lock.parse().ok()?;
        let packages = table.get("package")?.as_array()?;
        let of_name = packages.iter().find(|it| it.get("name").and_then(toml::Value::as_str) == Some(name))?;
        Some(format!("sha256:{}", of_name.get("checksum")?.as_str()?))
    }

    /// Compiles it and returns the program's path.
    pub fn build(&self) -> Outcome<PathBuf> {
        self.cargo(&["build", "--release"])?;
        Ok(self.target.join("release").join(format!("{BINARY}{}", std::env::consts::EXE_SUFFIX)))
    }

    fn cargo(&self, args: &[&str]) -> Outcome {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(&self.folder).env("CARGO_TARGET_DIR", &self.target);
        // Standard output is for what `mmy` itself has to say.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if self.offline {
            command.arg("--offline");
        }
        let status = command.status().map_err(|error| Failure::Other(format!("cargo does not run: {error}")))?;
        match status.success() {
            true => Ok(()),
            false => Err(Failure::Other(format!(
                "cargo {} failed in {}; its own words stand above",
                args.join(" "),
                self.folder.display()
            ))),
        }
    }
}

/// Puts the program in its place: whole, or not at all.
pub fn install(program: &Path, out: &Path) -> Outcome {
    let folder = out.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = Failure::io("write", out);
    let copy = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let file = tempfile::NamedTempFile::new_in(folder)?;
        fs::copy(program, file.path())?;
        file.persist(out).map_err(|it| it.error)?;
        Ok(())
    };
    copy().map_err(failed)
}
