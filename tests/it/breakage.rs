//! What breaks around a run: the disk, the memory, the folder, the clock, the data. Each row of the table of faults in
//! `docs/reliability.md` that belongs to the whole program has its test here.

use std::{fs, path::Path, process::Command};

use crate::support::{Ran, command, config, folder, mmy, ok, stamps, train_args};

/// Runs `mmy ARGS` in `dir` under a limit that the shell sets first.
#[cfg(unix)]
fn limited(dir: &Path, limit: &str, args: &[&str]) -> Ran {
    let mmy = command(dir, args);
    let mut shell = Command::new("sh");
    shell.current_dir(dir).args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]).arg(mmy.get_program());
    let output = shell.args(mmy.get_args()).env("NO_COLOR", "1").output().expect("a shell runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
#[cfg(unix)]
fn a_full_disk_ends_the_run_and_leaves_the_checkpoints_whole() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    ok(dir.path(), &train_args(&config, &["--work-dir", "run"]));
    let run = dir.path().join("run");
    let (second, first) = (run.join("epoch_2.safetensors"), run.join("epoch_1.safetensors"));
    let before = fs::read(&second).unwrap();
    // No file may grow beyond a part of a checkpoint (in blocks of 512 bytes): writing fails as it does on a full disk.
    let blocks = before.len() * 6 / 10 / 512;
    let first = first.display().to_string();
    let args = train_args(&config, &["--work-dir", "run", "--resume", &first]);
    let ran = limited(dir.path(), &format!("trap '' XFSZ; ulimit -f {blocks}"), &args);
    assert_eq!(ran.status, Some(1), "{}", ran.err);
    for text in ["cannot write `", "epoch_2.safetensors`", "the newest whole checkpoint is `"] {
        assert!(ran.err.contains(text), "`{text}` is not in\n{}", ran.err);
    }
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    assert_eq!(fs::read(&second).unwrap(), before);
    let names = fs::read_dir(&run).unwrap().map(|it| it.unwrap().file_name().to_string_lossy().into_owned());
    assert_eq!(names.filter(|it| it.starts_with(".writing")).count(), 0);
    ok(dir.path(), &train_args(&config, &["--work-dir", "run", "--resume"]));
}

#[test]
#[cfg(target_os = "linux")]
fn without_memory_the_run_says_what_to_lower() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    ok(dir.path(), &train_args(&config, &["--set", "max_epochs=1", "--work-dir", "small"]));
    let more = ["--set", "img_scale=[1024,1024]", "--set", "train_batch_size_per_gpu=24", "--set", "base_dim=64"];
    let more = [&more[..], &["--set", "train_num_workers=0", "--set", "env_cfg.num_threads=1"]].concat();
    let ran = limited(dir.path(), "ulimit -v 4000000", &train_args(&config, &more));
    assert_eq!(ran.status, Some(1), "{}", ran.err);
    for text in ["out of memory: the step does not fit with pictures of [24, 3, 1024, 1024]", "lower `batch_size`"] {
        assert!(ran.err.contains(text), "`{text}` is not in\n{}", ran.err);
    }
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
}

#[test]
fn a_work_dir_that_cannot_be_one() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    fs::write(dir.path().join("file"), "text").unwrap();
    // `/proc` takes no new folder, not even from the administrator.
    for place in ["file", "file/below", "/proc/mmy"] {
        let ran = mmy(dir.path(), &train_args(&config, &["--work-dir", place]));
        assert_eq!(ran.status, Some(1), "{}", ran.err);
        assert!(ran.err.contains("cannot make the folder `") && ran.err.contains(place), "{}", ran.err);
    }
}

#[test]
fn a_clock_that_jumps_back_changes_nothing() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    let run = dir.path().join("run");
    let first = run.join("epoch_1.safetensors").display().to_string();
    let resume = ["--work-dir", "run", "--resume", &first];
    // The local time of the second process is a day before that of the first.
    for (zone, more) in [("Pacific/Kiritimati", &resume[..2]), ("Pacific/Pago_Pago", &resume[..])] {
        let ended = command(dir.path(), &train_args(&config, more)).env("TZ", zone).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let all = stamps(&run);
    assert_eq!(all.len(), 2);
    // Both wrote their own folders, and the scalars of the whole run are in the one that went on.
    let rows = |at: usize| fs::read_to_string(all[at].join("vis_data/scalars.json")).unwrap().lines().count();
    assert_eq!(rows(0), rows(1));
    let ran = ok(dir.path(), &train_args(&config, &["--work-dir", "run", "--resume"]));
    assert!(ran.err.contains("nothing is left to train"), "{}", ran.err);
}

#[test]
fn a_data_set_without_pictures() {
    let dir = folder();
    fs::create_dir_all(dir.path().join("annotations")).unwrap();
    let empty = r#"{"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}"#;
    for split in ["train", "val"] {
        fs::create_dir(dir.path().join(format!("{split}2017"))).unwrap();
        fs::write(dir.path().join(format!("annotations/instances_{split}2017.json")), empty).unwrap();
    }
    let ran =
        mmy(dir.path(), &["train", &config("yolov5/yolov5_n.toml"), "--set", "data_root=./", "--set", "num_classes=1"]);
    assert_eq!(ran.status, Some(2), "{}", ran.err);
    assert!(ran.err.contains("the data set has no samples"), "{}", ran.err);
}
