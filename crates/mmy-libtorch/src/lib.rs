//! Where libtorch is.
//!
//! Build scripts and the set-up ask this one crate, so that they cannot disagree. It looks where `torch-sys` looks
//! (`LIBTORCH_USE_PYTORCH`, then `LIBTORCH`, then `/usr`), but it also checks what it finds and says in words what is
//! missing.
//!
//! With the feature `required`, which every build script turns on, its own build script fails when there is no libtorch.
//! It needs the standard library alone and much waits for it, so cargo builds it among the first, long before a C++
//! compiler trips over a header of libtorch. Without the feature it can be used to fetch libtorch.

mod find;

use std::env;

pub use find::{DEFAULT_DIR, DYLIB_SUFFIX, Error, Libtorch, Source, VARIABLES, VERSION, find, find_in, system_root};

/// What a build script prints so that the binaries, tests and doc tests of its package find libtorch when they run;
/// or, when there is no libtorch, so that cargo stops with the reason.
///
/// ```no_run
/// // The whole build.rs of a package that uses `tch`:
/// print!("{}", mmy_libtorch::run_path());
/// ```
pub fn run_path() -> String {
    let found = find(|name| env::var_os(name));
    let mut out = find::instructions(&found);
    if let Ok(it) = found {
        // One `-Xlinker` for each word, since `-Wl,` would split a path at its commas.
        for word in ["-Xlinker", "-rpath", "-Xlinker", &it.lib.to_string_lossy()] {
            out += &format!("cargo::rustc-link-arg={word}\n");
        }
    }
    out
}

#[cfg(test)]
mod tests;
