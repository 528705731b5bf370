//! Compiles the C++ half of the crate against libtorch, and lets its tests find libtorch when they run.

use std::env;

const SOURCES: [&str; 2] = ["cpp/autograd.cpp", "cpp/ops.cpp"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=cpp");
    println!("cargo::rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    // Says what is wrong when there is none.
    print!("{}", mmy_libtorch::run_path());
    let Ok(libtorch) = mmy_libtorch::find(|name| env::var_os(name)) else {
        return;
    };
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into());
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .includes(libtorch.include_dirs())
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .files(SOURCES)
        .compile("mmy_torch");
    println!("cargo::rustc-link-search=native={}", libtorch.lib.display());
    println!("cargo::rustc-link-lib=dylib=torch_cpu");
    println!("cargo::rustc-link-lib=dylib=c10");
    println!("cargo::metadata=lib={}", libtorch.lib.display());
}
