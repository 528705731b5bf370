//! RevCol and spiking models through the binary: training, resuming, testing, finding, counting.

use serde_json::Value;

use crate::support::{config, folder, mmy, ok, same_tensors};

/// Settings that make a config of shapes a run of seconds.
const SHORT: [&str; 14] = [
    "--set",
    "img_scale=[64,64]",
    "--set",
    "shapes.image_size=[96,96]",
    "--set",
    "shapes.train=16",
    "--set",
    "shapes.val=4",
    "--set",
    "train_batch_size_per_gpu=4",
    "--set",
    "val_interval=2",
    "--set",
    "save_checkpoint_intervals=1",
];

fn train(dir: &std::path::Path, config: &str, more: &[&str]) {
    let args: Vec<_> = ["train", config].into_iter().chain(SHORT).chain(more.iter().copied()).collect();
    ok(dir, &args);
}

/// Two epochs at once end with the bytes of one epoch and another after a resume; and the checkpoint is of use.
fn trains_and_resumes(file: &str, small: &[&str]) -> (tempfile::TempDir, String) {
    let dir = folder();
    let config = config(file);
    let with = |more: &[&'static str]| -> Vec<String> { small.iter().chain(more).map(|it| (*it).to_owned()).collect() };
    let run = |more: &[&'static str]| {
        let args = with(more);
        train(dir.path(), &config, &args.iter().map(String::as_str).collect::<Vec<_>>());
    };
    run(&["--set", "max_epochs=2", "--work-dir", "whole"]);
    run(&["--set", "max_epochs=2", "--work-dir", "parts", "--resume", "whole/epoch_1.safetensors"]);
    let path = |it: &str| dir.path().join(it);
    same_tensors(&path("whole/epoch_2.safetensors"), &path("parts/epoch_2.safetensors"));
    let picture = std::fs::read_dir(path("data/shapes/val")).ok().and_then(|mut it| it.next()).unwrap().unwrap().path();
    let picture = picture.display().to_string();
    ok(dir.path(), &["predict", "whole/epoch_2.safetensors", &picture, "--out", "out", "--score-thr", "0.0"]);
    (dir, config)
}

#[test]
fn a_reversible_network_resumes_with_its_drop_path() {
    let small = ["--set", "channels=[8,8,16,16]", "--set", "drop_path=0.3", "--set", "amp=\"bfloat16\""];
    trains_and_resumes("revcol/revcol_shapes.toml", &small);
}

#[test]
fn a_spiking_network_trains_and_shows_its_spikes() {
    let (dir, config) = trains_and_resumes("ems_yolo/res10_shapes.toml", &[]);
    let args = |more: &[&'static str]| {
        let args = ["model", "spikes", &config, "whole/epoch_2.safetensors"].map(str::to_owned);
        args.into_iter().chain(SHORT.iter().chain(more).map(|it| (*it).to_owned())).collect::<Vec<_>>()
    };
    let run = |more: &[&'static str]| {
        let args = args(more);
        ok(dir.path(), &args.iter().map(String::as_str).collect::<Vec<_>>()).out
    };
    let found: Value = serde_json::from_str(&run(&["--json", "--count", "2", "--out", "spikes.svg"])).unwrap();
    let rate = found["rate"].as_f64().unwrap();
    // After so few steps the running statistics are far from the batches', and next to nothing spikes.
    assert!((0.0..1.0).contains(&rate), "{found}");
    let neurons = found["neurons"].as_array().unwrap();
    assert_eq!(neurons.len(), 2 * 8 + 5, "two layers in each of eight blocks, one before each widening shortcut");
    let energy = &found["energy_uj"];
    assert!(energy["layer_rates"].as_f64().unwrap() > 0.0 && energy["ordinary"].as_f64().unwrap() > 0.0);
    let svg = std::fs::read_to_string(dir.path().join("spikes.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("model.1.residual_function.0"), "{svg}");
    assert!(run(&[]).contains("µJ, with the rate of each layer's own input"));
}

#[test]
fn a_classifier_hands_its_backbone_to_a_detector() {
    let dir = folder();
    let classify = config("revcol/classify_shapes.toml");
    let channels = "model.backbone.channels=[8,8,16,16]";
    train(dir.path(), &classify, &["--set", channels, "--set", "max_epochs=1", "--work-dir", "classify"]);
    let metrics = ["test", &classify, "classify/epoch_1.safetensors", "--set", channels];
    let ran = ok(dir.path(), &metrics.into_iter().chain(SHORT).collect::<Vec<_>>());
    assert!(format!("{}{}", ran.out, ran.err).contains("accuracy"), "{}{}", ran.out, ran.err);
    let detect = config("revcol/revcol_shapes.toml");
    let more = [
        "--set",
        "channels=[8,8,16,16]",
        "--set",
        "max_epochs=1",
        "--load-from",
        "classify/epoch_1.safetensors",
        "--work-dir",
        "detect",
    ];
    train(dir.path(), &detect, &more);
}

#[test]
fn a_bench_over_columns_shows_the_memory_of_each() {
    let dir = folder();
    let detect = config("revcol/revcol_shapes.toml");
    let args = [
        "bench",
        "train",
        &detect,
        "--rounds",
        "1",
        "--batch-size",
        "2",
        "--size",
        "64",
        "64",
        "--json",
        "--vary",
        "model.backbone.reversible=true,false",
        "--vary",
        "columns=2,6",
    ];
    let out: Value = serde_json::from_str(&ok(dir.path(), &args).out).unwrap();
    let mib = |at: usize| out["rows"][at]["step_peak_tensors_mib"].as_f64().unwrap();
    assert_eq!(out["rows"][1]["columns"], "6");
    assert!(mib(1) < mib(3) && mib(0) > 0.0, "{out:#}");
    let ran = mmy(dir.path(), &["bench", "train", &detect, "--vary", "columns"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("write a key and its values"), "{}", ran.err);
}

#[test]
fn sizes_are_the_published_ones() {
    let dir = folder();
    // Parameters, and multiply-adds at 640 pixels in 1e-4 G where the original's were counted alike.
    for (name, params, macs) in [
        ("revcol/revcol_c3.toml", 31_182_653, Some(379_332)),
        ("revcol/revcol_c3_as_published.toml", 31_223_613, Some(379_594)),
        ("ems_yolo/res10.toml", 6_387_230, None),
        ("ems_yolo/res18.toml", 9_523_550, None),
        ("ems_yolo/resnet10.toml", 17_561_662, None),
        ("ems_yolo/resnet34.toml", 34_027_454, None),
        ("ems_yolo/yolov3_tiny.toml", 8_852_366, None),
        ("ems_yolo/yolov3_tiny_as_published.toml", 8_852_366, None),
    ] {
        let ran = ok(dir.path(), &["model", "info", &config(name), "--size", "640", "640", "--json"]);
        let out: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(out["params"], params, "{name}");
        if let Some(want) = macs {
            assert_eq!((out["macs"].as_f64().unwrap() / 1e5).round() as u64, want, "{name}");
        }
    }
}
