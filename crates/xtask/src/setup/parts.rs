//! Which packages, and which of their files, make a CPU-only libtorch.

use std::path::{Path, PathBuf};

use mmy_libtorch::DYLIB_SUFFIX;

/// A package as pip names it, and as the file name of its wheel begins.
pub struct Requirement {
    /// Given to pip.
    pub pip: &'static str,
    /// With `_` for every separator.
    pub file: &'static str,
}

/// libtorch itself.
pub const TORCH: Requirement = Requirement { pip: "torch==2.13.0", file: "torch-2.13.0" };

/// `libtorch_cpu.so` of a CUDA build is linked to these two small libraries, whether there is a GPU or not.
pub const CUDA_PARTS: [(Requirement, &str); 2] = [
    (Requirement { pip: "nvidia-cuda-runtime==13.0.*", file: "nvidia_cuda_runtime-13.0." }, "libcudart.so.13"),
    (Requirement { pip: "nvidia-cuda-cupti==13.0.*", file: "nvidia_cuda_cupti-13.0." }, "libcupti.so.13"),
];

/// The libraries of a CUDA build that the CPU needs; together with the headers a seventh of what is in the wheel.
const CPU_HALF: [&str; 3] = ["libtorch_cpu.so", "libc10.so", "libgomp.so.1"];

/// What is taken from a wheel.
#[derive(Clone, Copy)]
pub enum Take {
    /// Headers and libraries of a torch that was built for the CPU.
    Everything,
    /// Headers and the CPU's libraries of a torch that was built for CUDA.
    CpuHalf,
    /// One library, wherever in the wheel it lies.
    Library(&'static str),
}

impl Take {
    /// What to take from a torch wheel that holds `names`.
    pub fn of_torch<'a>(mut names: impl Iterator<Item = &'a str>) -> Self {
        let cuda = format!("torch/lib/libtorch_cuda{DYLIB_SUFFIX}");
        if names.any(|it| it == cuda) { Take::CpuHalf } else { Take::Everything }
    }

    /// Where a wheel's file goes below libtorch's folder; `None` leaves it in the wheel.
    ///
    /// A torch built for the CPU keeps the shape of its wheel, since run paths may lead from its libraries to others
    /// beside the package.
    pub fn place(self, name: &str) -> Option<PathBuf> {
        let in_torch = |folder| {
            let rest = name.strip_prefix("torch/")?;
            rest.starts_with(folder).then(|| PathBuf::from(rest))
        };
        match self {
            Take::Library(library) => {
                let file = name.rsplit('/').next()?;
                (file == library).then(|| Path::new("lib").join(file))
            }
            Take::CpuHalf => in_torch("include/").or_else(|| {
                let path = in_torch("lib/")?;
                CPU_HALF.iter().any(|it| path == Path::new("lib").join(it)).then_some(path)
            }),
            Take::Everything => {
                let bundled = name.starts_with("torch.libs/") || name.starts_with("torch/.dylibs/");
                let library = in_torch("lib/").is_some() && is_library(name);
                (bundled || library || in_torch("include/").is_some()).then(|| PathBuf::from(name))
            }
        }
    }
}

/// Whether it is a shared library, and not one that only Python needs.
fn is_library(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let shared = file.ends_with(".dylib") || file.ends_with(".so") || file.contains(".so.");
    shared && !file.contains("python") && !file.contains("libshm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(take: Take, expect: &[(&str, Option<&str>)]) {
        for (name, place) in expect {
            assert_eq!(take.place(name).as_deref(), place.map(Path::new), "{name}");
        }
    }

    #[test]
    fn of_a_cuda_build_only_the_cpu_libraries_are_taken() {
        check(
            Take::CpuHalf,
            &[
                ("torch/include/ATen/ATen.h", Some("include/ATen/ATen.h")),
                ("torch/lib/libtorch_cpu.so", Some("lib/libtorch_cpu.so")),
                ("torch/lib/libc10.so", Some("lib/libc10.so")),
                ("torch/lib/libgomp.so.1", Some("lib/libgomp.so.1")),
                ("torch/lib/libtorch.so", None),
                ("torch/lib/libtorch_cuda.so", None),
                ("torch/lib/libc10_cuda.so", None),
                ("torch/__init__.py", None),
                ("functorch/include/x.h", None),
            ],
        );
    }

    #[test]
    fn a_cpu_build_keeps_its_shape() {
        let same = |name| (name, Some(name));
        check(
            Take::Everything,
            &[
                same("torch/include/ATen/ATen.h"),
                same("torch/lib/libtorch.so"),
                same("torch/lib/libgomp.so.1"),
                same("torch/lib/libtorch_cpu.dylib"),
                same("torch.libs/libgfortran-1.so.5"),
                same("torch/.dylibs/libomp.dylib"),
                ("torch/lib/libtorch_python.so", None),
                ("torch/lib/libshm.dylib", None),
                ("torch/lib/libtensorpipe.a", None),
                ("torch/bin/protoc", None),
            ],
        );
    }

    #[test]
    fn a_library_is_found_wherever_it_lies() {
        check(
            Take::Library("libcudart.so.13"),
            &[("nvidia/cu13/lib/libcudart.so.13", Some("lib/libcudart.so.13")), ("nvidia/cu13/include/cuda.h", None)],
        );
    }

    #[test]
    fn the_wheel_itself_says_which_build_it_is() {
        let cuda = format!("torch/lib/libtorch_cuda{DYLIB_SUFFIX}");
        let names = ["torch/lib/libtorch_cpu.so", &cuda];
        assert!(matches!(Take::of_torch(names.into_iter()), Take::CpuHalf));
        assert!(matches!(Take::of_torch(names[..1].iter().copied()), Take::Everything));
    }

    #[test]
    fn the_pinned_wheel_is_the_release_that_tch_binds() {
        assert!(TORCH.pip.ends_with(mmy_libtorch::VERSION));
        assert!(TORCH.file.ends_with(mmy_libtorch::VERSION));
    }
}
