//! Looking for libtorch, and checking what is found. The build script of this crate is compiled with this file as well.

use std::{
    ffi::{OsStr, OsString},
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The release that `tch` binds. Newer headers need a newer C++ than `torch-sys` asks for, older ones lack functions.
pub const VERSION: &str = "2.13.0";

/// Where the set-up puts libtorch, relative to the checkout; `.cargo/config.toml` points `LIBTORCH` here.
pub const DEFAULT_DIR: &str = ".libtorch/2.13.0-cpu";

/// The environment variables that [`find`] reads, which are those that `torch-sys` reads.
pub const VARIABLES: [&str; 6] = [
    "LIBTORCH",
    "LIBTORCH_USE_PYTORCH",
    "LIBTORCH_INCLUDE",
    "LIBTORCH_LIB",
    "LIBTORCH_BYPASS_VERSION_CHECK",
    "VIRTUAL_ENV",
];

/// How shared libraries are named here: prefix `lib`, then the name, then this.
pub const DYLIB_SUFFIX: &str = if cfg!(target_os = "macos") { ".dylib" } else { ".so" };

/// A libtorch that can be built against and linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Libtorch {
    /// Who named it.
    pub source: Source,
    /// The folder that holds `torch/`, `ATen/` and `c10/`.
    pub include: PathBuf,
    /// The folder that holds `libtorch_cpu.so`.
    pub lib: PathBuf,
    /// Its release as it states it, such as `2.13.0` or `2.13.0+cpu`.
    pub version: String,
}

/// Who named a libtorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `LIBTORCH_USE_PYTORCH`: the `torch` package of the Python at hand.
    Pytorch,
    /// `LIBTORCH`, set by `.cargo/config.toml` to [`DEFAULT_DIR`] or by the user to a folder of their own.
    Environment,
    /// Nobody: it lies in `/usr`.
    System,
}

impl Libtorch {
    /// The folders for a C++ compiler's `-I`.
    pub fn include_dirs(&self) -> [PathBuf; 2] {
        [self.include.clone(), self.include.join("torch/csrc/api/include")]
    }

    /// Whether its CUDA half is there as well.
    pub fn has_cuda(&self) -> bool {
        self.lib.join(format!("libtorch_cuda{DYLIB_SUFFIX}")).exists()
    }
}

/// Why there is no libtorch to build against. Its text is [`Error::found`] and [`Error::mend`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No variable is set and `/usr/lib` has none.
    Unset,
    /// `LIBTORCH` is not an absolute path; build scripts would each take it from their own folder.
    Relative(PathBuf),
    /// There is nothing at the place that should hold it.
    Absent(PathBuf),
    /// The place is there, a file that belongs in it is not.
    Incomplete {
        /// Where libtorch should be.
        dir: PathBuf,
        /// The file that is missing.
        missing: PathBuf,
    },
    /// Another release, or one that does not say which it is.
    Version {
        /// Where it is.
        dir: PathBuf,
        /// What it says it is.
        found: String,
    },
    /// `LIBTORCH_USE_PYTORCH` is set, but Python has no `torch`.
    Python(String),
}

impl Error {
    /// What was found.
    pub fn found(&self) -> String {
        match self {
            Error::Unset => "LIBTORCH is not set, so cargo did not read the checkout's `.cargo/config.toml`".to_owned(),
            Error::Relative(dir) => format!("LIBTORCH is `{}`, which is not an absolute path", dir.display()),
            Error::Absent(dir) if is_default(dir) => format!("libtorch is not in {} yet", dir.display()),
            Error::Absent(dir) => format!("there is no libtorch in {}", dir.display()),
            Error::Incomplete { dir, missing } => {
                format!("libtorch in {} is incomplete, {} is missing", dir.display(), missing.display())
            }
            Error::Version { dir, found } => {
                format!("libtorch in {} is {found}, and {VERSION} is needed", dir.display())
            }
            Error::Python(why) => format!("LIBTORCH_USE_PYTORCH is set, but {why}"),
        }
    }

    /// What to do about it.
    pub fn mend(&self) -> String {
        const SETUP: &str = "run `cargo xtask setup` once";
        match self {
            Error::Unset => format!("run cargo from inside the checkout, and {SETUP}"),
            Error::Relative(_) => "set LIBTORCH to the whole path".to_owned(),
            // Only the place that the set-up fills can be mended by it.
            Error::Absent(dir) | Error::Incomplete { dir, .. } | Error::Version { dir, .. } if is_default(dir) => {
                SETUP.to_owned()
            }
            Error::Absent(_) | Error::Incomplete { .. } | Error::Version { .. } => {
                format!("set LIBTORCH to the folder of libtorch {VERSION}, or unset it and {SETUP}")
            }
            Error::Python(_) => {
                format!("install torch=={VERSION} for that Python, or unset LIBTORCH_USE_PYTORCH and {SETUP}")
            }
        }
    }
}

