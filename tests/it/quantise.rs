//! `mmy weights quantize-dsconv`: from a run to kernels of four bits, and what takes them.

use mmy_engine::Checkpoint;
use mmy_nn::file::read_safetensors;

use crate::support::{config, folder, mmy, ok, train_args};

#[test]
fn kernels_of_four_bits_are_smaller_and_test_train_and_deploy() {
    let dir = folder();
    let file = config("starnet_s1_yolov5.toml");
    ok(dir.path(), &train_args(&file, &["--set", "max_epochs=1"]));
    let trained = "work_dirs/starnet_s1_yolov5/epoch_1.safetensors";
    let quantise = ["weights", "quantize-dsconv", trained, "--bits", "4", "--block", "16", "-o", "q.safetensors"];
    let ran = ok(dir.path(), &quantise);
    let all = ran.out.lines().find(|it| it.starts_with("in all")).unwrap();
    let numbers: Vec<f64> = all.split_whitespace().filter_map(|it| it.trim_end_matches('%').parse().ok()).collect();
    // KiB before and after, their share, the error. Scales for blocks of 16 cost two bits a number.
    let [float, stored, share, error] = numbers[..] else { panic!("{all}") };
    assert!(stored < float * 0.25 && share < 25.0, "{all}");
    assert!((0.01..0.15).contains(&error), "{all}");
    assert!(ran.out.contains("backbone.stages.3.1.f1.conv"), "{}", ran.out);
    let tensors = read_safetensors(dir.path().join("q.safetensors")).unwrap().tensors;
    let packed = &tensors["backbone.stages.3.1.f1.conv.intweight"];
    assert_eq!((packed.kind(), packed.numel()), (tch::Kind::Uint8, 384 * 128 / 2));
    // Depthwise kernels see one channel: they stay.
    assert!(tensors.contains_key("backbone.stages.3.1.dwconv.conv.weight"));

    // The config beside it tests, trains on and deploys.
    ok(dir.path(), &["test", "q.toml", "q.safetensors"]);
    let once = ["--set", "train_cfg.max_epochs=1", "--work-dir", "on"];
    ok(
        dir.path(),
        &["train", "q.toml", "--load-from", "q.safetensors"].iter().chain(&once).copied().collect::<Vec<_>>(),
    );
    let on = read_safetensors(dir.path().join("on/epoch_1.safetensors")).unwrap().tensors;
    assert_eq!(&on["backbone.stages.3.1.f1.conv.intweight"], packed);
    let scale = "backbone.stages.3.1.f1.conv.KDSw";
    assert_ne!(on[scale], tensors[scale]);
    let ran = ok(dir.path(), &["model", "deploy", "q.toml", "q.safetensors", "-o", "d.safetensors"]);
    assert!(ran.out.contains("differ by at most"), "{}", ran.out);
    let deployed = Checkpoint::read(&dir.path().join("d.safetensors")).unwrap();
    assert!(deployed.model.iter().all(|it| !it.0.ends_with("intweight")));
    ok(dir.path(), &["test", "q.toml", "d.safetensors"]);

    // The float32 checkpoint itself loads under that config, and gives the same kernels.
    ok(dir.path(), &["test", "q.toml", trained]);

    for (args, word) in [
        (vec!["weights", "quantize-dsconv", "q.safetensors", "-o", "r.safetensors"], "quantised already"),
        (vec!["weights", "quantize-dsconv", "d.safetensors", "-o", "r.safetensors"], "deployed"),
        (vec!["weights", "quantize-dsconv", trained, "--min-channels", "5000", "-o", "r.safetensors"], "no kernel"),
        (vec!["weights", "quantize-dsconv", trained, "--bits", "9", "-o", "r.safetensors"], "--bits"),
    ] {
        let ran = mmy(dir.path(), &args);
        assert!(ran.status == Some(2) && ran.err.contains(word), "{}: {}", args.join(" "), ran.err);
    }
}
