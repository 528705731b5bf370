//! A process that is killed, at any moment and as often as one likes, changes nothing: who goes on ends with the same
//! bytes.
//!
//! `MMY_TEST_KILLS=20` sets how often the run is killed at random moments (by default a few times); `MMY_TEST_SEED`
//! draws other moments.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use mmy_engine::Checkpoint;

use crate::support::{command, config, folder, ok, same_tensors, scalars, train_args};

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

/// Numbers from 0 to 1 (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What a killed run is made of: every state that has to come back is in use.
const SETTINGS: [&str; 10] = [
    "--set",
    "env_cfg.num_threads=1",
    "--set",
    "optim_wrapper.accumulative_counts=2",
    "--set",
    "default_hooks.logger.interval=1",
    "--set",
    "default_hooks.checkpoint.every=\"40ms\"",
    "--set",
    "max_keep_ckpts=2",
];

fn refs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Kills the process, and tells whether it still ran; one that has ended must have ended well.
fn kill(child: &mut Child) -> bool {
    if let Some(status) = child.try_wait().unwrap() {
        assert!(status.success(), "{status}");
        return false;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

/// Waits until `seen`, or until the process ends.
fn wait_until(child: &mut Child, seen: impl Fn() -> bool) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none() && !seen() {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Whether a folder in `dir` has a name that begins with `prefix`: something is being written there.
fn has(dir: &Path, prefix: &str) -> bool {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.into_iter().any(|it| it.file_name().to_string_lossy().starts_with(prefix) && it.path().is_dir())
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|it| it.unwrap());
    let files = entries.filter(|it| it.path().is_file()).map(|it| it.file_name().to_string_lossy().into_owned());
    let mut out: Vec<_> = files.collect();
    out.sort();
    out
}

#[test]
fn a_run_that_is_killed_anywhere_ends_with_the_same_bytes() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    let args = |place: [&'static str; 2], threads: &'static str| {
        let place = ["--set", threads, place[0], place[1], "--resume"];
        train_args(&config, &[&SETTINGS[..], &place].concat()).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };

    let start = Instant::now();
    ok(dir.path(), &refs(&args(["--work-dir", "whole"], "train_num_workers=1")));
    let length = start.elapsed().as_secs_f64();
    let (whole, run) = (dir.path().join("whole"), dir.path().join("killed"));

    let threads = ["train_num_workers=0", "train_num_workers=1", "train_num_workers=3"];
    let begin = |number: usize| {
        command(dir.path(), &refs(&args(["--work-dir", "killed"], threads[number % threads.len()]))).spawn().unwrap()
    };

    // While the data set is drawn, from nothing; then twice while a checkpoint is written.
    fs::remove_dir_all(dir.path().join("data")).unwrap();
    let aimed: [(PathBuf, &str); 3] =
        [(dir.path().join("data"), ".shapes-"), (run.clone(), ".writing-"), (run.clone(), ".writing-")];
    for (number, (folder, prefix)) in aimed.iter().enumerate() {
        let mut child = begin(number);
        wait_until(&mut child, || has(folder, prefix));
        assert!(kill(&mut child), "it ends before anything is written");
    }
    // At any moment: start-up, steps, validations, writing. A run that comes to its end meanwhile begins anew.
    let mut dice = Dice(setting("MMY_TEST_SEED", 0x5EED) | 1);
    let (wanted, mut kills) = (setting("MMY_TEST_KILLS", 4), 0);
    for number in 0.. {
        if kills == wanted {
            break;
        }
        let mut child = begin(number);
        let until = Instant::now() + Duration::from_secs_f64(dice.roll() * length * 0.6);
        wait_until(&mut child, || Instant::now() >= until);
        if kill(&mut child) {
            kills += 1;
        } else {
            same_runs(&whole, &run);
            fs::remove_dir_all(&run).unwrap();
        }
    }
    ok(dir.path(), &refs(&args(["--work-dir", "killed"], threads[2])));
    same_runs(&whole, &run);
    assert!(!has(&dir.path().join("data"), ".shapes-"), "leftovers are removed");
}

/// Asserts that two runs have come to the same end.
fn same_runs(whole: &Path, run: &Path) {
    let last = "epoch_3.safetensors";
    same_tensors(&whole.join(last), &run.join(last));
    assert_eq!(scalars(whole), scalars(run));
    let manifest = |it: &Path| {
        let mut out = Checkpoint::read(&it.join(last)).unwrap().manifest.unwrap();
        // The name of the process's folder is its own.
        out.hooks.retain(|name, _| !name.starts_with("LoggerHook"));
        (out.progress, out.hooks, out.metrics, out.data)
    };
    assert_eq!(manifest(whole), manifest(run));
    assert_eq!(files(whole), files(run));
    assert!(!has(run, ".writing-"), "leftovers are removed");
}
