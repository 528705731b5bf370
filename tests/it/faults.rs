//! What users get wrong ends in a plain message and an exit status, never in a panic.

use std::fs;

use crate::support::{config, folder, mmy, ok, train_args};

/// Runs a command that has to fail with `status` and a message that holds all of `texts`.
fn fails(dir: &std::path::Path, args: &[&str], status: i32, texts: &[&str]) {
    let ran = mmy(dir, args);
    assert_eq!(ran.status, Some(status), "mmy {}\n{}\n{}", args.join(" "), ran.out, ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    for text in texts {
        assert!(ran.err.contains(text), "`{text}` is not in\n{}", ran.err);
    }
}

#[test]
fn a_config_with_mistakes_names_their_places() {
    let base = config("starnet_s1_yolov5.toml");
    let cases: [(&str, &[&str]); 6] = [
        ("[model.backbone]\ntype = \"StarNett\"\n", &["config.toml:3:8", "did you mean `StarNet`?"]),
        ("[model.backbone]\nbase_dimm = 24\n", &["config.toml:3:1", "base_dim"]),
        ("[model.backbone]\ndepths = \"many\"\n", &["config.toml:3:10", "model.backbone.depths"]),
        (
            "[model.bbox_head.head_module]\nin_channels = [48, 96, 200]\n",
            &["config.toml:3:15", "set in_channels = [32, 64, 128]"],
        ),
        ("[vars]\nnum_classes = 7\n", &["config.toml:3:15", "7 classes", "num_classes = 4"]),
        ("[model.backbone\n", &["config.toml:2"]),
    ];
    for (text, wanted) in cases {
        let dir = folder();
        let path = dir.path().join("config.toml");
        fs::write(&path, format!("_base_ = \"{base}\"\n{text}")).unwrap();
        fails(dir.path(), &train_args("config.toml", &[]), 2, wanted);
        // All is told before the data is there.
        assert!(!dir.path().join("data").exists(), "{text}");
    }
    let dir = folder();
    fails(dir.path(), &["train", "absent.toml"], 2, &["absent.toml"]);
    fails(dir.path(), &["train", "."], 2, &[]);
}

#[test]
fn a_set_that_means_nothing_is_refused() {
    let dir = folder();
    let base = config("starnet_s1_yolov5.toml");
    fails(dir.path(), &["train", &base, "--set", "max_epoch=3"], 2, &["--set", "max_epochs"]);
    fails(dir.path(), &["train", &base, "--set", "max_epochs=0"], 2, &["max_epochs"]);
    fails(dir.path(), &["train", &base, "--set", "nonsense"], 2, &["nonsense"]);
}

#[test]
fn a_loss_that_is_not_a_number_names_the_pictures() {
    let dir = folder();
    let base = config("starnet_s1_yolov5.toml");
    let more = [
        "--set",
        "base_lr=1e30",
        "--set",
        "default_hooks.param_scheduler.warmup_mim_iter=0",
        "--set",
        "default_hooks.param_scheduler.warmup_epochs=0.0",
    ];
    fails(dir.path(), &train_args(&base, &more), 1, &["the loss is not finite at iteration", ".jpg"]);
}

#[test]
fn pictures_that_cannot_be_read() {
    let dir = folder();
    let base = config("starnet_s1_yolov5.toml");
    ok(dir.path(), &train_args(&base, &["--set", "max_epochs=1", "--work-dir", "run"]));
    let train = dir.path().join("data/shapes/train");
    let first = fs::read_dir(&train).unwrap().map(|it| it.unwrap().path()).min().unwrap();
    let bytes = fs::read(&first).unwrap();
    fs::write(&first, &bytes[..bytes.len() / 3]).unwrap();
    // Training draws another one in its place and says so once.
    let ran = ok(dir.path(), &train_args(&base, &["--work-dir", "torn"]));
    let name = first.file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(ran.err.matches(&name).count(), 1, "{}", ran.err);
    // Where the config says so, it ends the run.
    let more = ["--set", "train_dataloader.on_bad_image=\"error\"", "--work-dir", "strict"];
    fails(dir.path(), &train_args(&base, &more), 2, &[&name]);
    // A prediction goes on with the others and ends with a non-zero status.
    let checkpoint = dir.path().join("run/epoch_1.safetensors").display().to_string();
    fs::write(dir.path().join("not.jpg"), "text").unwrap();
    fails(
        dir.path(),
        &["predict", &checkpoint, "not.jpg", &first.display().to_string(), "--out", "out"],
        2,
        &["not.jpg"],
    );
    fails(dir.path(), &["predict", &checkpoint, "absent.jpg", "--out", "out"], 2, &["absent.jpg"]);
}

#[test]
fn a_data_set_that_is_not_there() {
    let dir = folder();
    let args = ["train", &config("yolov5/yolov5_n.toml"), "--set", "data_root=nowhere/"];
    fails(dir.path(), &args, 2, &["there is no folder `nowhere/`", "--set data_root="]);
}

#[test]
fn names_that_nobody_registered() {
    let dir = folder();
    fails(dir.path(), &["registry", "show", "StarNett"], 2, &["did you mean `StarNet`?"]);
    fails(dir.path(), &["registry", "list", "bakbone"], 2, &["did you mean `backbone`?"]);
}
