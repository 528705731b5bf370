//! Stops a build without libtorch at its beginning, for those who need it.

#[expect(dead_code, reason = "of the search, a build script needs the end alone")]
#[path = "src/find.rs"]
mod find;

use std::env;

fn main() {
    if env::var_os("CARGO_FEATURE_REQUIRED").is_some() {
        print!("{}", find::instructions(&find::find(|name| env::var_os(name))));
    }
    println!("cargo::rerun-if-changed=build.rs");
}
