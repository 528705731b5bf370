//! Layer lists: sizes, names, mistakes, and the same numbers as the detector of parts.

use mmy_models::kinds::{Detector, DetectorModel, Maps};
use mmy_nn::{
    ParamStore, StateDict,
    testing::{assert_close, field, fill},
};
use mmy_registry::{BuildError, Slot, with_warnings};
use serde_json::{Value, json};
use tch::Device;

use crate::support::{slot, with, yolov5};

/// A list with YOLOv5's head settings.
fn list(lines: Value, nc: i64, anchors: Value) -> Value {
    json!({
        "type": "LayerListDetector",
        "data_preprocessor": {"type": "DetDataPreprocessor", "std": [1.0, 1.0, 1.0], "bgr_to_rgb": false},
        "nc": nc,
        "anchors": anchors,
        "backbone": lines,
        "bbox_head": {
            "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": true, "loss_weight": 0.5},
            "loss_bbox": {"type": "IoULoss", "loss_weight": 0.05},
            "loss_obj": {"type": "CrossEntropyLoss", "use_sigmoid": true},
        },
    })
}

fn anchors() -> Value {
    json!([[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]])
}

/// YOLOv5 in a size.
fn yolov5_list(depth: f64, width: f64, nc: i64) -> Value {
    let lines = json!([
        [-1, 1, "Conv", [64, 6, 2, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 3, "C3", [128]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 6, "C3", [256]],
        [-1, 1, "Conv", [512, 3, 2]],
        [-1, 9, "C3", [512]],
        [-1, 1, "Conv", [1024, 3, 2]],
        [-1, 3, "C3", [1024]],
        [-1, 1, "SPPF", [1024, 5]],
        [-1, 1, "Conv", [512, 1, 1]],
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 6], 1, "Concat", [1]],
        [-1, 3, "C3", [512, false]],
        [-1, 1, "Conv", [256, 1, 1]],
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 4], 1, "Concat", [1]],
        [-1, 3, "C3", [256, false]],
        [-1, 1, "Conv", [256, 3, 2]],
        [[-1, 14], 1, "Concat", [1]],
        [-1, 3, "C3", [512, false]],
        [-1, 1, "Conv", [512, 3, 2]],
        [[-1, 10], 1, "Concat", [1]],
        [-1, 3, "C3", [1024, false]],
        [[17, 20, 23], 1, "Detect", ["nc", "anchors"]],
    ]);
    let mut out = list(lines, nc, anchors());
    out["depth_multiple"] = json!(depth);
    out["width_multiple"] = json!(width);
    out
}

#[track_caller]
fn build(config: Value) -> (Box<dyn DetectorModel>, ParamStore) {
    let store = ParamStore::new(Device::Cpu, 0);
    let model = slot::<Detector>(config).build(&store.root()).unwrap_or_else(|it| panic!("{:#?}", it.each()));
    (model, store)
}

/// The part of the detector of parts that a line of YOLOv5's list is.
fn part_of_line(name: &str) -> Option<String> {
    let rest = name.strip_prefix("model.")?;
    let (line, rest) = rest.split_once('.')?;
    let part = match line.parse::<usize>().ok()? {
        0 => "backbone.stem",
        1 => "backbone.stage1.0",
        2 => "backbone.stage1.1",
        3 => "backbone.stage2.0",
        4 => "backbone.stage2.1",
        5 => "backbone.stage3.0",
        6 => "backbone.stage3.1",
        7 => "backbone.stage4.0",
        8 => "backbone.stage4.1",
        9 => "backbone.stage4.2",
        10 => "neck.reduce_layers.2",
        13 => "neck.top_down_layers.0.0",
        14 => "neck.top_down_layers.0.1",
        17 => "neck.top_down_layers.1",
        18 => "neck.downsample_layers.0",
        20 => "neck.bottom_up_layers.0",
        21 => "neck.downsample_layers.1",
        23 => "neck.bottom_up_layers.1",
        24 => "bbox_head.head_module.convs_pred",
        _ => return None,
    };
    let spp = line == "9";
    let rest = rest
        .strip_prefix("m.")
        .map(|it| if line == "24" { it.to_owned() } else { format!("blocks.{it}") })
        .unwrap_or_else(|| rest.to_owned());
    let inner = rest.starts_with("blocks.") || spp;
    let rest = match inner {
        true => rest.replace("cv1", "conv1").replace("cv2", "conv2"),
        false => rest.replace("cv1", "main_conv").replace("cv2", "short_conv").replace("cv3", "final_conv"),
    };
    Some(format!("{part}.{rest}"))
}

