//! Every shipped config loads, fits together, and has the published size.

use std::path::Path;

use serde_json::Value;

use crate::support::{folder, ok, root, shipped};

fn info(dir: &Path, config: &str, size: &str) -> (u64, u64) {
    let ran = ok(dir, &["model", "info", config, "--size", size, size, "--json"]);
    let out: Value = serde_json::from_str(&ran.out).unwrap();
    (out["params"].as_u64().unwrap(), out["macs"].as_u64().unwrap())
}

#[test]
fn all_build_and_show_themselves_again() {
    let dir = folder();
    let configs = shipped();
    assert!(configs.len() >= 14, "{configs:?}");
    for path in configs {
        let path = path.display().to_string();
        info(dir.path(), &path, "640");
        // What `show` prints is a config, and the same one.
        let shown = ok(dir.path(), &["config", "show", &path]).out;
        std::fs::write(dir.path().join("shown.toml"), &shown).unwrap();
        assert_eq!(ok(dir.path(), &["config", "show", "shown.toml"]).out, shown, "{path}");
    }
}

#[test]
fn sizes_are_the_published_ones() {
    let dir = folder();
    // Parameters; multiply-adds at 640 and at 320 in units of 1e-4 G.
    let want: [(&str, u64, u64, u64); 13] = [
        ("starnet/as_published.toml", 2_103_765, 32_869, 8_217),
        ("starnet/starnet_s1.toml", 3_162_837, 39_554, 9_889),
        ("starnet/starnet_s2.toml", 4_250_301, 52_909, 0),
        ("starnet/starnet_s3.toml", 6_319_069, 70_043, 0),
        ("starnet/starnet_s4.toml", 8_051_005, 94_170, 0),
        ("starnet/starnet_s050.toml", 650_109, 10_026, 0),
        ("starnet/starnet_s100.toml", 1_232_765, 18_894, 0),
        ("starnet/starnet_s150.toml", 1_854_285, 23_677, 0),
        ("yolov5/yolov5_n.toml", 1_872_157, 22_341, 5_585),
        ("yolov5/yolov5_s.toml", 7_235_389, 82_168, 20_542),
        ("yolov5/yolov5_m.toml", 21_190_557, 244_362, 0),
        ("yolov5/yolov5_l.toml", 46_563_709, 544_969, 0),
        ("yolov5/yolov5_x.toml", 86_749_405, 1_027_241, 0),
    ];
    for (name, params, at_640, at_320) in want {
        let path = root().join("configs").join(name).display().to_string();
        let rounded = |macs: u64| (macs as f64 / 1e5).round() as u64;
        let (found, macs) = info(dir.path(), &path, "640");
        assert_eq!((found, rounded(macs)), (params, at_640), "{name} at 640");
        if at_320 > 0 {
            assert_eq!(rounded(info(dir.path(), &path, "320").1), at_320, "{name} at 320");
        }
    }
}

#[test]
fn one_variable_reaches_every_use() {
    let dir = folder();
    let path = root().join("configs/yolov5/yolov5_n.toml").display().to_string();
    let shown = ok(dir.path(), &["config", "show", &path, "--set", "num_classes=20", "--json"]).out;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let head = &shown["model"]["bbox_head"];
    assert_eq!(head["head_module"]["num_classes"], 20);
    assert_eq!(head["loss_cls"]["loss_weight"], 0.5 * 20.0 / 80.0);
}

#[test]
fn the_registry_lists_and_shows_every_part() {
    let dir = folder();
    let listed: Value = serde_json::from_str(&ok(dir.path(), &["registry", "list", "--json"]).out).unwrap();
    let rows = listed.as_array().unwrap();
    assert!(rows.len() > 40, "{}", rows.len());
    for row in rows {
        let name = row["name"].as_str().unwrap();
        assert!(!row["about"].as_str().unwrap().is_empty(), "{name} has no doc");
        let source = root().join(row["file"].as_str().unwrap());
        let text = std::fs::read_to_string(&source).unwrap();
        let line = text.lines().nth(row["line"].as_u64().unwrap() as usize - 1).unwrap_or_default();
        // A macro of the file may write the `register!` line.
        assert!(
            line.contains("register!") || line.contains(name) || line.ends_with("!("),
            "{name}: {}:{}",
            source.display(),
            row["line"]
        );
    }
    let shown = ok(dir.path(), &["registry", "show", "StarNet"]).out;
    for text in ["StarNet (backbone)", "mmy-models 0.1.0", "base_dim: integer = 24", "out_indices: list of integer"] {
        assert!(shown.contains(text), "`{text}` is not in\n{shown}");
    }
}
