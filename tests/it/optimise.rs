//! Optimisers, schedules and hooks through the whole program.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{config, folder, log, mmy, ok, root, same_tensors, stamps, train_args};

/// The default config with everything that changes in the course of a run, and everything that looks on.
const EVERYTHING: &str = r#"
[optim_wrapper]
_delete_ = true
type = "OptimWrapper"
optimizer = { type = "AdamW", lr = 0.002, weight_decay = 0.05, amsgrad = true }
paramwise_cfg = { norm_decay_mult = 0.0, bias_decay_mult = 0.0, custom_keys = { backbone = { lr_mult = 0.5 } } }
clip_grad = { max_norm = 20.0 }
accumulative_counts = 4

[[param_scheduler]]
type = "LinearLR"
start_factor = 0.1
by_epoch = false
end = 5

[[param_scheduler]]
type = "CosineAnnealingLR"
begin = 1
eta_min_ratio = 0.1
convert_to_iter_based = true

[[param_scheduler]]
type = "StepMomentum"
step_size = 1
gamma = 0.95

[[param_scheduler]]
type = "ReduceOnPlateauLR"
monitor = "coco/bbox_mAP"
patience = 0
factor = 0.5

[default_hooks.param_scheduler]
_delete_ = true
type = "ParamSchedulerHook"

[default_hooks.visualization]
type = "DetVisualizationHook"
draw = true
interval = 3

[default_hooks.sampler_seed]
type = "DistSamplerSeedHook"

[default_hooks.logger]
interval = 1

[[custom_hooks]]
type = "EMAHook"
ema_type = "StochasticWeightAverage"
begin_epoch = 1

[[custom_hooks]]
type = "EarlyStoppingHook"
monitor = "coco/bbox_mAP"
patience = 3

[[custom_hooks]]
type = "YOLOXModeSwitchHook"
num_last_epochs = 1
new_train_pipeline = [
    "{{ *pre_transform }}",
    { type = "YOLOv5KeepRatioResize", scale = "{{ img_scale }}" },
    { type = "LetterResize", scale = "{{ img_scale }}", allow_scale_up = false, pad_val = { img = 114 } },
    { type = "YOLOv5HSVRandomAug" },
    { type = "RandomFlip", prob = 0.5 },
    { type = "PackDetInputs" },
]

[[custom_hooks]]
type = "ProfilerHook"
skip = 1
steps = 4
"#;

/// A config of `text` over the default one.
fn over_default(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, format!("_base_ = {:?}\n{text}", config("starnet_s1_yolov5.toml"))).unwrap();
    path.display().to_string()
}

fn scalars(run: &Path) -> Vec<Value> {
    let text = |stamp: &std::path::PathBuf| fs::read_to_string(stamp.join("vis_data/scalars.json")).unwrap();
    let lines = stamps(run).iter().map(text).collect::<String>();
    let rows = lines.lines().map(|it| serde_json::from_str::<Value>(it).unwrap());
    rows.map(|mut row| {
        for key in ["time", "data_time"] {
            row.as_object_mut().unwrap().remove(key);
        }
        row
    })
    .collect()
}

#[test]
fn everything_that_changes_in_a_run_comes_back_on_resume() {
    let dir = folder();
    let config = over_default(dir.path(), "all.toml", EVERYTHING);
    ok(dir.path(), &train_args(&config, &["--work-dir", "whole"]));
    let whole = dir.path().join("whole");
    let rows = scalars(&whole);
    let lr: Vec<_> = rows.iter().filter_map(|it| it["lr"].as_f64()).collect();
    // The first group is the backbone's weights, at half the rate, at a tenth of it in the first step.
    assert!((lr[0] - 0.0001).abs() < 1e-12 && lr[4] > lr[0], "{lr:?}");
    assert!(rows.iter().any(|it| it["grad_norm"].as_f64().is_some_and(|it| it > 0.0)));

    // From each epoch: in the second one the average has begun, before the third the pipeline is not switched yet.
    for from in ["epoch_1", "epoch_2"] {
        let first = whole.join(format!("{from}.safetensors")).display().to_string();
        ok(dir.path(), &train_args(&config, &["--work-dir", from, "--resume", &first]));
        same_tensors(&whole.join("epoch_3.safetensors"), &dir.path().join(from).join("epoch_3.safetensors"));
        let part = scalars(&dir.path().join(from));
        assert_eq!(part, rows[rows.len() - part.len()..], "from {from}");
    }
    assert!(log(&dir.path().join("epoch_2")).contains("from epoch 3 on another pipeline"));

    let vis = stamps(&whole)[0].join("vis_data");
    assert_eq!(fs::read_dir(vis.join("vis_image/epoch_1")).unwrap().count(), 3, "of 8 pictures every third");
    let profile: Value = serde_json::from_str(&fs::read_to_string(vis.join("profile.json")).unwrap()).unwrap();
    assert_eq!(profile["traceEvents"].as_array().unwrap().len(), 4 * 5);
    assert!(log(&whole).contains("profile of 4 training steps"));
}

