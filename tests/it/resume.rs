//! A run that was ended and goes on is the run that was not.

use std::{
    fs,
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use crate::support::{command, config, folder, mmy, ok, same_tensors, scalars, stamps, train_args};

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
    for (text, signal) in [("Epoch(train) [1][2/6]", "-INT"), ("Epoch(train) [2][4/6]", "-TERM")] {
        let mut child = command(dir.path(), &args).spawn().unwrap();
        wait_for(text, &run, &mut child);
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
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
    let (one, three) = ("max_epochs=1", "train_batch_size_per_gpu=3");
    let lr = "optim_wrapper.optimizer.lr=0.02";
    let cases: [(&[&str], &str); 7] = [
        (&["--resume", &best], "not what a run needs to go on"),
        (&["--resume", &torn], "not a sound safetensors file"),
        (&["--resume", &last], "train_cfg.max_epochs: 1 in the checkpoint, 3 now"),
        (&["--resume", &last, "--set", one, "--set", three], "train_dataloader.batch_size: 4 in the checkpoint, 3 now"),
        (&["--resume", &last, "--set", one, "--set", lr], "optimizer.lr: 0.04 in the checkpoint, 0.02 now (--set"),
        (&["--resume", &last, "--set", one, "--set", lr], "--resume-anyway"),
        (&["--resume", &last, "--resume-anyway", "--set", three], "batches in an epoch"),
    ];
    for (more, text) in cases {
        let ran = mmy(dir.path(), &train_args(&config, more));
        assert_eq!(ran.status, Some(2), "{}", ran.err);
        assert!(ran.err.contains(text), "`{text}` is not in {}", ran.err);
    }
}

#[test]
fn a_longer_run_or_other_data_go_on_when_told_to() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    ok(dir.path(), &train_args(&config, &["--set", "max_epochs=1"]));
    let longer = ["--set", "max_epochs=2", "--resume"];
    assert_eq!(mmy(dir.path(), &train_args(&config, &longer)).status, Some(2));
    let ran = ok(dir.path(), &train_args(&config, &[&longer[..], &["--resume-anyway"]].concat()));
    assert!(ran.err.contains("going on all the same: train_cfg.max_epochs: 1 in the checkpoint, 2 now"), "{}", ran.err);
    // One box was moved by a pixel.
    let path = dir.path().join("data/shapes/annotations/instances_train.json");
    let text = fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once("\"bbox\":[").unwrap();
    fs::write(&path, format!("{before}\"bbox\":[1{after}")).unwrap();
    let ran = mmy(dir.path(), &train_args(&config, &longer));
    assert!(ran.status == Some(2) && ran.err.contains("train data: 24 pictures with "), "{}", ran.err);
}

#[test]
fn what_only_shows_a_run_may_change_on_resume() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    ok(dir.path(), &train_args(&config, &["--work-dir", "whole"]));
    let first = dir.path().join("whole/epoch_1.safetensors").display().to_string();
    fs::rename(dir.path().join("data"), dir.path().join("moved")).unwrap();
    let set = ["--set", "default_hooks.logger.interval=1", "--set", "max_keep_ckpts=1", "--set", "train_num_workers=0"];
    let place =
        ["--set", "data_root=moved/shapes/", "--set", "val_interval=3", "--work-dir", "part", "--resume", &first];
    ok(dir.path(), &train_args(&config, &[&set[..], &place].concat()));
    same_tensors(&dir.path().join("whole/epoch_3.safetensors"), &dir.path().join("part/epoch_3.safetensors"));
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before_it() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    let run = dir.path().join("run");
    ok(dir.path(), &train_args(&config, &["--work-dir", "run"]));
    let last = run.join("epoch_3.safetensors");
    let whole = dir.path().join("whole.safetensors");
    fs::copy(&last, &whole).unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&last, &bytes).unwrap();
    let named = last.display().to_string();
    let ran = mmy(dir.path(), &train_args(&config, &["--work-dir", "run", "--resume", &named]));
    assert_eq!(ran.status, Some(2), "{}", ran.err);
    for text in ["epoch_3.safetensors` is damaged", "the newest whole checkpoint is", "epoch_2.safetensors"] {
        assert!(ran.err.contains(text), "`{text}` is not in {}", ran.err);
    }
    // Without a name the newest whole one is taken, which is told, and the end is the same.
    let ran = ok(dir.path(), &train_args(&config, &["--work-dir", "run", "--resume"]));
    assert!(ran.err.contains("is damaged") && ran.err.contains("epoch_2.safetensors: epoch 2"), "{}", ran.err);
    same_tensors(&last, &whole);
}