fn is_default(dir: &Path) -> bool {
    dir.ends_with(DEFAULT_DIR)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.found(), self.mend())
    }
}

impl std::error::Error for Error {}

/// Looks for libtorch where `torch-sys` will look, and checks it. `var` reads an environment variable.
///
/// # Errors
/// When there is none, or one that cannot be built against: see [`Error`].
pub fn find(var: impl Fn(&str) -> Option<OsString>) -> Result<Libtorch, Error> {
    let any_version = var("LIBTORCH_BYPASS_VERSION_CHECK").is_some();
    if var("LIBTORCH_USE_PYTORCH").is_some() {
        let python = if var("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
        let dir = torch_package(OsStr::new(python))?;
        return check(Source::Pytorch, &dir, &dir, &dir, any_version);
    }
    let (source, root) = match var("LIBTORCH") {
        Some(dir) => (Source::Environment, PathBuf::from(dir)),
        None => (Source::System, system_root().ok_or(Error::Unset)?),
    };
    if !root.is_absolute() {
        return Err(Error::Relative(root));
    }
    let other = |name| var(name).map_or_else(|| root.clone(), PathBuf::from);
    check(source, &root, &other("LIBTORCH_INCLUDE"), &other("LIBTORCH_LIB"), any_version)
}

/// Checks the libtorch in `dir`, which holds `include/` and `lib/`.
///
/// # Errors
/// When it is not there, not whole, or another release.
pub fn find_in(dir: &Path) -> Result<Libtorch, Error> {
    check(Source::Environment, dir, dir, dir, false)
}

/// The folder above the system's own `lib/` with libtorch in it, if there is one.
pub fn system_root() -> Option<PathBuf> {
    (cfg!(target_os = "linux") && Path::new("/usr/lib/libtorch.so").exists()).then(|| PathBuf::from("/usr"))
}

fn check(source: Source, root: &Path, include: &Path, lib: &Path, any_version: bool) -> Result<Libtorch, Error> {
    if !root.exists() {
        return Err(Error::Absent(root.to_owned()));
    }
    let (include, lib) = (include.join("include"), lib.join("lib"));
    let mut needed = vec![include.join("torch/csrc/api/include/torch/torch.h")];
    for name in ["torch_cpu", "torch", "c10"] {
        needed.push(lib.join(format!("lib{name}{DYLIB_SUFFIX}")));
    }
    if let Some(missing) = needed.into_iter().find(|it| !it.exists()) {
        return Err(Error::Incomplete { dir: root.to_owned(), missing });
    }
    let version = version(root, &include);
    let release = version.as_deref().map(|it| it.split('+').next().unwrap_or(it));
    if !any_version && release != Some(VERSION) {
        let found = version.unwrap_or_else(|| "of no stated version".to_owned());
        return Err(Error::Version { dir: root.to_owned(), found });
    }
    Ok(Libtorch { source, include, lib, version: version.unwrap_or_default() })
}

/// `build-version` is in every archive of libtorch; a Python package and a system's library only have the header.
fn version(root: &Path, include: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(root.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let header = fs::read_to_string(include.join("torch/headeronly/version.h"))
        .or_else(|_| fs::read_to_string(include.join("torch/csrc/api/include/torch/version.h")))
        .ok()?;
    let (_, after) = header.split_once("#define TORCH_VERSION ")?;
    after.split('"').nth(1).map(str::to_owned)
}

/// The folder of the `torch` package, asked for without importing it, which would take seconds.
pub(crate) fn torch_package(python: &OsStr) -> Result<PathBuf, Error> {
    const ASK: &str = "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])";
    let python_says = |why: &dyn fmt::Display| Error::Python(format!("`{}` {why}", python.display()));
    let output = match Command::new(python).args(["-c", ASK]).output() {
        Ok(output) => output,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(python_says(&"is not installed")),
        Err(e) => return Err(python_says(&format!("does not run ({e})"))),
    };
    let dir = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || dir.is_empty() {
        return Err(python_says(&"has no package `torch`"));
    }
    Ok(PathBuf::from(dir))
}

/// What every build script that looks for libtorch tells cargo: when to look again, and that there is none.
pub(crate) fn instructions(found: &Result<Libtorch, Error>) -> String {
    let mut out = String::new();
    for name in VARIABLES {
        out += &format!("cargo::rerun-if-env-changed={name}\n");
    }
    match found {
        // A libtorch that is taken away must be missed here, and not by the linker.
        Ok(it) => {
            let library = it.lib.join(format!("libtorch_cpu{DYLIB_SUFFIX}"));
            out += &format!("cargo::rerun-if-changed={}\n", library.display());
        }
        Err(why) => out += &format!("cargo::error={why}\n"),
    }
    out
}
