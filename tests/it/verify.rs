//! A run tells the same again, and a step that went wrong can be looked into.

use std::fs;

use crate::support::{config, folder, mmy, ok, stamps, train_args};

#[test]
fn the_first_steps_are_the_same_again_until_something_is_touched() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    let more = ["--set", "max_epochs=2", "--work-dir", "run"];
    ok(dir.path(), &train_args(&config, &more));
    let ran = ok(dir.path(), &["verify", "run", "--steps", "8"]);
    assert!(ran.out.starts_with("same: 8 steps from initial values, with "), "{}", ran.out);
    // A run that goes on elsewhere is verified from its checkpoint.
    let first = dir.path().join("run/epoch_1.safetensors").display().to_string();
    ok(dir.path(), &train_args(&config, &[&more[..2], &["--work-dir", "on", "--resume", &first]].concat()));
    let ran = ok(dir.path(), &["verify", "on"]);
    assert!(ran.out.starts_with("same: 6 steps from the state in "), "{}", ran.out);

    // One note of a loss is changed.
    let path = stamps(&dir.path().join("run"))[0].join("trace.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 14, "the start, the initial state, twelve steps");
    let changed = lines[5].replacen("[\"loss_cls\",0.", "[\"loss_cls\",1.", 1);
    assert_ne!(changed, lines[5]);
    fs::write(&path, [&lines[..5], &[changed.as_str()], &lines[6..]].concat().join("\n")).unwrap();
    let ran = mmy(dir.path(), &["verify", "run"]);
    assert_eq!(ran.status, Some(1), "{}", ran.err);
    assert!(ran.err.contains("it differs from step 4 on: `loss_cls`, which was 1."), "{}", ran.err);

    // Other data are named as the likely reason.
    fs::write(&path, text).unwrap();
    let annotations = dir.path().join("data/shapes/annotations/instances_train.json");
    let json = fs::read_to_string(&annotations).unwrap();
    fs::write(&annotations, json.replace("\"bbox\":[", "\"bbox\":[1")).unwrap();
    let ran = mmy(dir.path(), &["verify", "run"]);
    assert_eq!(ran.status, Some(1), "{}", ran.err);
    assert!(ran.err.contains("train data: 24 pictures with "), "{}", ran.err);
    assert_eq!(mmy(dir.path(), &["verify", "absent"]).status, Some(2));
}

#[test]
fn a_step_that_went_wrong_is_saved_and_runs_again() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    let warmup = "default_hooks.param_scheduler";
    let (iters, epochs) = (format!("{warmup}.warmup_mim_iter=0"), format!("{warmup}.warmup_epochs=0.0"));
    let more = ["--set", "base_lr=1e30", "--set", &iters, "--set", &epochs, "--work-dir", "run"];
    let ran = mmy(dir.path(), &train_args(&config, &more));
    assert_eq!(ran.status, Some(1), "{}", ran.err);
    let path = stamps(&dir.path().join("run"))[0].join("failed_step.safetensors");
    assert!(ran.err.contains("mmy replay ") && path.is_file(), "{}", ran.err);
    let ran = ok(dir.path(), &["replay", &path.display().to_string()]);
    for text in ["the loss is not finite", ".jpg", "loss_cls", "first layer that gives out", "norm of the gradient"] {
        assert!(ran.out.contains(text), "`{text}` is not in\n{}", ran.out);
    }
    // What it finds is what the run found.
    for line in ran.out.lines().filter(|it| it.trim_start().starts_with("loss_")) {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[1], words[2], "{line}");
    }
    // A checkpoint is no failed step.
    ok(dir.path(), &train_args(&config, &["--set", "max_epochs=1", "--work-dir", "good"]));
    let ran = mmy(dir.path(), &["replay", "good/epoch_1.safetensors"]);
    assert!(ran.status == Some(2) && ran.err.contains("holds no failed step"), "{}", ran.err);
}
