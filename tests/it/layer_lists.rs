//! Layer lists on the command line: sizes, mistakes, import, tables, pictures, a run.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{config, folder, mmy, ok, same_tensors};

/// Numbers that the original (yolov5 7.0.14 under torch 2.13) counts at 80 classes; multiply-adds at 640 px in units of
/// 1e-4 G.
const SIZES: [(&str, u64, u64); 14] = [
    ("yolov3", 61_949_149, 779_457),
    ("yolov3_spp", 62_998_749, 783_651),
    ("yolov3_tiny", 8_852_366, 65_858),
    ("yolov5n", 1_872_157, 22_341),
    ("yolov5s", 7_235_389, 82_168),
    ("yolov5m", 21_190_557, 244_362),
    ("yolov5l", 46_563_709, 544_969),
    ("yolov5x", 86_749_405, 1_027_241),
    ("yolov5n_p6", 3_246_940, 22_795),
    ("yolov5s_p6", 12_626_620, 83_986),
    ("yolov5m_p6", 35_731_932, 249_560),
    ("yolov5l_p6", 76_770_172, 556_175),
    ("yolov5x_p6", 140_794_780, 1_047_823),
    ("yolov5l_p2", 47_493_372, 627_773),
];

fn info(dir: &Path, config: &str) -> Value {
    let ran = ok(dir, &["model", "info", config, "--size", "640", "640", "--json"]);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn sizes_are_those_of_the_originals() {
    let dir = folder();
    for (name, params, macs) in SIZES {
        let info = info(dir.path(), &config(&format!("layer_list/{name}.toml")));
        let found = (info["macs"].as_u64().unwrap() as f64 / 1e5).round() as u64;
        assert_eq!((info["params"].as_u64().unwrap(), found), (params, macs), "{name}");
    }
}

#[test]
fn the_table_is_yolov5s() {
    let dir = folder();
    let shown = ok(dir.path(), &["model", "info", &config("layer_list/yolov5n.toml")]).out;
    for line in [
        "from  n   params  module    arguments",
        "-1  1    1,760  Conv      [16, 6, 2, 2]",
        "-1  3  156,928  C3        [128]",
        "[-1, 6]  1        0  Concat",
        "[17, 20, 23]  1  115,005  Detect",
        "yolov5n: 1,872,157 parameters, 2.2341 GMACs at 640×640",
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed(&shown).contains(&squeezed(line)), "`{line}` is not in\n{shown}");
    }
    let layers = ok(dir.path(), &["model", "info", &config("layer_list/yolov5n.toml"), "--layers"]).out;
    assert!(layers.contains("model.9.cv2.conv"), "{layers}");
}

#[test]
fn mistakes_are_shown_in_one_report() {
    let dir = folder();
    let base = config("_base_/models/layer_list.toml");
    let text = format!(
        "_base_ = {base:?}\n[model]\nbackbone = [\n    [-1, 1, \"Conv\", [16, 3, 2, 1, 3]],\n    [-1, 1, \"Conv\", [32, 3, 2]],\n    [7, 1, \
         \"Conv\", [32, 3, 2]],\n    [-4, 0, \"C3\", {{ c2 = 64, e = 0.0 }}],\n]\n"
    );
    fs::write(dir.path().join("wrong.toml"), text).unwrap();
    let ran = mmy(dir.path(), &["model", "info", "wrong.toml"]);
    assert_eq!(ran.status, Some(2), "{}", ran.err);
    for text in [
        "16 channels cannot be split",
        "there is no map 7 yet",
        "there is no map -4 yet",
        "wrong.toml:4:35",
        "wrong.toml:6:6",
    ] {
        assert!(ran.err.contains(text), "`{text}` is not in\n{}", ran.err);
    }
    let twice = text_with("[-1, 1, \"Convv\", [16]],\n    [-1, 1, \"C3\", [16, 3]],", &base);
    fs::write(dir.path().join("wrong.toml"), twice).unwrap();
    let ran = mmy(dir.path(), &["model", "info", "wrong.toml"]);
    for text in ["did you mean `Conv`?", "`model.backbone.1.3.1` must be true or false", "wrong.toml:5"] {
        assert!(ran.err.contains(text), "`{text}` is not in\n{}", ran.err);
    }
}

