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

/// What is taken from a wheel.
#[derive(Clone, Copy)]
pub enum Take {
    /// Headers and libraries of a torch that was built for the CPU alone.
    Torch,
    /// Headers and the CPU's libraries of a torch that was built for CUDA, as the index's wheels for Linux are: on
    /// x86-64 less than a quarter of what is in it.
    CpuHalf,
    /// One library, wherever in the wheel it lies.
    Library(&'static str),
}

impl Take {
    /// What to take from a torch wheel that holds `names`.
    pub fn of_torch<'a>(mut names: impl Iterator<Item = &'a str>) -> Self {
        let cuda = format!("torch/lib/libtorch_cuda{DYLIB_SUFFIX}");
        if names.any(|it| it == cuda) { Take::CpuHalf } else { Take::Torch }
    }

    /// Where a wheel's file goes below libtorch's folder; `None` leaves it in the wheel.
    pub fn place(self, name: &str) -> Option<PathBuf> {
        let file = name.rsplit('/').next()?;
        let taken = match self {
            Take::Library(library) => return (file == library).then(|| Path::new("lib").join(file)),
            Take::Torch | Take::CpuHalf if name.starts_with("torch/include/") => true,
            Take::Torch => is_library_of_cpu(name, file),
            // `libtorch.so` is empty and only pulls in the other two, the CUDA half among them.
            Take::CpuHalf => is_library_of_cpu(name, file) && file != "libtorch.so",
        };
        taken.then(|| name.strip_prefix("torch/").map(PathBuf::from))?
    }
}

/// Whether it is one of torch's shared libraries, and neither Python nor CUDA is what needs it.
fn is_library_of_cpu(name: &str, file: &str) -> bool {
    const OF_OTHERS: [&str; 6] = ["python", "libshm", "global_deps", "cuda", "nvrtc", "nvshmem"];
    let shared = file.ends_with(".dylib") || file.ends_with(".so") || file.contains(".so.");
    name.strip_prefix("torch/lib/") == Some(file) && shared && !OF_OTHERS.iter().any(|it| file.contains(it))
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

    /// The files of these names are taken from `lib/`, and the headers with them.
    #[track_caller]
    fn check_torch(take: Take, taken: &[&str], left: &[&str]) {
        let in_wheel = |it: &str| format!("torch/lib/{it}");
        for it in taken {
            assert_eq!(take.place(&in_wheel(it)), Some(Path::new("lib").join(it)));
        }
        for it in left {
            assert_eq!(take.place(&in_wheel(it)), None, "{it}");
        }
        check(
            take,
            &[
                ("torch/include/ATen/ATen.h", Some("include/ATen/ATen.h")),
                ("torch/__init__.py", None),
                ("functorch/include/x.h", None),
            ],
        );
    }

    #[test]
    fn of_a_cuda_build_only_the_cpu_libraries_are_taken() {
        // Linux x86-64, then what Linux aarch64 has beyond it.
        check_torch(
            Take::CpuHalf,
            &["libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libarm_compute.so", "libnvpl_blas_core.so.0"],
            &[
                "libtorch.so",
                "libtorch_cuda.so",
                "libtorch_cuda_linalg.so",
                "libtorch_nvshmem.so",
                "libc10_cuda.so",
                "libcaffe2_nvrtc.so",
                "libtorch_python.so",
                "libtorch_global_deps.so",
                "libshm/socket.h",
            ],
        );
    }

    #[test]
    fn of_a_cpu_build_all_libraries_are_taken() {
        check_torch(
            Take::Torch,
            &["libtorch.so", "libtorch_cpu.so", "libgomp.so.1", "libtorch.dylib", "libtorch_cpu.dylib", "libomp.dylib"],
            &["libtorch_python.so", "libshm.dylib", "libtensorpipe.a"],
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
        assert!(matches!(Take::of_torch(names[..1].iter().copied()), Take::Torch));
    }

    #[test]
    fn the_pinned_wheel_is_the_release_that_tch_binds() {
        assert!(TORCH.pip.ends_with(mmy_libtorch::VERSION));
        assert!(TORCH.file.ends_with(mmy_libtorch::VERSION));
    }
}
