//! `mmy config show`, `explain`, `diff`, `schema` and `import`, on the shipped configs.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::support::{Ran, config, folder, mmy, ok, root, shipped};

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|it| panic!("{it}\n{}", ran.out))
}

#[track_caller]
fn contains(text: &str, wanted: &[&str]) {
    for it in wanted {
        assert!(text.contains(it), "`{it}` is not in\n{text}");
    }
}

/// `configs/` written out, and every `.toml` below it, bases too.
fn all_toml() -> Vec<PathBuf> {
    let (mut out, mut folders) = (Vec::new(), vec![root().join("configs")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => out.extend(Some(path).filter(|it| it.extension().is_some_and(|it| it == "toml"))),
            }
        }
    }
    out
}

#[test]
fn show_says_where_each_value_comes_from() {
    let (dir, path) = (root(), "configs/starnet_s1_yolov5.toml");
    let set = ["--set", "base_lr=0.02", "--set", "model.neck.num_csp_blocks=2"];
    let args = |more: &[&'static str]| [&["config", "show", path], more, &set].concat();
    let shown = ok(&dir, &args(&["--provenance"])).out;
    contains(
        &shown,
        &[
            "# configs/_base_/models/starnet_yolov5.toml:14 \"{{ base_dim }}\"",
            "# --set model.neck.num_csp_blocks=2, over configs/_base_/models/yolov5_head.toml:36",
            "[[custom_hooks]]",
            "[[train_dataloader.dataset.pipeline]]",
        ],
    );
    // The remarks change nothing, and neither do the defaults written out.
    let plain = json(&ok(&dir, &args(&["--json"])));
    let out = folder();
    let again = |text: &str| {
        fs::write(out.path().join("again.toml"), text).unwrap();
        json(&ok(out.path(), &["config", "show", "again.toml", "--json"]))
    };
    assert_eq!(again(&shown), plain);
    let defaults = ok(&dir, &args(&["--provenance", "--defaults"])).out;
    contains(&defaults, &["# default of StarNet", "# default of the config", "# default of CocoMetric"]);
    assert_eq!(again(&defaults), json(&ok(&dir, &args(&["--json", "--defaults"]))));
    let both = json(&ok(&dir, &args(&["--json", "--provenance"])));
    assert_eq!(both["config"], plain);
    let lr = &both["provenance"]["optim_wrapper.optimizer.lr"];
    assert_eq!((lr["line"].as_u64(), lr["written"].as_str()), (Some(31), Some("\"{{ base_lr }}\"")));
}

#[test]
fn explain_tells_every_layer_and_what_is_read() {
    let (dir, path) = (root(), "configs/starnet_s1_yolov5.toml");
    let check = |key: &str, wanted: &[&str]| {
        let args = ["config", "explain", path, key, "--set", "num_classes=20", "--set", "~default_hooks.timer"];
        contains(&ok(&dir, &args).out, wanted);
    };
    check(
        "model.bbox_head.loss_obj.loss_weight",
        &[
            "model.bbox_head.loss_obj.loss_weight = 0.3\n",
            "CrossEntropyLoss: number",
            "configs/_base_/models/yolov5_head.toml:77  \"{{ loss_obj_weight * ((img_scale[0] / 640) ** 2",
            "configs/starnet_s1_yolov5.toml:34  0.3",
        ],
    );
    check(
        "model.bbox_head.head_module.num_classes",
        &["= 20\n", "its expression reads:", "vars.num_classes = 20    # --set num_classes=20"],
    );
    check("num_classes", &["vars.num_classes = 20\n", "yolov5_head.toml:6  80", "--set num_classes=20"]);
    check(
        "test_dataloader.batch_size",
        &["= 8\n", "`test_dataloader` \"{{ val_dataloader }}\"", "val_dataloader.batch_size = 8"],
    );
    check("train_dataloader.dataset.pipeline.-1.type", &["pipeline.7.type = \"PackDetInputs\""]);
    check("default_hooks.timer.type", &["not set", "default_runtime.toml:11", "--set ~default_hooks.timer  removes"]);
    check("model.backbone.drop_path_rate", &["not set", "StarNet: number = 0", "nobody sets it"]);
    check("model.backbone", &["{ type = \"StarNet\"", "starnet_yolov5.toml:12"]);
    let ran = mmy(&dir, &["config", "explain", path, "model.backbone.depth"]);
    assert_eq!(ran.status, Some(2), "{}", ran.out);
    contains(&ran.err, &["did you mean `depths`?"]);
    let one = json(&ok(&dir, &["config", "explain", path, "model.backbone.base_dim", "--json"]));
    assert_eq!((one["reads"][0]["path"].as_str(), one["key"]["default"].as_u64()), (Some("vars.base_dim"), Some(24)));
}

/// Each value of each shipped config points to a place where that very literal is written, or an expression.
#[test]
fn every_value_names_its_place() {
    let dir = folder();
    let mut leaves = 0;
    for path in shipped() {
        let all = json(&ok(dir.path(), &["config", "explain", &path.display().to_string(), "--json"]));
        for leaf in all.as_array().unwrap() {
            let (origin, name) = (&leaf["origin"], leaf["path"].as_str().unwrap());
            let written =
                origin["written"].as_str().unwrap_or_else(|| panic!("{name} of {} has no place", path.display()));
            let file = fs::read_to_string(origin["file"].as_str().unwrap()).unwrap();
            let line = file.lines().nth(origin["line"].as_u64().unwrap() as usize - 1).unwrap();
            assert!(line.contains(written.lines().next().unwrap()), "{name}: {origin}");
            if !written.contains("{{") {
                let read: toml::Table = toml::from_str(&format!("it = {written}")).unwrap();
                assert_eq!(serde_json::to_value(&read["it"]).unwrap(), leaf["value"], "{name}: {origin}");
            }
            assert!(!leaf["history"].as_array().unwrap().is_empty(), "{name}");
            leaves += 1;
        }
    }
    assert!(leaves > 1_500, "{leaves}");
}

#[test]
fn diff_shows_both_origins() {
    let dir = root();
    let (n, s, m) = ("configs/yolov5/yolov5_n.toml", "configs/yolov5/yolov5_s.toml", "configs/yolov5/yolov5_m.toml");
    let same = ok(&dir, &["config", "diff", n, n]);
    assert_eq!(same.out, "");
    let ran = mmy(&dir, &["config", "diff", n, s]);
    assert_eq!((ran.status, ran.err.as_str()), (Some(1), ""));
    contains(
        &ran.out,
        &[
            "--- configs/yolov5/yolov5_n.toml\n+++ configs/yolov5/yolov5_s.toml\n",
            "~ model.backbone.widen_factor\n    - 0.25    # configs/_base_/models/yolov5.toml:13 \"{{ widen_factor }}\"\n    + 0.5    # ",
        ],
    );
    // An element of a list that is new does not make all behind it differ.
    let ran = mmy(&dir, &["config", "diff", s, m, "--json"]);
    let found = json(&ran);
    let at = |path: &str| found.as_array().unwrap().iter().filter(|it| it["path"].as_str() == Some(path)).count();
    let pipeline = "train_dataloader.dataset.pipeline";
    assert_eq!((at(&format!("{pipeline}.4")), at(&format!("{pipeline}.5"))), (1, 0), "{}", ran.out);
    let set = mmy(&dir, &["config", "diff", n, n, "--set", "num_classes=20"]);
    assert_eq!(set.status, Some(1));
    contains(&set.out, &["~ model.bbox_head.head_module.num_classes", "- 80", "+ 20"]);
    assert_eq!(mmy(&dir, &["config", "diff", n, "absent.toml"]).status, Some(2));
}

/// What an editor has: the schema that a file names, and the file as it is written.
#[test]
fn shipped_configs_fit_the_schema_that_they_name() {
    let text = fs::read_to_string(root().join("configs/schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let parse = |text: &str| serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
    for path in all_toml() {
        let text = fs::read_to_string(&path).unwrap();
        let named = text.lines().next().and_then(|it| it.strip_prefix("#:schema ")).map(str::trim);
        let named = named.unwrap_or_else(|| panic!("{} names no schema", path.display()));
        let target = path.parent().unwrap().join(named).canonicalize().unwrap();
        assert_eq!(target, root().join("configs/schema.json").canonicalize().unwrap());
        let errors: Vec<_> =
            validator.iter_errors(&parse(&text)).map(|it| format!("{}: {it}", it.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
    }
    for broken in [
        "modle = 1",
        "[model]\ntype = \"YOLODetectr\"",
        "[model.backbone]\ntype = \"StarNet\"\nbase_dimm = 3",
        "[model.backbone]\nbase_dimm = 3",
        "[model.backbone]\ntype = \"StarNet\"\ndepths = \"many\"",
        "[model.backbone]\ntype = \"YOLOv5CSPDarknet\"\nbase_dim = 24",
        "[train_dataloader]\nbatch_size = -1",
        "[train_dataloader]\nbatch_size = true",
        "[[custom_hooks]]\ntype = \"EMAHook\"\nmoment = 0.1",
        "custom_hooks = { type = \"EMAHook\" }",
        "[train_dataloader.dataset]\ntype = \"YOLOv5CocoDataset\"\npipeline = [{ type = \"Mosaic\", img_scal = 3 }]",
        "_base_ = 3",
    ] {
        assert!(!validator.is_valid(&parse(broken)), "{broken}");
    }
}

#[test]
fn a_config_of_mmengine_is_taken_over() {
    for name in ["starnet_yolov5.py", "starnet_yolov5_dumped.json", "starnet_yolov5_dumped.py"] {
        let dir = folder();
        let input = root().join("tests/fixtures/mmengine").join(name).display().to_string();
        let ran = ok(dir.path(), &["config", "import", &input, "-o", "c.toml"]);
        contains(&ran.err, &["Not carried over:", "`model.bbox_head.loss_bbox.focal`", "`vis_backends`"]);
        let text = fs::read_to_string(dir.path().join("c.toml")).unwrap();
        let info = json(&ok(dir.path(), &["model", "info", "c.toml", "--json"]));
        assert_eq!(info["params"].as_u64(), Some(2_103_765), "{name}\n{text}");
        contains(
            &text,
            &[
                &format!("# From {name}, by `mmy config import`."),
                "test_dataloader = \"{{ val_dataloader }}\"",
                "\"{{ *pre_transform }}\",",
                "pipeline = \"{{ train_pipeline }}\"",
                "num_classes = \"{{ num_classes }}\"",
                "type = \"YOLOv5OptimizerConstructor\"",
                "border = ",
            ],
        );
        assert!(!text.contains("mmdet.") && !text.contains("_scope_"), "{text}");
        // What was taken over is what our own config of the same model says, as far as both speak of it.
        let diff = mmy(dir.path(), &["config", "diff", "c.toml", &config("starnet/as_published.toml"), "--json"]);
        let changed: Vec<_> = json(&diff)
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["change"] == "changed")
            .map(|it| it["path"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(changed, ["optim_wrapper.type"], "{name}");
    }
}

#[test]
fn import_refuses_what_is_no_config() {
    let dir = folder();
    fs::write(dir.path().join("empty.py"), "import os\n").unwrap();
    for (args, wanted) in [("absent.py", "absent.py"), ("empty.py", "nothing that could be taken over")] {
        let ran = mmy(dir.path(), &["config", "import", args]);
        assert_eq!(ran.status, Some(2), "{}", ran.err);
        contains(&ran.err, &[wanted]);
    }
}
