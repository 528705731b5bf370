//! A run that was ended and goes on is the run that was not.

use std::{
    fs,
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{command, config, folder, mmy, ok, same_tensors, stamps, train_args};

/// Waits until `text` stands in the newest log of the run, or the process ends.
fn wait_for(text: &str, run: &Path, child: &mut Child) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(120) {
        let seen = run.is_dir().then(|| stamps(run)).into_iter().flatten().any(|it| {
            let name = it.file_name().unwrap().to_string_lossy().into_owned();
            fs::read_to_string(it.join(format!("{name}.log"))).is_ok_and(|log| log.contains(text))
        });
        if seen || child.try_wait().unwrap().is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("`{text}` did not come");
}

/// Losses and metrics of all processes of a run, without times.
fn scalars(run: &Path) -> Vec<Value> {
    let mut rows = Vec::new();
    for stamp in stamps(run) {
        let text = fs::read_to_string(stamp.join("vis_data/scalars.json")).unwrap_or_default();
        for line in text.lines() {
            let mut row: Value = serde_json::from_str(line).unwrap();
            for key in ["time", "data_time"] {
                row.as_object_mut().unwrap().remove(key);
            }
            rows.push(row);
        }
    }
    rows
}

#[test]
fn ctrl_c_saves_and_resume_ends_bit_equal() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    let set = ["--set", "default_hooks.logger.interval=1"];
    ok(dir.path(), &train_args(&config, &[&set[..], &["--work-dir", "whole"]].concat()));
    let whole = dir.path().join("whole");

    // In the middle of an epoch, and once more in the next one.
    let run = dir.path().join("parts");
    let args = train_args(&config, &[&set[..], &["--work-dir", "parts", "--resume"]].concat());
    for text in ["Epoch(train) [1][2/6]", "Epoch(train) [2][4/6]"] {
        let mut child = command(dir.path(), &args).spawn().unwrap();
        wait_for(text, &run, &mut child);
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "interrupted at {text}");
    }
    let ran = ok(dir.path(), &args);
    assert!(ran.err.contains("resumed from "), "{}", ran.err);
    same_tensors(&whole.join("epoch_3.safetensors"), &run.join("epoch_3.safetensors"));
    assert_eq!(scalars(&whole), scalars(&run));
}

#[test]
fn resume_from_an_epoch_ends_bit_equal() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    ok(dir.path(), &train_args(&config, &["--work-dir", "whole"]));
    let first = dir.path().join("whole/epoch_1.safetensors").display().to_string();
    ok(dir.path(), &train_args(&config, &["--work-dir", "part", "--resume", &first]));
    for name in ["epoch_2.safetensors", "epoch_3.safetensors"] {
        same_tensors(&dir.path().join("whole").join(name), &dir.path().join("part").join(name));
    }
    // A finished run has nothing left to train, and says so.
    let ran = ok(dir.path(), &train_args(&config, &["--work-dir", "part", "--resume"]));
    assert!(ran.err.contains("nothing is left to train"), "{}", ran.err);
}

#[test]
fn what_cannot_be_resumed_is_said() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    let ran = mmy(dir.path(), &train_args(&config, &["--resume", "absent.safetensors"]));
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("there is no checkpoint `absent.safetensors`"), "{}", ran.err);
    ok(dir.path(), &train_args(&config, &["--set", "max_epochs=1"]));
    let run = dir.path().join("work_dirs/starnet_s1_yolov5");
    let best = run.join("best_coco_bbox_mAP_epoch_1.safetensors").display().to_string();
    let last = run.join("epoch_1.safetensors").display().to_string();
    let torn = dir.path().join("torn.safetensors");
    let bytes = fs::read(&last).unwrap();
    fs::write(&torn, &bytes[..bytes.len() - 7]).unwrap();
    let torn = torn.display().to_string();
    let cases: [(&[&str], &str); 3] = [
        (&["--resume", &best], "not what a run needs to go on"),
        (&["--resume", &torn], "not a safetensors file"),
        (&["--resume", &last, "--set", "train_batch_size_per_gpu=3"], "batches in an epoch"),
    ];
    for (more, text) in cases {
        let ran = mmy(dir.path(), &train_args(&config, more));
        assert_eq!(ran.status, Some(2), "{}", ran.err);
        assert!(ran.err.contains(text), "`{text}` is not in {}", ran.err);
    }
}