#[test]
fn a_training_that_does_not_get_better_ends() {
    let dir = folder();
    let hook = r#"
[[custom_hooks]]
type = "EarlyStoppingHook"
monitor = "coco/bbox_mAP"
min_delta = 0.9
patience = 1
"#;
    let config = over_default(dir.path(), "early.toml", hook);
    let ran = ok(dir.path(), &train_args(&config, &["--work-dir", "run"]));
    assert!(
        ran.err.contains("the training ends early: `coco/bbox_mAP` has not got better for 1 validations"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("only a gain of 0.9"), "{}", ran.err);
    let run = dir.path().join("run");
    assert!(run.join("epoch_2.safetensors").is_file() && !run.join("epoch_3.safetensors").is_file());
}

#[test]
fn hooks_are_shown_in_order_with_their_places() {
    let dir = folder();
    let config = over_default(dir.path(), "all.toml", EVERYTHING);
    let table: Value = serde_json::from_str(&ok(dir.path(), &["hooks", &config, "--json"]).out).unwrap();
    let stage = |name: &str| {
        let row = table.as_array().unwrap().iter().find(|it| it["stage"] == name).unwrap();
        let names = row["hooks"].as_array().unwrap().iter().map(|it| it["hook"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        stage("after_val_epoch"),
        ["RuntimeInfoHook", "EMAHook", "LoggerHook", "ParamSchedulerHook", "CheckpointHook", "EarlyStoppingHook"]
    );
    let text = ok(dir.path(), &["hooks", &config]).out;
    let line = text.lines().find(|it| it.contains("EarlyStoppingHook")).unwrap();
    assert!(line.contains("100 LOWEST") && line.contains("custom_hooks."), "{line}");
    assert!(line.contains("all.toml:"), "{line}");
    assert!(text.contains("without effect here: DistSamplerSeedHook"), "{text}");
}

#[test]
fn schedules_are_shown_without_training() {
    let dir = folder();
    let config = over_default(dir.path(), "all.toml", EVERYTHING);
    let args = ["schedule", "show", &config, "--set", "max_epochs=3", "--epoch-len", "10"];
    let rows: Value = serde_json::from_str(&ok(dir.path(), &[&args[..], &["--json"]].concat()).out).unwrap();
    let iters: Vec<_> = rows["rows"].as_array().unwrap().iter().map(|it| it["iter"].as_u64().unwrap()).collect();
    assert_eq!(iters, [1, 11, 21, 30]);
    let first = &rows["rows"][0]["lr"];
    assert_eq!(rows["groups"].as_array().unwrap().len(), first.as_array().unwrap().len());
    assert_eq!(first[0].as_f64().unwrap(), 0.0001);
    let text = ok(dir.path(), &[&args[..], &["--every", "5"]].concat()).out;
    assert!(text.contains("lr × 0.5") && text.lines().any(|it| it.trim_start().starts_with("1        6")), "{text}");
}

#[test]
fn contradictions_of_schedules_and_hooks_are_told_at_their_places() {
    let dir = folder();
    let schedule = "[[param_scheduler]]\ntype = \"StepLR\"\nstep_size = 2\n";
    let both = format!("{schedule}\n[default_hooks.mine]\ntype = \"ParamSchedulerHook\"\n");
    let window = "[[param_scheduler]]\ntype = \"StepLR\"\nstep_size = 2\nbegin = 3\nend = 2\n[default_hooks.param_scheduler]\n\
                  _delete_ = true\ntype = \"ParamSchedulerHook\"\n";
    let scale = "[auto_scale_lr]\nenable = true\n";
    for (text, expect) in [
        (schedule, "no hook runs the schedules of this list"),
        (&both, "sets the learning rate too"),
        (window, "begins at 3 and ends at 2"),
        (scale, "the batch size that the learning rate was chosen for is not known"),
    ] {
        let config = over_default(dir.path(), "wrong.toml", text);
        let ran = mmy(dir.path(), &["schedule", "show", &config, "--epoch-len", "10"]);
        assert_eq!(ran.status, Some(2), "{}", ran.err);
        assert!(ran.err.contains(expect), "`{expect}` is not in {}", ran.err);
    }
}

#[test]
fn the_examples_of_the_training_page_are_right() {
    let dir = folder();
    let page = fs::read_to_string(root().join("docs/training.md")).unwrap();
    let examples: Vec<_> = page.split("```toml\n").skip(1).map(|it| it.split("```").next().unwrap()).collect();
    assert!(examples.len() > 5);
    for example in examples {
        let config = over_default(dir.path(), "example.toml", example);
        ok(dir.path(), &["schedule", "show", &config, "--epoch-len", "100"]);
    }
}
