//! `xtask` on made-up machines: a `PATH` with nothing but small scripts, and a checkout in a temporary folder.
#![cfg(unix)]

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use mmy_libtorch::{DEFAULT_DIR, DYLIB_SUFFIX};
use tempfile::TempDir;
use zip::{ZipWriter, write::SimpleFileOptions};

const RUSTC: (&str, &str) = ("rustc", "echo 'rustc 1.95.0 (abc 2026-04-14)'");
const COMPILER: (&str, &str) = ("c++", "echo 'c++ 12.2.0'");
const APT: (&str, &str) = ("apt-get", "echo apt");
/// Copies the wheels that the test made to where it is told, and notes each call.
const PYTHON: (&str, &str) = (
    "python3",
    r#"case "$*" in
    *--version*) echo "pip 24.0 from /x (python 3.11)" ;;
    *download*)
        echo "$*" >> "$WHEELS/calls"
        while [ "$1" != --dest ]; do shift; done
        /bin/cp "$WHEELS"/*.whl "$2" ;;
esac"#,
);

/// A machine with these programs and no others.
struct Machine {
    dir: TempDir,
    vars: Vec<(&'static str, String)>,
}

impl Machine {
    fn new(programs: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["bin", "wheels", "checkout/crates/xtask"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for (name, script) in programs {
            let path = dir.path().join("bin").join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Machine { dir, vars: Vec::new() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn libtorch(&self) -> PathBuf {
        self.path("checkout").join(DEFAULT_DIR)
    }

    /// Runs `xtask` and gives its exit status and all that it said.
    fn run(&self, args: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(args)
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("CARGO_MANIFEST_DIR", self.path("checkout/crates/xtask"))
            .env("WHEELS", self.path("wheels"))
            .envs(self.vars.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    #[track_caller]
    fn check(&self, args: &[&str], status: i32, pieces: &[&str]) {
        let (code, text) = self.run(args);
        for piece in pieces {
            assert!(text.contains(piece), "`{piece}` is not in:\n{text}");
        }
        assert_eq!(code, status, "{text}");
    }

    /// How often pip was asked for a wheel.
    fn downloads(&self) -> usize {
        fs::read_to_string(self.path("wheels/calls")).map_or(0, |it| it.lines().count())
    }
}

fn libtorch_files() -> Vec<String> {
    let library = |name: &str| format!("lib/lib{name}{DYLIB_SUFFIX}");
    let header = "include/torch/csrc/api/include/torch/torch.h".to_owned();
    vec![header, library("torch"), library("torch_cpu"), library("c10")]
}

/// A folder that passes for libtorch.
fn put_libtorch(dir: &Path, version: &str) {
    for file in libtorch_files() {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    fs::write(dir.join("build-version"), version).unwrap();
}

/// A wheel as the package index has it, built for the CPU.
fn put_wheel(dir: &Path) {
    let mut zip = ZipWriter::new(File::create(dir.join("torch-2.13.0-cp312-cp312-any.whl")).unwrap());
    for file in libtorch_files() {
        zip.start_file(format!("torch/{file}"), SimpleFileOptions::default()).unwrap();
        zip.write_all(file.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn set_up_fetches_once() {
    let machine = Machine::new(&[PYTHON]);
    put_wheel(&machine.path("wheels"));
    machine.check(&["setup"], 0, &["fetching torch==2.13.0 with `python3 -m pip download`", "libtorch 2.13.0 is in"]);
    assert!(machine.libtorch().join("lib/libc10").with_extension(&DYLIB_SUFFIX[1..]).exists());
    machine.check(&["setup"], 0, &["libtorch 2.13.0 is in"]);
    assert_eq!(machine.downloads(), 1);
    // Whatever Python the user has, the wheel is the one for this machine.
    let calls = fs::read_to_string(machine.path("wheels/calls")).unwrap();
    assert!(calls.contains("--only-binary=:all: --python-version 3.12 --platform"), "{calls}");
}

#[test]
fn a_libtorch_of_the_user_s_own_is_respected() {
    let mut machine = Machine::new(&[PYTHON]);
    let own = machine.path("own");
    put_libtorch(&own, "2.13.0+cu130");
    machine.vars = vec![("LIBTORCH", own.to_str().unwrap().to_owned())];
    machine.check(&["setup"], 0, &["libtorch 2.13.0+cu130 is in", "own/lib"]);
    machine.check(&["doctor"], 1, &["named by LIBTORCH"]);
    assert_eq!(machine.downloads(), 0);
    assert!(!machine.libtorch().exists());
}

#[test]
fn a_failing_pip_is_reported_with_what_to_do() {
    let fails = PYTHON.1.replace("/bin/cp", "exit 1 #");
    let machine = Machine::new(&[("python3", &fails)]);
    machine.check(&["setup"], 1, &["failed; pip's own words are above", "set LIBTORCH"]);
    assert!(!machine.libtorch().exists());
}

#[test]
fn without_pip_the_command_that_installs_it_is_named() {
    Machine::new(&[APT]).check(&["setup"], 1, &["there is no pip", "run `sudo apt-get install -y python3-pip`"]);
    Machine::new(&[]).check(&["setup"], 1, &["run `python3 -m ensurepip --user`"]);
    let old = ("pip3", "echo 'pip 19.1 from /x'");
    Machine::new(&[old]).check(
        &["setup"],
        1,
        &["release 19.1, and 20.3 is needed", "run `pip3 install --upgrade pip`"],
    );
}

#[test]
fn the_doctor_finds_a_machine_ready() {
    let machine = Machine::new(&[RUSTC, COMPILER]);
    put_libtorch(&machine.libtorch(), "2.13.0");
    machine.check(&["doctor"], 0, &["this checkout's", "none; not needed", "1.95.0"]);
}

#[test]
fn the_doctor_names_what_mends() {
    let ready = Machine::new(&[RUSTC, COMPILER, PYTHON]);
    ready.check(&["doctor"], 1, &["mend: run `cargo xtask setup` once", "24.0, called as `python3 -m pip`"]);

    let machine = Machine::new(&[RUSTC, APT]);
    let pieces =
        ["`c++` does not run", "mend: sudo apt-get install -y g++", "mend: sudo apt-get install -y python3-pip"];
    machine.check(&["doctor"], 1, &pieces);

    let half = ("c++", "case \"$*\" in *fsyntax-only*) exit 1 ;; esac");
    Machine::new(&[RUSTC, half]).check(&["doctor"], 1, &["`c++` cannot compile C++17"]);

    let old = ("rustc", "echo 'rustc 1.70.0 (abc 2023-06-01)'");
    Machine::new(&[old, COMPILER]).check(&["doctor"], 1, &["mend: rustup update stable"]);
}

#[test]
fn the_doctor_knows_another_release_of_libtorch() {
    let mut machine = Machine::new(&[RUSTC, COMPILER, PYTHON]);
    put_libtorch(&machine.libtorch(), "2.12.0");
    machine.check(&["doctor"], 1, &["is 2.12.0, and 2.13.0 is needed", "mend: run `cargo xtask setup` once"]);
    machine.vars = vec![("LIBTORCH_USE_PYTORCH", "1".to_owned())];
    machine.check(&["doctor"], 1, &["LIBTORCH_USE_PYTORCH is set, but"]);
}

#[test]
fn what_is_not_built_yet_is_said() {
    let machine = Machine::new(&[]);
    machine.check(&["setup", "--cuda"], 2, &["not built yet", "export LIBTORCH="]);
    machine.check(&["set-up"], 2, &["`cargo xtask set-up` is no command", "doctor"]);
}
