//! `mmy model deploy`: from a run to a merged model, and what takes it.

use mmy_engine::Checkpoint;

use crate::support::{TINY, config, folder, mmy, ok, stamps, train_args};

#[test]
fn a_trained_model_is_merged_tested_and_used() {
    let dir = folder();
    let file = config("starnet_s1_yolov5.toml");
    ok(dir.path(), &train_args(&file, &["--set", "max_epochs=1"]));
    let trained = "work_dirs/starnet_s1_yolov5/epoch_1.safetensors";
    let with = |before: &[&str], after: &[&str]| {
        let mut args: Vec<String> = before.iter().map(|it| (*it).to_owned()).collect();
        args.extend(TINY.iter().chain(after).map(|it| (*it).to_owned()));
        args
    };
    let run = |args: Vec<String>| mmy(dir.path(), &args.iter().map(String::as_str).collect::<Vec<_>>());
    let well = |args: Vec<String>| {
        let ran = run(args);
        assert_eq!(ran.status, Some(0), "{}\n{}", ran.out, ran.err);
        ran
    };

    let ran = well(with(&["model", "deploy", &file, trained, "-o", "d.safetensors"], &[]));
    let difference = ran.out.lines().last().and_then(|it| it.split("at most ").nth(1));
    let difference: f64 = difference.and_then(|it| it.split(' ').next()).unwrap().parse().unwrap();
    assert!(difference <= 1e-5, "{}", ran.out);
    let deployed = Checkpoint::read(&dir.path().join("d.safetensors")).unwrap();
    let manifest = deployed.manifest.unwrap();
    assert!(manifest.deployed && !manifest.resumable);
    assert!(deployed.model.iter().all(|(name, _)| !name.contains("bn.")));

    // The same metrics by a test of the merged file and by the hook.
    let metrics = |work_dir: &str, args: Vec<String>| {
        let args: Vec<_> = args.into_iter().chain(["--work-dir".into(), work_dir.into()]).collect();
        well(args);
        let newest = stamps(&dir.path().join(work_dir)).pop().unwrap();
        let name = newest.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(newest.join(name + ".json")).unwrap();
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).unwrap()
    };
    let plain = metrics("plain", with(&["test", &file, trained], &[]));
    let merged = metrics("merged", with(&["test", &file, "d.safetensors"], &[]));
    let hook = "custom_hooks=[{type=\"SwitchToDeployHook\"}]";
    let by_hook = metrics("hook", with(&["test", &file, trained], &["--set", hook]));
    let scores: Vec<_> = plain.iter().filter(|it| it.0.starts_with("coco/")).collect();
    assert!(!scores.is_empty(), "{plain:?}");
    for (name, value) in scores {
        for other in [&merged, &by_hook] {
            let (a, b) = (value.as_f64().unwrap(), other[name].as_f64().unwrap());
            assert!((a - b).abs() <= 2e-3, "{name}: {a} and {b}");
        }
    }

    // Found objects do not depend on who merged.
    ok(dir.path(), &["data", "shapes", "pictures", "--train", "1", "--val", "2", "--size", "96", "96"]);
    for (from, out) in [(trained, "a"), ("d.safetensors", "b")] {
        ok(dir.path(), &["predict", from, "pictures/val", "--out", out, "--score-thr", "0.0001"]);
    }
    let predictions = |out: &str| {
        let text = std::fs::read_to_string(dir.path().join(out).join("predictions.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    assert_eq!(predictions("a"), predictions("b"));

    // Twice, and training from it, are mistakes.
    let ran = run(with(&["model", "deploy", &file, "d.safetensors", "-o", "e.safetensors"], &[]));
    assert!(ran.status == Some(2) && ran.err.contains("deployed already"), "{}", ran.err);
    let ran = run(with(&["train", &file, "--load-from", "d.safetensors"], &[]));
    assert!(ran.status == Some(2) && ran.err.contains("deployed"), "{}", ran.err);
}