#[test]
fn checkpoints_by_time_and_inside_a_window_of_gathered_steps() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    // Six steps in an epoch, a window of four: the checkpoints after steps 1 to 3 lie inside of one.
    let set = ["--set", "optim_wrapper.accumulative_counts=4", "--set", "default_hooks.logger.interval=1"];
    ok(dir.path(), &train_args(&config, &[&set[..], &["--work-dir", "whole"]].concat()));
    let time = ["--set", "default_hooks.checkpoint.every=\"1ms\"", "--work-dir", "parts", "--resume"];
    let args = train_args(&config, &[&set[..], &time].concat());
    let run = dir.path().join("parts");
    let mut child = command(dir.path(), &args).spawn().unwrap();
    wait_for("Saving the state at 3 iterations", &run, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(run.join("resume.safetensors").exists());
    let ran = ok(dir.path(), &args);
    assert!(ran.err.contains("resumed from "), "{}", ran.err);
    let (whole, end) = (dir.path().join("whole"), "epoch_3.safetensors");
    same_tensors(&whole.join(end), &run.join(end));
    assert_eq!(scalars(&whole), scalars(&run));
    assert!(!run.join("resume.safetensors").exists(), "a later checkpoint takes its place");
}

#[test]
fn a_run_by_steps_validates_saves_and_resumes() {
    let dir = folder();
    let config = config("starnet_s1_yolov5.toml");
    let cfg = "train_cfg={_delete_=true, type=\"IterBasedTrainLoop\", max_iters=14, val_interval=5, dynamic_intervals=[[11, 2]]}";
    let set =
        ["--set", cfg, "--set", "default_hooks.checkpoint.interval=4", "--set", "default_hooks.logger.interval=1"];
    let ran = ok(dir.path(), &train_args(&config, &[&set[..], &["--work-dir", "whole"]].concat()));
    assert!(ran.err.contains("Iter(train) [ 7/14]"), "{}", ran.err);
    let whole = dir.path().join("whole");
    let validated: Vec<_> = scalars(&whole).iter().filter(|it| it.get("loss").is_none()).cloned().collect();
    let steps: Vec<_> = validated.iter().map(|it| it["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [5, 10, 12, 14]);
    for name in ["iter_4", "iter_8", "iter_12", "iter_14"] {
        assert_eq!(whole.join(format!("{name}.safetensors")).exists(), name != "iter_4", "three are kept: {name}");
    }
    let from = whole.join("iter_8.safetensors").display().to_string();
    ok(dir.path(), &train_args(&config, &[&set[..], &["--work-dir", "part", "--resume", &from]].concat()));
    same_tensors(&whole.join("iter_14.safetensors"), &dir.path().join("part/iter_14.safetensors"));
    assert_eq!(scalars(&whole), scalars(&dir.path().join("part")));

    // A sampler without an end goes on at the very place, too.
    let endless = [&set[..], &["--set", "train_dataloader.sampler.type=\"InfiniteSampler\""]].concat();
    ok(dir.path(), &train_args(&config, &[&endless[..], &["--work-dir", "endless"]].concat()));
    let from = dir.path().join("endless/iter_8.safetensors").display().to_string();
    ok(dir.path(), &train_args(&config, &[&endless[..], &["--work-dir", "on", "--resume", &from]].concat()));
    let end = "iter_14.safetensors";
    same_tensors(&dir.path().join("endless").join(end), &dir.path().join("on").join(end));
}
