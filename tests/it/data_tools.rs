//! `mmy data convert`, `split`, `subset`, `merge`, `stats`, `browse`, `anchors`, and training on what they write.

use std::{fs, path::Path};

use mmy_data::{DataloaderConfig, LoaderArgs};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Ran, TINY, config, folder, mmy, ok, root};

/// A folder with a small data set of shapes in COCO format.
fn shapes() -> TempDir {
    let dir = folder();
    ok(dir.path(), &["data", "shapes", "shapes", "--train", "24", "--val", "8", "--size", "96", "96"]);
    dir
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

/// Pictures, objects, and `data check`'s findings of a data set's files below `dir`, as a config names it.
fn check(dir: &Path, dataset: &str) -> Value {
    let base = config("starnet_s1_yolov5.toml");
    let text = format!(
        "_base_ = {base:?}\n[vars]\nshapes = {{ image_size = [96, 96], train = 24, val = 8 }}\n[train_dataloader.dataset]\n_delete_ = true\npipeline = \"{{{{ train_pipeline }}}}\"\n{dataset}\n"
    );
    fs::write(dir.join("check.toml"), text).unwrap();
    let ran = mmy(dir, &["data", "check", "check.toml", "--json"]);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    json(&ran)
}

#[test]
fn a_data_set_goes_through_every_format() {
    let dir = shapes();
    let dir = dir.path();
    let convert = |from: &str, to: &str, out: &str| {
        json(&ok(dir, &["data", "convert", from, "--to", to, "--out", out, "--pictures", "hardlink", "--json"]))
    };
    let first = convert("shapes", "coco", "coco");
    assert_eq!(
        (&first["pictures"], &first["splits"]["train"], &first["splits"]["val"]),
        (&32.into(), &24.into(), &8.into())
    );
    for (from, to) in [("coco", "yolo"), ("yolo", "labelme"), ("labelme", "voc"), ("voc", "back")] {
        let told = convert(from, if to == "back" { "coco" } else { to }, to);
        for key in ["pictures", "objects", "classes", "splits"] {
            assert_eq!(told[key], first[key], "{to}");
        }
    }
    // All the way round: the same boxes to a millionth of a pixel, of the same classes, in the same order.
    let rows = |name: &str| -> Vec<(String, String, Vec<i64>)> {
        let file: Value = serde_json::from_slice(&fs::read(dir.join(name)).unwrap()).unwrap();
        let image = |id: &Value| {
            let images = file["images"].as_array().unwrap().iter();
            let name = images.clone().find(|it| it["id"] == *id).unwrap()["file_name"].as_str().unwrap().to_owned();
            // VOC has one folder for all: pictures of the second split that had a name of the first got a number.
            name.replace("_2.jpg", ".jpg")
        };
        let class = |id: &Value| {
            let classes = file["categories"].as_array().unwrap().iter();
            classes.clone().find(|it| it["id"] == *id).unwrap()["name"].to_string()
        };
        let edges =
            |it: &Value| it.as_array().unwrap().iter().map(|it| (it.as_f64().unwrap() * 1e5).round() as i64).collect();
        let annotations = file["annotations"].as_array().unwrap().iter();
        let mut rows: Vec<_> =
            annotations.map(|it| (image(&it["image_id"]), class(&it["category_id"]), edges(&it["bbox"]))).collect();
        rows.sort_by_key(|it| format!("{it:?}"));
        rows
    };
    for split in ["train", "val"] {
        let name = format!("annotations/instances_{split}.json");
        assert_eq!(rows(&format!("back/{name}")), rows(&format!("shapes/{name}")));
    }
    // Each format is a sound data set, of the same objects.
    let sets = [
        "type = \"YOLOv5CocoDataset\"\ndata_root = \"coco\"\nann_file = \"annotations/instances_train.json\"\ndata_prefix = { img = \"train\" }",
        "type = \"YOLOv5TxtDataset\"\ndata_root = \"yolo\"",
        "type = \"YOLOv5LabelmeDataset\"\ndata_root = \"labelme\"\ndata_prefix = { ann = \"train\" }",
        "type = \"YOLOv5VOCDataset\"\ndata_root = \"voc\"\nann_file = \"ImageSets/Main/train.txt\"",
    ];
    let objects = check(dir, sets[0])["sets"][0]["objects"].clone();
    for set in sets {
        let report = check(dir, set);
        assert_eq!((&report["errors"], &report["warnings"]), (&0.into(), &0.into()), "{set}: {report}");
        assert_eq!((&report["sets"][0]["objects"], &report["sets"][0]["pictures"]), (&objects, &24.into()), "{set}");
    }
}

#[test]
fn faults_of_new_formats_have_file_line_and_column() {
    let dir = shapes();
    let dir = dir.path();
    ok(dir, &["data", "convert", "shapes", "--to", "yolo", "--out", "yolo"]);
    let text = fs::read_dir(dir.join("yolo/labels/train")).unwrap().next().unwrap().unwrap().path();
    fs::write(&text, "0 0.5 0.5 0.2 0.2\n0 0.5 x 0.2 0.2\n").unwrap();
    let report = check(dir, "type = \"YOLOv5TxtDataset\"\ndata_root = \"yolo\"");
    let finding = &report["findings"][0];
    assert_eq!((&finding["code"], &finding["line"]), (&"broken-entry".into(), &2.into()));
    assert_eq!(finding["text"], "column 7: `x` is not a number");
    let ran = mmy(dir, &["data", "stats", "check.toml"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("line 2, column 7: `x` is not a number"), "{}", ran.err);
    fs::write(dir.join("yolo/data.yaml"), "train: images/train\nnames: [a\n").unwrap();
    let ran = mmy(dir, &["data", "convert", "yolo", "--to", "voc", "--out", "voc"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("data.yaml: line "), "{}", ran.err);
    for (args, text) in [
        (["data", "convert", "shapes", "--to", "voc", "--out", "yolo"], "the folder is not empty"),
        (["data", "convert", "nowhere", "--to", "voc", "--out", "new"], "No such file"),
        (["data", "convert", "yolo/labels", "--to", "voc", "--out", "new"], "looks like no data set"),
    ] {
        let ran = mmy(dir, &args);
        assert_eq!(ran.status, Some(2), "{}", ran.err);
        assert!(ran.err.contains(text), "{}", ran.err);
    }
}

#[test]
fn parts_and_unions() {
    let dir = shapes();
    let dir = dir.path();
    let run = |args: &[&str]| json(&ok(dir, &[&["data"], args, &["--pictures", "symlink", "--json"]].concat()));
    let split = run(&["split", "shapes", "--out", "split", "--to", "yolo", "--ratios", "train=6", "val=1", "test=1"]);
    assert_eq!(split["splits"], serde_json::json!({ "train": 24, "val": 4, "test": 4 }));
    let again = run(&["split", "shapes", "--out", "again", "--to", "yolo", "--ratios", "train=6", "val=1", "test=1"]);
    assert_eq!(again["splits"], split["splits"]);
    let names = |of: &str| {
        let mut all: Vec<_> = fs::read_dir(dir.join(of)).unwrap().map(|it| it.unwrap().file_name()).collect();
        all.sort();
        all
    };
    assert_eq!(names("split/images/val"), names("again/images/val"));
    let stars = run(&["subset", "split", "--out", "stars", "--classes", "star", "circle", "--splits", "train"]);
    assert_eq!((&stars["classes"], &stars["format"]), (&2.into(), &"YOLO".into()));
    let yaml = fs::read_to_string(dir.join("stars/data.yaml")).unwrap();
    assert!(yaml.ends_with("nc: 2\nnames:\n  0: \"star\"\n  1: \"circle\"\n"), "{yaml}");
    let few = run(&["subset", "split", "--out", "few", "--count", "5"]);
    assert_eq!(few["pictures"], 5);
    let both = run(&["merge", "few", "shapes", "--to", "coco", "--out", "both"]);
    assert_eq!((&both["pictures"], &both["classes"]), (&37.into(), &4.into()));
    let ran = mmy(dir, &["data", "subset", "split", "--out", "none", "--classes", "stra"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("there is no class `stra`; there are circle"), "{}", ran.err);
    let ran = mmy(dir, &["data", "split", "split", "--out", "none", "--ratios", "train"]);
    assert_eq!((ran.status, ran.err.contains("write a name and a size")), (Some(2), true), "{}", ran.err);
}

/// A config that trains on texts, several times over and mixed, and validates on two formats with VOC's metric.
fn wrapped(dir: &Path) -> String {
    let base = config("starnet_s1_yolov5.toml");
    ok(dir, &["data", "convert", "shapes", "--to", "yolo", "--out", "yolo", "--pictures", "hardlink"]);
    ok(dir, &["data", "convert", "shapes", "--to", "labelme", "--out", "labelme", "--pictures", "hardlink"]);
    let root = dir.display();
    let text = format!(
        r#"_base_ = {base:?}
[train_dataloader.dataset]
_delete_ = true
type = "MultiImageMixDataset"
pipeline = [{{ type = "Mosaic", img_scale = "{{{{ img_scale }}}}" }}, {{ type = "YOLOv5RandomAffine", border = [-32, -32] }}, {{ type = "PackDetInputs" }}]
[train_dataloader.dataset.dataset]
type = "RepeatDataset"
times = 2
[train_dataloader.dataset.dataset.dataset]
type = "ClassBalancedDataset"
oversample_thr = 0.9
[train_dataloader.dataset.dataset.dataset.dataset]
type = "YOLOv5TxtDataset"
data_root = "{root}/yolo"
pipeline = "{{{{ pre_transform }}}}"
[val_dataloader.dataset]
_delete_ = true
type = "ConcatDataset"
[[val_dataloader.dataset.datasets]]
type = "YOLOv5LabelmeDataset"
data_root = "{root}/labelme"
data_prefix = {{ ann = "val" }}
metainfo = {{ classes = "{{{{ shapes.classes }}}}" }}
test_mode = true
pipeline = "{{{{ test_pipeline }}}}"
[[val_dataloader.dataset.datasets]]
type = "YOLOv5TxtDataset"
data_root = "{root}/yolo"
split = "val"
test_mode = true
pipeline = "{{{{ test_pipeline }}}}"
[val_evaluator]
_delete_ = true
type = "VOCMetric"
iou_thrs = [0.5, 0.75]
"#
    );
    let path = dir.join("wrapped.toml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn wrapped_data_sets_train_and_are_drawn_again_byte_for_byte() {
    let dir = shapes();
    let dir = dir.path();
    let path = wrapped(dir);
    let tiny: Vec<_> = TINY.iter().filter(|it| !it.starts_with("shapes.")).copied().collect();
    // Of a pair of arguments the first one stays; what it belonged to goes too.
    let mut sets = Vec::new();
    for pair in TINY.chunks(2) {
        if !pair[1].starts_with("shapes.") && !pair[1].starts_with("max_epochs") {
            sets.extend(pair);
        }
    }
    assert!(tiny.len() > sets.len());
    let checked = ok(dir, &["data", "check", &path, "--json"]);
    assert_eq!(json(&checked)["sets"].as_array().unwrap().len(), 3);
    let ran = ok(dir, &[&["train", &path, "--set", "max_epochs=1", "--work-dir", "run"], &sets[..]].concat());
    assert!(ran.err.contains("pascal_voc/AP75"), "{}", ran.err);

    let browse = |mode: &str, out: &str, more: &[&str]| -> Vec<Value> {
        let args = [&["data", "browse", &path, "--out", out, "--mode", mode, "--epoch", "2"], more, &sets[..]].concat();
        ok(dir, &args);
        serde_json::from_slice(&fs::read(dir.join(out).join("samples.json")).unwrap()).unwrap()
    };
    let drawn = browse("plain", "plain", &["--count", "6"]);
    // The loader itself, as a run asks it.
    let set: Vec<String> = sets.iter().filter(|it| **it != "--set").map(|it| (*it).to_owned()).collect();
    let options = mmy_config::Options { set, ..mmy_config::Options::default() };
    let loaded = mmy_config::load(Path::new(&path), &options).unwrap();
    let config: DataloaderConfig = mmy_config::from_node_at(&loaded, "train_dataloader").unwrap();
    let loader = config.build(LoaderArgs { seed: 0 }).unwrap();
    assert!(loader.dataset().len() >= 48, "{}", loader.dataset().len());
    let mut at = 0;
    for (number, batch) in loader.epoch(1, 0).take(2).enumerate() {
        let batch = batch.unwrap();
        for (place, index) in loader.indices(1, number).into_iter().enumerate().take(6 - at) {
            let image = batch.inputs.get(place as i64).permute([1, 2, 0]).contiguous();
            let mut bytes = vec![0; image.numel()];
            image.copy_data_u8(&mut bytes, image.numel());
            let row = &drawn[at];
            assert_eq!((&row["index"], &row["taken"]), (&index.into(), &index.into()));
            assert_eq!(row["pixels"], blake3::hash(&bytes).to_hex().to_string(), "sample {index}");
            at += 1;
        }
    }
    assert_eq!((at, drawn.len()), (6, 6));
    // One of them alone, step by step: the last step is that very sample.
    let index = drawn[3]["index"].to_string();
    let steps = browse("steps", "steps", &["--index", &index]);
    assert_eq!((&steps[0]["pixels"], &steps[0]["objects"]), (&drawn[3]["pixels"], &drawn[3]["objects"]));
    assert!(dir.join(format!("steps/epoch2_{index:0>5}.jpg")).is_file());
    let both = browse("both", "both", &["--count", "4"]);
    assert_eq!(both.len(), 4);
    assert!(dir.join("both/sheet.jpg").is_file());
    let ran = mmy(dir, &["data", "browse", &path, "--out", "x", "--index", "99999"]);
    assert_eq!((ran.status, ran.err.contains("numbered from 0")), (Some(2), true), "{}", ran.err);
}

#[test]
fn an_epoch_behind_a_switch_is_drawn_with_its_pipeline() {
    let dir = shapes();
    let dir = dir.path();
    let base = config("starnet_s1_yolov5.toml");
    let text = format!(
        "_base_ = {base:?}\n[vars]\nimg_scale = [64, 64]\nmax_epochs = 10\nshapes = {{ image_size = [96, 96], train = 24, val = 8 }}\n\
         [[custom_hooks]]\ntype = \"YOLOXModeSwitchHook\"\nnum_last_epochs = 3\n\
         new_train_pipeline = [{{ type = \"LoadImageFromFile\" }}, {{ type = \"LoadAnnotations\" }}]\n"
    );
    fs::write(dir.join("switch.toml"), text).unwrap();
    let size = |epoch: &str| {
        ok(
            dir,
            &["data", "browse", "switch.toml", "--out", epoch, "--epoch", epoch, "--index", "0", "--mode", "plain"],
        );
        let rows: Value = serde_json::from_slice(&fs::read(dir.join(epoch).join("samples.json")).unwrap()).unwrap();
        rows[0]["width"].clone()
    };
    assert_eq!((size("7"), size("8")), (64.into(), 96.into()));
}

#[test]
fn stats_and_anchors_of_a_config() {
    let dir = shapes();
    let dir = dir.path();
    let path = wrapped(dir);
    let stats = json(&ok(dir, &["data", "stats", &path, "--loaders", "val", "--json", "--out", "out/stats.html"]));
    let stats = &stats["val_dataloader"];
    // Eight pictures in each of the two formats.
    assert_eq!((&stats["pictures"], stats["classes"].as_array().unwrap().len()), (&16.into(), 4));
    let page = fs::read_to_string(dir.join("out/stats.html")).unwrap();
    assert!(page.matches("<svg").count() >= 8 && page.contains("star") && !page.contains("NaN"));
    let table = ok(dir, &["data", "stats", &path]).out;
    assert!(table.contains("train_dataloader: ") && table.contains("circle"), "{table}");

    let found = json(&ok(
        dir,
        &["data", "anchors", &path, "--algorithm", "all", "--rounds", "20", "--out", "sub/anchors.toml", "--json"],
    ));
    let rows = found["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    let quality = |at: usize, key: &str| rows[at]["quality"][key].as_f64().unwrap();
    for at in 1..4 {
        assert!(quality(at, "mean_iou") > quality(0, "mean_iou"), "{found:#}");
        assert!(quality(at, "best_possible_recall") > 0.95, "{found:#}");
    }
    let best = rows.iter().find(|it| it["name"] == found["best"]).unwrap();
    // What was written is a config, and one to inherit from.
    fs::write(dir.join("mine.toml"), "_base_ = \"sub/anchors.toml\"\n").unwrap();
    for config in ["sub/anchors.toml", "mine.toml"] {
        let shown = ok(dir, &["config", "show", config]).out;
        let sizes = best["anchors"].to_string();
        let plain = |text: &str| text.split_whitespace().collect::<String>().replace(',', "");
        assert!(plain(&shown).contains(&format!("base_sizes={}", plain(&sizes))), "{sizes}: {shown}");
    }
    ok(dir, &["model", "info", "mine.toml", "--summary"]);
}

#[test]
fn the_examples_of_the_data_page_are_right() {
    let dir = folder();
    let page = fs::read_to_string(root().join("docs/data.md")).unwrap();
    let examples: Vec<_> = page.split("```toml\n").skip(1).map(|it| it.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let text = format!("_base_ = {:?}\n{example}", config("voc/yolov5_n.toml"));
        fs::write(dir.path().join("example.toml"), text).unwrap();
        // The data are elsewhere, which is no fault of the config.
        let ran = ok(dir.path(), &["config", "check", "example.toml"]);
        assert!(!ran.err.contains("error["), "{}", ran.err);
    }
}
