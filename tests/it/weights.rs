//! Weights from elsewhere: into runs, tests and predictions.

use std::{
    fs,
    io::{Cursor, Write},
    path::Path,
};

use mmy_nn::file::read_safetensors;
use serde_json::Value;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::support::{TINY, config, folder, mmy, ok, root, same_tensors, train_args};

fn fixture(name: &str) -> String {
    root().join("tests/fixtures/weights").join(name).display().to_string()
}

/// The model of a checkpoint, as PyTorch and mmengine save one: `state_dict` beside what a resume needs.
fn as_pth(checkpoint: &Path, prefix: &str, pth: &Path) {
    let contents = read_safetensors(checkpoint).unwrap();
    let mut names: Vec<_> = contents.tensors.keys().filter(|it| !it.starts_with('@')).collect();
    names.sort();
    let text = |it: &str| [b"X".as_slice(), &(it.len() as u32).to_le_bytes(), it.as_bytes()].concat();
    let int = |it: i64| [b"J".as_slice(), &(it as i32).to_le_bytes()].concat();
    let tuple = |items: &[i64]| [b"(".to_vec(), items.iter().flat_map(|&it| int(it)).collect(), b"t".to_vec()].concat();
    let mut pickle = [b"\x80\x02}(".to_vec(), text("meta"), b"}".to_vec(), text("state_dict")].concat();
    pickle.extend(b"ccollections\nOrderedDict\n)R(");
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (at, name) in names.into_iter().enumerate() {
        let tensor = &contents.tensors[name];
        let size = tensor.size();
        let stride: Vec<i64> = (0..size.len()).map(|d| size[d + 1..].iter().product()).collect();
        let storage = if tensor.kind() == tch::Kind::Int64 { "LongStorage" } else { "FloatStorage" };
        pickle.extend(text(&format!("{prefix}{name}")));
        pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        pickle.extend(text("storage"));
        pickle.extend(format!("ctorch\n{storage}\n").bytes());
        pickle
            .extend([text(&at.to_string()), text("cpu"), int(tensor.numel() as i64), b"tQ".to_vec(), int(0)].concat());
        pickle.extend([tuple(&size), tuple(&stride), b"\x89}tR".to_vec()].concat());
        let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.contiguous().copy_data_u8(&mut bytes, tensor.numel());
        zip.start_file(format!("archive/data/{at}"), stored).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    pickle.extend(b"uu.");
    zip.start_file("archive/data.pkl", stored).unwrap();
    zip.write_all(&pickle).unwrap();
    fs::write(pth, zip.finish().unwrap().into_inner()).unwrap();
}

#[test]
fn files_are_shown_converted_and_compared() {
    let dir = folder();
    let dir = dir.path();
    for name in ["kinds.pth", "legacy.pth", "mmyolo.pth", "module.pt", "wrapped.pth.tar", "harm.pth"] {
        let shown: Value = serde_json::from_str(&ok(dir, &["weights", "show", &fixture(name), "--json"]).out).unwrap();
        assert!(!shown["tensors"].as_array().unwrap().is_empty(), "{name}");
        ok(dir, &["weights", "convert", &fixture(name), "out.safetensors"]);
        let same = ok(dir, &["weights", "diff", &fixture(name), "out.safetensors"]);
        assert!(same.out.starts_with("0 of "), "{}", same.out);
    }
    assert!(!dir.join("HARM").exists(), "code of a checkpoint was run");
    let shown = ok(dir, &["weights", "show", &fixture("harm.pth")]).out;
    assert!(shown.contains("names Python code, which was not run: posix.system"), "{shown}");
    let shown = ok(dir, &["weights", "show", &fixture("mmyolo.pth")]).out;
    assert!(shown.contains("classes: cat, dog") && shown.contains("other part: ema_state_dict, 7 tensors"), "{shown}");

    ok(
        dir,
        &[
            "weights",
            "convert",
            &fixture("module.pt"),
            "a.safetensors",
            "--key",
            "model",
            "--strip",
            "model.",
            "--prefix",
            "m.",
        ],
    );
    let names: Vec<_> = read_safetensors(dir.join("a.safetensors")).unwrap().tensors.into_keys().collect();
    assert!(names.contains(&"m.0.conv.weight".to_owned()) && names.contains(&"m.stride".to_owned()), "{names:?}");
    ok(dir, &["weights", "convert", &fixture("mmyolo.pth"), "h.safetensors", "--half"]);
    let half = read_safetensors(dir.join("h.safetensors")).unwrap().tensors;
    assert_eq!(
        (half["conv.weight"].kind(), half["bn.num_batches_tracked"].kind()),
        (tch::Kind::Half, tch::Kind::Int64)
    );
    let ran = mmy(dir, &["weights", "diff", &fixture("mmyolo.pth"), &fixture("wrapped.pth.tar")]);
    assert_eq!(ran.status, Some(0), "{}", ran.out);
    let ran = mmy(dir, &["weights", "diff", "a.safetensors", "h.safetensors"]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.out.contains("only in the first"), "{}", ran.out);
}

#[test]
fn files_that_are_no_weights_are_refused() {
    let dir = folder();
    let dir = dir.path();
    fs::write(dir.join("page.pth"), "<!DOCTYPE html>").unwrap();
    let torn = fs::read(fixture("kinds.pth")).unwrap();
    fs::write(dir.join("torn.pth"), &torn[..torn.len() / 2]).unwrap();
    let base = config("starnet_s1_yolov5.toml");
    for (file, text) in [
        ("page.pth", "page.pth: neither a safetensors file nor a PyTorch checkpoint: it is an HTML page"),
        ("torn.pth", "torn.pth: not a sound PyTorch checkpoint: the zip archive is torn"),
        (&fixture("script.pt"), "a TorchScript program"),
        (".", "directory"),
    ] {
        let commands: [&[&str]; 4] = [
            &["weights", "show", file],
            &["weights", "convert", file, "out.safetensors"],
            &["test", &base, file],
            &["train", &base, "--load-from", file],
        ];
        // Both draw the shapes as they are made small here.
        for args in commands {
            // A folder is no file that could be a checkpoint: told before it is opened.
            let text = if file == "." && args[0] != "weights" { "there is no checkpoint `.`" } else { text };
            let args = match args[0] {
                "train" => train_args(&base, &args[2..]),
                "test" => args.iter().copied().chain(TINY).collect(),
                _ => args.to_vec(),
            };
            let ran = mmy(dir, &args);
            assert_eq!(ran.status, Some(2), "mmy {}\n{}", args.join(" "), ran.err);
            assert!(ran.err.contains(text), "mmy {}\n{}", args.join(" "), ran.err);
        }
    }
    assert!(!dir.join("out.safetensors").exists());
    let ran = mmy(dir, &["weights", "show", &fixture("mmyolo.pth"), "--key", "mode"]);
    assert!(ran.status == Some(2) && ran.err.contains("it has `state_dict`, `ema_state_dict`"), "{}", ran.err);
}

#[test]
fn a_checkpoint_of_pytorch_is_taken_wherever_ours_is() {
    let dir = folder();
    let dir = dir.path();
    let base = config("starnet_s1_yolov5.toml");
    ok(dir, &train_args(&base, &["--set", "max_epochs=1", "--work-dir", "run"]));
    let ours = dir.join("run/epoch_1.safetensors");
    as_pth(&ours, "module.", &dir.join("x.pth"));
    let (tiny, ours) = (TINY, ours.display().to_string());

    // Tests and predictions come to the same with either.
    let metrics = |checkpoint: &str, out: &str| {
        let args: Vec<_> = ["test", &base, checkpoint, "--work-dir", out].into_iter().chain(tiny).collect();
        let ran = ok(dir, &args);
        let line = ran.err.lines().find(|it| it.contains("bbox_mAP:")).unwrap_or_else(|| panic!("{}", ran.err));
        line.split("coco/bbox_mAP:").nth(1).unwrap().split("data_time").next().unwrap().to_owned()
    };
    assert_eq!(metrics(&ours, "a"), metrics("x.pth", "b"));
    let predict = |args: &[&str], out: &str| {
        let args = [&["predict"], args, &["data/shapes/val", "--score-thr", "0.0001", "--out", out]].concat();
        ok(dir, &args);
        fs::read_to_string(dir.join(out).join("predictions.json")).unwrap()
    };
    let with_config: Vec<_> = ["x.pth", "--config", &base].into_iter().chain(tiny).collect();
    let found = |text: &str| -> Vec<Value> {
        let mut pictures: Vec<Value> = serde_json::from_str(text).unwrap();
        let boxes = pictures.iter_mut().flat_map(|it| it["predictions"].as_array_mut().unwrap());
        // PyTorch's file names no classes, and the config of the shapes none either.
        boxes.for_each(|it| it["class"] = Value::Null);
        pictures
    };
    let (a, b) = (predict(&[&ours], "pa"), predict(&with_config, "pb"));
    assert_eq!(found(&a), found(&b));
    let ran = mmy(dir, &["predict", "x.pth", "data/shapes/val", "--out", "pc"]);
    assert!(ran.status == Some(2) && ran.err.contains("say with `--config`"), "{}", ran.err);

    // Two runs from the same weights are the same.
    for (from, out) in [(ours.as_str(), "la"), ("x.pth", "lb")] {
        let more = ["--set", "max_epochs=1", "--set", "val_interval=9", "--load-from", from, "--work-dir", out];
        let ran = ok(dir, &train_args(&base, &more));
        assert!(ran.err.contains("Load checkpoint from"), "{}", ran.err);
    }
    same_tensors(&dir.join("la/epoch_1.safetensors"), &dir.join("lb/epoch_1.safetensors"));
    assert!(crate::support::log(&dir.join("lb")).contains("without the prefix `module.`"));

    // A head of another class count starts afresh when training goes on, and is no model to test.
    let three = ["--set", "shapes.classes=[\"circle\",\"square\",\"star\"]", "--set", "data_root=\"data/three\""];
    let more =
        [&["--set", "max_epochs=1", "--set", "val_interval=9", "--load-from", "x.pth", "--work-dir", "lc"], &three[..]];
    let ran = ok(dir, &train_args(&base, &more.concat()));
    assert!(
        ran.err.contains("6 misshapen") && ran.err.contains("bbox_head.head_module.convs_pred.0.weight"),
        "{}",
        ran.err
    );
    let args: Vec<_> = ["test", &base, "x.pth", "--work-dir", "d"].into_iter().chain(tiny).chain(three).collect();
    let ran = mmy(dir, &args);
    assert_eq!(ran.status, Some(2), "{}", ran.err);
    assert!(ran.err.contains("the weights do not fit the model") && ran.err.contains("misshapen"), "{}", ran.err);

    // A long report is short on the terminal and whole in the log.
    ok(dir, &["weights", "convert", "x.pth", "other.safetensors", "--strip", "backbone."]);
    let names = read_safetensors(dir.join("run/epoch_1.safetensors")).unwrap().tensors;
    let late = names.keys().filter(|it| it.starts_with("backbone.stages.")).max().unwrap();
    let more =
        ["--set", "max_epochs=1", "--set", "val_interval=9", "--load-from", "other.safetensors", "--work-dir", "le"];
    let ran = ok(dir, &train_args(&base, &more));
    assert!(ran.err.contains("missing    backbone.stem") && ran.err.contains("\n  … and "), "{}", ran.err);
    assert!(!ran.err.contains(late), "{}", ran.err);
    assert!(crate::support::log(&dir.join("le")).contains(&format!("missing    {late}")));

    // Where no name fits, there is nothing to start from.
    ok(dir, &["weights", "convert", "x.pth", "none.safetensors", "--prefix", "x."]);
    let ran = mmy(dir, &train_args(&base, &["--load-from", "none.safetensors", "--work-dir", "lf"]));
    assert_eq!(ran.status, Some(2), "{}", ran.err);
    assert!(ran.err.contains("has no tensor of this model"), "{}", ran.err);
}