fn text_with(lines: &str, base: &str) -> String {
    format!("_base_ = {base:?}\n[model]\nbackbone = [\n    {lines}\n]\n")
}

const YAML: &str = "\
# parameters
nc: 80
depth_multiple: 0.33  # model depth multiple
width_multiple: 0.50
anchors:
  - [10,14, 23,27, 37,58]
  - [81,82, 135,169, 344,319]
backbone:
  [[-1, 1, Conv, [16, 3, 1]],
   [-1, 1, nn.MaxPool2d, [2, 2, 0]],
   [-1, 3, C3, [32]],
   [-1, 1, Conv, [64, 3, 2]],
  ]
head:
  [[-1, 1, nn.Upsample, [None, 2, 'nearest']],
   [[-1, 2], 1, Concat, [1]],
   [[5, 3], 1, Detect, [nc, anchors]],
  ]
";

#[test]
fn a_yaml_is_imported_as_a_config() {
    let dir = folder();
    fs::write(dir.path().join("tiny.yaml"), YAML).unwrap();
    ok(dir.path(), &["model", "import", "tiny.yaml", "-o", "tiny.toml"]);
    let text = fs::read_to_string(dir.path().join("tiny.toml")).unwrap();
    assert!(text.contains("[[-1, 2], 1, \"Concat\", [1]], # 5, stride 2"), "{text}");
    let lines = info(dir.path(), "tiny.toml")["lines"].clone();
    assert_eq!(lines.as_array().unwrap().len(), 7);
    assert_eq!(lines[6]["module"], "Detect");
    // What is wrong with the model is told of the config that it became.
    fs::write(dir.path().join("wrong.yaml"), YAML.replace("[[5, 3], 1", "[[5, 9], 1")).unwrap();
    let ran = mmy(dir.path(), &["model", "import", "wrong.yaml"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("there is no map 9 yet"), "{}", ran.err);
    let ran = mmy(dir.path(), &["model", "import", "nothing.yaml"]);
    assert!(ran.status != Some(0) && ran.err.contains("nothing.yaml"), "{}", ran.err);
}

#[test]
fn models_are_drawn() {
    let dir = folder();
    for (name, boxes) in
        [("layer_list/yolov5n.toml", 26), ("starnet/starnet_s1.toml", 25), ("yolov5/yolov5_n.toml", 15)]
    {
        ok(dir.path(), &["model", "graph", &config(name), "-o", "model.svg"]);
        let svg = fs::read_to_string(dir.path().join("model.svg")).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("rx=\"6\"").count(), boxes, "{name}");
    }
}

/// Settings that make a run of seconds.
const TINY: [&str; 9] = [
    "width_multiple=0.125",
    "img_scale=[64,64]",
    "shapes.image_size=[96,96]",
    "shapes.train=16",
    "shapes.val=8",
    "max_epochs=2",
    "train_batch_size_per_gpu=4",
    "val_interval=1",
    "save_checkpoint_intervals=1",
];

#[test]
fn a_list_trains_resumes_tests_and_predicts() {
    let dir = folder();
    let config = config("shapes/yolov5n_list.toml");
    let mut args = vec!["train", config.as_str()];
    args.extend(TINY.iter().flat_map(|it| ["--set", it]));
    ok(dir.path(), &[&args[..], &["--work-dir", "run"]].concat());
    ok(dir.path(), &[&args[..], &["--work-dir", "again", "--resume", "run/epoch_1.safetensors"]].concat());
    same_tensors(&dir.path().join("run/epoch_2.safetensors"), &dir.path().join("again/epoch_2.safetensors"));
    let resolved = dir.path().join("run/yolov5n_list.toml").display().to_string();
    ok(dir.path(), &["test", &resolved, "run/epoch_2.safetensors"]);
    ok(dir.path(), &["predict", "run/epoch_2.safetensors", "data/shapes/val", "--out", "out", "--score-thr", "0.001"]);
    assert!(dir.path().join("out/predictions.json").exists());
}
