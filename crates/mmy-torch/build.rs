//! Compiles the C++ half of the crate against libtorch, and lets its tests find libtorch when they run.

use std::env;

const SOURCES: [&str; 7] = [
    "cpp/autograd.cpp",
    "cpp/depthwise.cpp",
    "cpp/lif.cpp",
    "cpp/memory.cpp",
    "cpp/norm_act.cpp",
    "cpp/ops.cpp",
    "cpp/star.cpp",
];

/// The kernels are compiled once for each instruction set; the processor at hand chooses.
const X86_KERNELS: [(&str, &[&str]); 2] = [
    ("avx2", &["-mavx2", "-mfma"]),
    ("avx512", &["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]),
];

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
    let mut edge = cpp();
    edge.includes(libtorch.include_dirs()).define("_GLIBCXX_USE_CXX11_ABI", abi.as_str()).files(SOURCES);
    // libtorch's parallel loops are inline functions over OpenMP, and run on one thread without it.
    let openmp = "-fopenmp";
    if edge.is_flag_supported(openmp).unwrap_or(false) {
        edge.flag(openmp);
        println!("cargo::rustc-link-lib=gomp");
    }
    edge.compile("mmy_torch");

    let x86 = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64");
    kernels("baseline", &[]);
    for (name, flags) in X86_KERNELS.iter().filter(|_| x86) {
        kernels(name, flags);
    }

    println!("cargo::rustc-link-search=native={}", libtorch.lib.display());
    println!("cargo::rustc-link-lib=dylib=torch_cpu");
    println!("cargo::rustc-link-lib=dylib=c10");
    println!("cargo::metadata=lib={}", libtorch.lib.display());
}

fn cpp() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").warnings(false);
    build
}

fn kernels(name: &str, flags: &[&str]) {
    // A tight loop is of no use unoptimised.
    cpp()
        .files(["cpp/depthwise_kernel.cpp", "cpp/lif_kernel.cpp", "cpp/norm_act_kernel.cpp", "cpp/star_kernel.cpp"])
        .define("MMY_ISA", name)
        .flags(flags)
        .opt_level(3)
        .compile(&format!("mmy_kernels_{name}"));
}