#[test]
fn yolov5_as_a_list_is_yolov5_of_parts() {
    let (list, ours) = build(yolov5_list(0.33, 0.25, 80));
    let (parts, theirs) = build(yolov5(0.33, 0.25, 80));
    assert_eq!(ours.num_params(), 1_872_157);
    fill(&theirs, 1.0, "");
    let state: StateDict = theirs.state_dict().into_iter().collect();
    let mut taken = 0;
    for (name, tensor) in ours.state_dict() {
        if name == "model.24.anchors" {
            continue;
        }
        let part = part_of_line(&name).unwrap_or_else(|| panic!("{name} is of no part"));
        let source = state.get(&part).unwrap_or_else(|| panic!("{name}: there is no {part}"));
        tch::no_grad(|| tensor.shallow_clone().copy_(source));
        taken += 1;
    }
    assert_eq!(taken, state.len());
    let x = field("input", &[2, 3, 96, 128]);
    for train in [false, true] {
        let (a, b) = (list.forward(&x, train).unwrap(), parts.forward(&x, train).unwrap());
        let maps =
            |it: Maps| [it.neck, it.head.cls, it.head.bbox, it.head.obj].into_iter().flatten().collect::<Vec<_>>();
        for (i, (a, b)) in maps(a).iter().zip(maps(b)).enumerate() {
            // The same operators in the same order.
            assert_close(&format!("map {i}, training {train}"), a, &b, 0.0);
        }
    }
}

#[test]
fn anchors_are_kept_in_cells_and_put_in_order() {
    let (_, store) = build(yolov5_list(0.33, 0.25, 3));
    let first = store.get("model.24.anchors").unwrap();
    assert_eq!(first.size(), [3, 3, 2]);
    assert_eq!((first.double_value(&[0, 0, 0]), first.double_value(&[2, 2, 1])), (10.0 / 8.0, 326.0 / 32.0));
    let mut reversed = anchors();
    reversed.as_array_mut().unwrap().reverse();
    let config = with(yolov5_list(0.33, 0.25, 3), "anchors", reversed);
    let ((_, store), warnings) = with_warnings(|| build(config));
    assert_eq!(store.get("model.24.anchors").unwrap(), first);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].message.contains("reverse order"));
}

/// All that is wrong with a list of these lines, as `place: message`.
fn faults(lines: Value) -> Vec<String> {
    let config = with(list(lines, 3, json!([[10, 13]])), "width_multiple", json!(0.5));
    let slot: Slot<Detector> = match serde_json::from_value(config) {
        Ok(slot) => slot,
        Err(error) => return vec![error.to_string()],
    };
    let error = slot.build(&ParamStore::dry().root()).err().map(BuildError::each).unwrap_or_default();
    error.into_iter().map(|it| it.to_string()).collect()
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let found = faults(json!([
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [64, 3, 2, 1, 3]],
        [0, 2, "Conv", {"c2": 64, "k": 0}],
        [[-1, 9], 1, "Concat", [1]],
        [0, 1, "MaxPool2d", [2]],
        [[0, 4], 1, "Concat", [1]],
        [[0, 4], 3, "Conv", [64]],
        [0, 0, "C3", [64]],
        [-3, 2, "Concat"],
        [0, 1, "YOLOv5CSPDarknet", {"widen_factor": 99.0}],
        [[0, 4], 1, "Detect", []],
    ]));
    let want = [
        "backbone.1.3.4: 32 channels cannot be split into 3 groups",
        "backbone.2.3.k: 0 is out of range",
        "backbone.3.0.1: there is no map 9 yet",
        "backbone.5: maps of strides [2, 4] have different sizes and cannot be joined",
        "backbone.6: it takes one map, not 2",
        "backbone.7.1: a module cannot be repeated 0 times",
        "backbone.9.3.widen_factor: 99 is out of range",
        "backbone.10: anchors for 1 levels, but 2 maps to detect in",
    ];
    assert_eq!(found, want, "{found:#?}");
    // Nothing is said of lines that only follow from others.
    assert_eq!(faults(json!([[-1, 1, "Conv", [-3]], [-1, 1, "C3", [64]], [-1, 1, "Detect"]])).len(), 1);
}

