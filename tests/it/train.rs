//! From a config to a checkpoint, a test of it, and pictures with boxes.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{config, folder, log, mmy, ok, same_tensors, stamps, train_args};

fn files(dir: &Path) -> Vec<String> {
    let mut out: Vec<_> =
        fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect();
    out.sort();
    out
}

#[test]
fn a_run_leaves_what_it_should_and_its_checkpoint_tests_and_predicts() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    let ran = ok(dir.path(), &train_args(&config, &["--set", "max_keep_ckpts=2"]));
    let run = dir.path().join("work_dirs/starnet_s1_yolov5");

    // The newest two checkpoints, the best one, the pointer, the resolved config.
    let names = files(&run);
    for name in ["epoch_2.safetensors", "epoch_3.safetensors", "last_checkpoint", "starnet_s1_yolov5.toml"] {
        assert!(names.contains(&name.to_owned()), "{name} is not in {names:?}");
    }
    assert!(!names.contains(&"epoch_1.safetensors".to_owned()), "{names:?}");
    let best: Vec<_> = names.iter().filter(|it| it.starts_with("best_coco_bbox_mAP_epoch_")).collect();
    assert_eq!(best.len(), 1, "{names:?}");
    let pointer = fs::read_to_string(run.join("last_checkpoint")).unwrap();
    assert!(pointer.ends_with("epoch_3.safetensors"), "{pointer}");
    assert!(names.iter().all(|it| !it.starts_with(".writing")), "{names:?}");

    // Log lines in mmengine's form, in the file and on the terminal.
    let log = log(&run);
    for text in [" - mmy - INFO - Epoch(train) [1][6/6]  lr: ", "  eta: 0:00:", "Epoch(val) [3][", "coco/bbox_mAP: "] {
        assert!(log.contains(text), "`{text}` is not in\n{log}");
    }
    assert!(ran.err.contains("Epoch(train) [3][6/6]"), "{}", ran.err);

    // One JSON object a line.
    let scalars = fs::read_to_string(stamps(&run)[0].join("vis_data/scalars.json")).unwrap();
    let rows: Vec<Value> = scalars.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let train: Vec<_> = rows.iter().filter(|it| it.get("loss").is_some()).collect();
    assert_eq!(train.len(), 3);
    for key in ["lr", "data_time", "loss", "loss_cls", "loss_obj", "loss_bbox", "time", "epoch", "iter", "step"] {
        assert!(train[0].get(key).is_some_and(Value::is_number), "{key}: {}", train[0]);
    }
    assert_eq!((train[2]["epoch"].as_u64(), train[2]["iter"].as_u64()), (Some(3), Some(18)));
    assert_eq!(rows.iter().filter(|it| it.get("coco/bbox_mAP").is_some()).count(), 3);

    // The resolved config is a config: it trains the same again.
    let resolved = run.join("starnet_s1_yolov5.toml").display().to_string();
    ok(dir.path(), &["train", &resolved, "--work-dir", "again"]);
    same_tensors(&run.join("epoch_3.safetensors"), &dir.path().join("again/epoch_3.safetensors"));

    // The checkpoint holds the averaged model: its test repeats the last validation's numbers.
    let checkpoint = run.join("epoch_3.safetensors").display().to_string();
    ok(dir.path(), &["test", &resolved, &checkpoint, "--work-dir", "tested"]);
    let tested = stamps(&dir.path().join("tested")).pop().unwrap();
    let metrics = tested.join(format!("{}.json", tested.file_name().unwrap().to_string_lossy()));
    let metrics: Value = serde_json::from_str(&fs::read_to_string(metrics).unwrap()).unwrap();
    let last = rows.iter().rfind(|it| it.get("coco/bbox_mAP").is_some()).unwrap();
    for key in ["coco/bbox_mAP", "coco/bbox_mAP_50", "coco/bbox_mAP_s"] {
        assert_eq!(metrics[key], last[key], "{key}");
    }

    // The checkpoint alone predicts.
    let pictures = dir.path().join("data/shapes/val").display().to_string();
    ok(dir.path(), &["predict", &checkpoint, &pictures, "--out", "out", "--score-thr", "0.01", "--batch-size", "3"]);
    let out = files(&dir.path().join("out"));
    assert_eq!(out.iter().filter(|it| it.ends_with(".jpg")).count(), 8, "{out:?}");
    let text = fs::read_to_string(dir.path().join("out/predictions.json")).unwrap();
    let found: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(found.len(), 8);
    for it in found.iter().flat_map(|it| it["predictions"].as_array().unwrap()) {
        let edges: Vec<f64> = it["bbox"].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
        assert!(edges.iter().all(|it| (0.0..=96.0).contains(it)), "{it}");
        assert!(it["score"].as_f64().unwrap() >= 0.01 && it["class"].is_string(), "{it}");
    }
}

#[test]
fn loader_threads_do_not_change_a_run() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    let mut files = Vec::new();
    for threads in ["0", "1", "8"] {
        let set = format!("train_num_workers={threads}");
        let args = train_args(&config, &["--set", &set, "--set", "max_epochs=1", "--work-dir", threads]);
        ok(dir.path(), &args);
        files.push(dir.path().join(threads).join("epoch_1.safetensors"));
    }
    same_tensors(&files[0], &files[1]);
    same_tensors(&files[0], &files[2]);
}

#[test]
fn weights_of_another_run_are_taken_as_far_as_they_fit() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    ok(dir.path(), &train_args(&config, &["--set", "max_epochs=1", "--work-dir", "first"]));
    let from = dir.path().join("first/epoch_1.safetensors").display().to_string();
    let ran = ok(dir.path(), &train_args(&config, &["--load-from", &from, "--work-dir", "second"]));
    assert!(ran.err.contains(&format!("Load checkpoint from {from}")), "{}", ran.err);
    // A file of other weights altogether is a mistake.
    let other = dir.path().join("other.safetensors");
    let tensor = tch::Tensor::from_slice(&[1f32]);
    mmy_nn::file::write_safetensors(&other, [("nothing.like.it", &tensor)], Default::default()).unwrap();
    let other = other.display().to_string();
    let ran = mmy(dir.path(), &train_args(&config, &["--load-from", &other, "--work-dir", "third"]));
    assert_eq!(ran.status, Some(2), "{}", ran.err);
    assert!(ran.err.contains("has no tensor of this model"), "{}", ran.err);
}

#[test]
fn what_a_hook_reports_goes_with_it() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    let hooks: Value = serde_json::from_str(&ok(dir.path(), &["config", "show", &config, "--json"]).out).unwrap();
    let cases = [("IterTimerHook", "timer", "time", "loss"), ("RuntimeInfoHook", "runtime_info", "lr", "time")];
    for (hook, key, gone, left) in cases {
        assert_eq!(hooks["default_hooks"][key]["type"], hook);
        let set = format!("~default_hooks.{key}");
        ok(dir.path(), &train_args(&config, &["--set", &set, "--set", "max_epochs=1", "--work-dir", key]));
        let scalars = fs::read_to_string(stamps(&dir.path().join(key))[0].join("vis_data/scalars.json")).unwrap();
        let row: Value = serde_json::from_str(scalars.lines().next().unwrap()).unwrap();
        assert!(row.get(gone).is_none() && row.get(left).is_some(), "{key}: {row}");
    }
}
