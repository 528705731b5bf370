use std::{cell::Cell, io::Write};

use mmy_libtorch::DYLIB_SUFFIX;
use tempfile::TempDir;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

const TORCH_WHEEL: &str = "torch-2.13.0-cp312-cp312-manylinux_2_28_x86_64.whl";

fn home() -> (TempDir, Home) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::of(dir.path());
    (dir, home)
}

/// Writes a wheel; a file's text is its own name, many times over so that it is worth compressing.
fn wheel(path: &Path, names: &[String]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    for name in names {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(name.repeat(5000).as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

fn torch_files(cuda: bool) -> Vec<String> {
    let library = |name: &str| format!("torch/lib/lib{name}{DYLIB_SUFFIX}");
    let mut names = vec![
        "torch/__init__.py".to_owned(),
        "torch/include/torch/csrc/api/include/torch/torch.h".to_owned(),
        library("torch_cpu"),
        library("c10"),
        library("torch"),
        library("torch_python"),
    ];
    if cuda {
        names.push(library("torch_cuda"));
    }
    names
}

/// Stands for an index that has all three wheels, and counts what it is asked for.
fn index<'a>(home: &'a Home, cuda: bool, asked: &'a Cell<usize>) -> impl FnMut(&str) -> Result<()> + 'a {
    move |wanted| {
        asked.set(asked.get() + 1);
        let (file, names) = match wanted {
            "torch==2.13.0" => (TORCH_WHEEL, torch_files(cuda)),
            "nvidia-cuda-runtime==13.0.*" => (
                "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.whl",
                vec!["nvidia/cu13/lib/libcudart.so.13".to_owned()],
            ),
            "nvidia-cuda-cupti==13.0.*" => (
                "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl",
                vec!["nvidia/cu13/lib/libcupti.so.13".to_owned()],
            ),
            other => bail!("no such package {other}"),
        };
        wheel(&home.wheels().join(file), &names);
        Ok(())
    }
}

/// Fetches, and expects a whole libtorch, no leftovers, and this many downloads.
#[track_caller]
fn check(home: &Home, cuda: bool, downloads: usize) {
    let asked = Cell::new(0);
    fetch(home, &mut index(home, cuda, &asked)).unwrap();
    assert_eq!(asked.get(), downloads, "downloads");
    let libtorch = mmy_libtorch::find_in(&home.finished).unwrap();
    assert_eq!(libtorch.version, VERSION);
    let library = libtorch.lib.join(format!("libtorch_cpu{DYLIB_SUFFIX}"));
    let name = format!("torch/lib/libtorch_cpu{DYLIB_SUFFIX}");
    assert_eq!(fs::read_to_string(library).unwrap(), name.repeat(5000));
    for gone in [home.wheels(), home.unpacking(), home.downloading()] {
        assert!(!gone.exists(), "{} is left over", gone.display());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_cuda_build_gives_its_cpu_half_and_two_libraries() {
    let (_dir, home) = home();
    check(&home, true, 3);
    let lib = home.finished.join("lib");
    assert!(lib.join("libcudart.so.13").exists() && lib.join("libcupti.so.13").exists());
    assert!(!lib.join(format!("libtorch_cuda{DYLIB_SUFFIX}")).exists());
    let script = fs::read_to_string(lib.join("libtorch.so")).unwrap();
    assert_eq!(script, "INPUT(libtorch_cpu.so)\n");
}

#[test]
fn a_cpu_build_needs_nothing_else() {
    let (_dir, home) = home();
    check(&home, false, 1);
    assert!(!home.finished.join("lib/libcudart.so.13").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn wheels_of_an_interrupted_run_are_used() {
    let (_dir, home) = home();
    wheel(&home.wheels().join(TORCH_WHEEL), &torch_files(true));
    fs::create_dir_all(home.unpacking().join("lib")).unwrap();
    fs::write(home.unpacking().join("lib/half-a-library"), "…").unwrap();
    check(&home, true, 2);
    assert!(!home.finished.join("lib/half-a-library").exists());
}

#[test]
fn a_wheel_that_was_cut_off_is_fetched_again() {
    let (_dir, home) = home();
    let path = home.wheels().join(TORCH_WHEEL);
    wheel(&path, &torch_files(false));
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    check(&home, false, 1);
}

#[test]
fn a_wheel_whose_bytes_changed_is_fetched_again() {
    let (_dir, home) = home();
    let path = home.wheels().join(TORCH_WHEEL);
    wheel(&path, &torch_files(false));
    // The table of contents at the end stays whole; the data of the third file does not.
    let mut bytes = fs::read(&path).unwrap();
    let name = format!("torch/lib/libtorch_cpu{DYLIB_SUFFIX}");
    let at = bytes.windows(name.len()).position(|it| it == name.as_bytes()).unwrap();
    bytes[at + name.len() + 12] ^= 0x55;
    fs::write(&path, bytes).unwrap();
    check(&home, false, 1);
}

#[test]
fn an_unfinished_libtorch_is_replaced() {
    let (_dir, home) = home();
    fs::create_dir_all(home.finished.join("lib")).unwrap();
    fs::write(home.finished.join("build-version"), "2.12.0").unwrap();
    check(&home, false, 1);
}

#[test]
fn another_release_in_the_wheels_folder_is_not_taken() {
    let (_dir, home) = home();
    for name in ["torch-2.12.0-cp312-cp312-any.whl", "torch-2.13.01-cp312-any.whl"] {
        wheel(&home.wheels().join(name), &torch_files(false));
    }
    check(&home, false, 1);
}

#[test]
fn a_failed_download_leaves_nothing_half_done() {
    let (_dir, home) = home();
    let error = fetch(&home, &mut |_| bail!("no route to the index")).unwrap_err();
    assert_eq!(error.to_string(), "no route to the index");
    assert!(!home.finished.exists());
}

#[test]
fn a_wheel_without_its_library_is_no_libtorch() {
    let (_dir, home) = home();
    let names: Vec<_> = torch_files(false).into_iter().filter(|it| !it.contains("c10")).collect();
    let error = fetch(&home, &mut |_| {
        wheel(&home.wheels().join(TORCH_WHEEL), &names);
        Ok(())
    })
    .unwrap_err();
    assert!(format!("{error:#}").contains("libc10"), "{error:#}");
    assert!(!home.finished.exists());
}

#[test]
fn a_wheel_of_something_else_is_refused() {
    let (_dir, home) = home();
    let error = fetch(&home, &mut |_| {
        wheel(&home.wheels().join(TORCH_WHEEL), &["torch/__init__.py".to_owned()]);
        Ok(())
    })
    .unwrap_err();
    assert!(error.to_string().contains("holds nothing of libtorch"), "{error:#}");
}

#[test]
fn a_name_that_leads_out_of_the_folder_is_left_in_the_wheel() {
    let (dir, home) = home();
    let path = home.wheels().join(TORCH_WHEEL);
    wheel(&path, &["torch/include/../../../../escaped.h".to_owned()]);
    let mut opened = Wheel::open(&path).unwrap();
    opened.unpack(&home.unpacking(), |name| Some(PathBuf::from(name))).unwrap();
    assert!(!dir.path().join("escaped.h").exists());
}

#[test]
fn a_full_disk_is_said_before_anything_is_fetched() {
    let (_dir, home) = home();
    fs::create_dir_all(&home.dir).unwrap();
    let error = enough_room(&home.dir, u64::MAX).unwrap_err().to_string();
    assert!(error.contains("free some"), "{error}");
    enough_room(&home.dir, 0).unwrap();
}

#[test]
fn the_second_of_two_set_ups_waits() {
    let (_dir, home) = home();
    fs::create_dir_all(&home.dir).unwrap();
    let first = lock(&home).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| lock(&home).map(|_| home.finished.exists()).unwrap());
        fs::create_dir_all(&home.finished).unwrap();
        drop(first);
        assert!(second.join().unwrap(), "the second went ahead before the first was through");
    });
}

#[cfg(unix)]
#[test]
fn a_system_library_is_linked_and_not_copied() {
    let (_dir, home) = home();
    let (_other, system) = self::home();
    check(&system, false, 1);
    let system = mmy_libtorch::find_in(&system.finished).unwrap();
    fs::create_dir_all(&home.dir).unwrap();
    link(&home, &system).unwrap();
    assert!(home.finished.join("lib").is_symlink());
    assert_eq!(mmy_libtorch::find_in(&home.finished).unwrap().version, VERSION);
}