#[test]
fn arguments_are_read_by_their_names() {
    let one = |line: Value| faults(json!([line])).remove(0);
    assert!(one(json!([-1, 1, "Conv"])).contains("missing field `c2`"));
    assert!(one(json!([-1, 1, "Conv", [8, 1, 1, 0, 1, 1, true, 5]])).contains("takes 7 arguments at most: c2, k, s"));
    assert!(one(json!([-1, 1, "Conv", {"c2": 8, "kernel": 3}])).contains("unknown field `kernel`"));
    assert!(one(json!([-1, 1, "Conv", ["8"]])).contains("invalid type"));
    assert!(one(json!([-1, 1, "Convv", [8]])).contains("unknown variant `Convv`"));
    assert!(one(json!(["-1", 1, "Conv", [8]])).contains("an index or a list of indices"));
    assert!(one(json!([-1, 1])).contains("[from, number, module, arguments]"));
    assert!(one(json!([-1, 1, "Conv", [8]])).contains("does not detect"));
    assert!(one(json!([-1, 1, "Detect", []])).contains("picture"));
}

#[test]
fn what_nobody_reads_is_a_warning() {
    let lines = json!([
        [-1, 1, "Conv", [8, 3, 2]],
        [-1, 1, "Conv", [8, 3, 2]],
        [0, 1, "Conv", [8, 3, 2]],
        [-1, 2, "Conv", [16, 3]],
        [[3], 1, "Detect", []],
    ]);
    let config = list(lines, 3, json!([[10, 13]]));
    let ((_, store), warnings) = with_warnings(|| build(config));
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["backbone.1: nothing reads what `Conv` gives (map 1)"]);
    // What is repeated stands in a row.
    for (name, shape) in [("model.3.0.conv.weight", [16, 8, 3, 3]), ("model.3.1.conv.weight", [16, 16, 3, 3])] {
        assert_eq!(store.get(name).unwrap().size(), shape, "{name}");
    }
}

#[test]
fn backbones_and_necks_are_lines_too() {
    let config = list(
        json!([
            [-1, 1, "StarNet", {"base_dim": 16, "depths": [1, 1, 1, 1], "mlp_ratio": 2, "out_indices": [0, 1, 2, 3]}],
            [-1, 1, "SPPF", [64, 5]],
            [[2, 3, 5], 1, "YOLOv5PAFPN", {"in_channels": [32, 64, 64], "num_csp_blocks": 1}],
            [[-3, -2, -1], 1, "Detect", []],
        ]),
        3,
        anchors(),
    );
    let (model, store) = build(config.clone());
    // Map 0 is empty, the backbone's four are 1 to 4, and the pooling is 5; names count lines.
    let lines: Vec<_> = model.lines().iter().map(|it| (it.path.as_str(), it.first, it.outputs.len())).collect();
    assert_eq!(lines, [("model.0", 1, 4), ("model.1", 5, 1), ("model.2", 6, 3), ("model.3", 9, 0)]);
    assert!(store.get("model.0.stem.0.conv.weight").is_some());
    assert!(store.get("model.2.reduce_layers.2.conv.weight").is_some());
    assert_eq!(model.size_divisor(), 32);
    let maps = model.forward(&field("input", &[1, 3, 64, 96]), false).unwrap();
    let sizes: Vec<_> = maps.head.obj.iter().map(tch::Tensor::size).collect();
    assert_eq!(sizes, [[1, 3, 8, 12], [1, 3, 4, 6], [1, 3, 2, 3]]);
    let mut empty = config;
    empty["backbone"][1][0] = json!(0);
    let error = slot::<Detector>(empty).build(&ParamStore::dry().root()).unwrap_err().to_string();
    assert!(error.contains("map 0 is one that the backbone leaves empty"), "{error}");
}

#[test]
fn relatives_have_the_sizes_of_the_originals() {
    let params = |config: Value| {
        let store = ParamStore::dry();
        let built = slot::<Detector>(config).build(&store.root());
        built.unwrap_or_else(|it| panic!("{:#?}", it.each()));
        store.num_params()
    };
    // yolov5 7.0.14 counts these: yolov5s-ghost, yolov5s-transformer, yolov5-bifpn.
    let mut ghost = yolov5_list(0.33, 0.5, 80);
    for line in ghost["backbone"].as_array_mut().unwrap().iter_mut().skip(1) {
        line[2] = match line[2].as_str().unwrap() {
            "Conv" => json!("GhostConv"),
            "C3" => json!("C3Ghost"),
            other => json!(other),
        };
    }
    assert_eq!(params(ghost), 3_897_605);
    let mut transformer = yolov5_list(0.33, 0.5, 80);
    transformer["backbone"][8][2] = json!("C3TR");
    assert_eq!(params(transformer), 7_235_645);
    let mut bifpn = yolov5_list(1.0, 1.0, 80);
    bifpn["backbone"][19][0] = json!([-1, 14, 6]);
    assert_eq!(params(bifpn), 46_825_853);
}
