//! Runs the binary and looks at what it leaves.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use mmy_nn::file::read_safetensors;
use serde_json::Value;
use tempfile::TempDir;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

/// A shipped config.
pub fn config(name: &str) -> String {
    root().join("configs").join(name).display().to_string()
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a new folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("it can be copied");
        }
    }
}

/// Every shipped config that is not a base.
pub fn shipped() -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut folders = vec![root().join("configs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("_base_") {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "toml") {
                out.push(path);
            }
        }
    }
    out.sort();
    out
}

/// An empty folder to run in.
pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The command, not started yet, in `dir`, without the caller's settings.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mmy-host"));
    command.current_dir(dir).args(args).stdin(Stdio::null()).env_remove("MMY_LOG").env("NO_COLOR", "1");
    command
}

/// What a run printed.
pub struct Ran {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs `mmy ARGS` in `dir` to its end.
pub fn mmy(dir: &Path, args: &[&str]) -> Ran {
    let Output { status, stdout, stderr } = command(dir, args).output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("mmy prints UTF-8");
    Ran { status: status.code(), out: text(stdout), err: text(stderr) }
}

/// Runs `mmy ARGS` in `dir` and expects it to go well.
pub fn ok(dir: &Path, args: &[&str]) -> Ran {
    let ran = mmy(dir, args);
    assert_eq!(ran.status, Some(0), "mmy {}\n{}\n{}", args.join(" "), ran.out, ran.err);
    ran
}

/// Settings that make the default config a run of seconds: the smallest StarNet, few and small pictures.
pub const TINY: [&str; 22] = [
    "--set",
    "base_dim=16",
    "--set",
    "depths=[1,1,3,1]",
    "--set",
    "mlp_ratio=3",
    "--set",
    "img_scale=[64,64]",
    "--set",
    "shapes.image_size=[96,96]",
    "--set",
    "shapes.train=24",
    "--set",
    "shapes.val=8",
    "--set",
    "max_epochs=3",
    "--set",
    "train_batch_size_per_gpu=4",
    "--set",
    "val_interval=1",
    "--set",
    "save_checkpoint_intervals=1",
];

/// `mmy train` of the default config made tiny, with `more` behind it.
pub fn train_args<'a>(config: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ["train", config].into_iter().chain(TINY).chain(more.iter().copied()).collect()
}

/// Every tensor of a checkpoint as raw bytes, by name.
pub fn tensors(path: &Path) -> Vec<(String, Vec<u8>)> {
    let contents = read_safetensors(path).expect("a checkpoint");
    let mut out: Vec<_> = contents
        .tensors
        .iter()
        .map(|(name, tensor)| {
            let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
            tensor.copy_data_u8(&mut bytes, tensor.numel());
            (name.clone(), bytes)
        })
        .collect();
    out.sort();
    out
}

/// Asserts that two checkpoints hold the same bytes under the same names.
pub fn same_tensors(a: &Path, b: &Path) {
    let (a, b) = (tensors(a), tensors(b));
    let names = |it: &[(String, Vec<u8>)]| it.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b));
    let different: Vec<_> = a.iter().zip(&b).filter(|(a, b)| a.1 != b.1).map(|(a, _)| a.0.as_str()).collect();
    assert!(different.is_empty(), "{} of {} tensors differ: {different:?}", different.len(), a.len());
}

/// Losses and metrics of a run as its newest process tells them, without times.
pub fn scalars(work_dir: &Path) -> Vec<Value> {
    let newest = stamps(work_dir).pop().expect("a time-stamped folder");
    let text = std::fs::read_to_string(newest.join("vis_data/scalars.json")).expect("scalars");
    let mut rows: Vec<Value> = text.lines().map(|it| serde_json::from_str(it).expect("JSON")).collect();
    for row in &mut rows {
        for key in ["time", "data_time"] {
            row.as_object_mut().expect("a row is an object").remove(key);
        }
    }
    rows
}

/// The log of the newest process of a run.
pub fn log(work_dir: &Path) -> String {
    let newest = stamps(work_dir).pop().expect("a time-stamped folder");
    let name = newest.file_name().expect("it has a name").to_string_lossy().into_owned();
    std::fs::read_to_string(newest.join(format!("{name}.log"))).expect("a log")
}

/// The time-stamped folders of a run, oldest first.
pub fn stamps(work_dir: &Path) -> Vec<PathBuf> {
    let mut out: Vec<_> = std::fs::read_dir(work_dir)
        .expect("a work folder")
        .map(|it| it.expect("an entry").path())
        .filter(|it| it.is_dir())
        .collect();
    out.sort();
    out
}
