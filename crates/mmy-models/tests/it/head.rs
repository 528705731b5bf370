//! Losses and boxes of YOLOv5's head against the original, on maps filled by rule.

use mmy_models::heads::TestCfg;
use mmy_models::kinds::{BBoxHead, DenseHead, FeatureInfo, HeadArgs};
use mmy_nn::{
    ParamStore,
    testing::{assert_close, golden, golden_text, sfield},
};
use mmy_structures::Targets;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use crate::support::{assert_detections, meta, rows, slot, starnet, with};

const STRIDES: [i64; 3] = [8, 16, 32];

/// A head for maps of 64 × 96 pixels; the losses have the original's weights for that many classes.
fn head(num_classes: i64, iou_mode: &str, test_cfg: &TestCfg) -> Box<dyn DenseHead> {
    let mut config = starnet(24, &[1], 4, num_classes)["bbox_head"].clone();
    config = with(config, "loss_cls.loss_weight", json!(0.5 * num_classes as f64 / 80.0));
    config = with(config, "loss_bbox.iou_mode", json!(iou_mode));
    let channels = [48, 96, 192].into_iter().zip(STRIDES);
    let features: Vec<_> = channels.map(|(channels, stride)| FeatureInfo { channels, stride }).collect();
    let store = ParamStore::dry();
    slot::<BBoxHead>(config).build(HeadArgs { scope: &store.root(), features: &features, test_cfg }).unwrap()
}

/// `(cls, box, obj)` of each level, with gradients, and the raw predictions made of them.
fn maps(num_classes: i64, scale: f64) -> (Vec<[Tensor; 3]>, Vec<Tensor>) {
    let level = |(i, stride): (usize, i64)| {
        let (h, w) = (64 / stride, 96 / stride);
        let map =
            |name, per_prior| sfield(&format!("{name}{i}"), &[2, 3 * per_prior, h, w], scale).set_requires_grad(true);
        let parts = [map("cls", num_classes), map("box", 4), map("obj", 1)];
        let each = |it: &Tensor| it.view([2, 3, -1, h, w]);
        let raw = Tensor::cat(&[each(&parts[1]), each(&parts[2]), each(&parts[0])], 2).view([2, -1, h, w]);
        (parts, raw)
    };
    STRIDES.into_iter().enumerate().map(level).unzip()
}

fn targets(rows: &[[f32; 6]]) -> Targets {
    Targets { bboxes_labels: crate::support::rows(rows) }
}

#[test]
fn losses_and_gradients_of_every_case() {
    let reference = golden("yolov5_loss");
    let cases: Value = serde_json::from_str(&golden_text("yolov5_loss.json")).unwrap();
    for (num_classes, case) in [
        (3, "main"),
        (3, "empty"),
        (3, "one_img_empty"),
        (3, "no_match"),
        (3, "edge"),
        (3, "giou"),
        (3, "siou"),
        (80, "main"),
        (1, "main"),
    ] {
        let iou_mode = if case.ends_with("iou") { case } else { "ciou" };
        let table = if case.ends_with("iou") { "main" } else { case };
        let mut table: Vec<[f32; 6]> = serde_json::from_value(cases["gt"][table].clone()).unwrap();
        if num_classes == 1 {
            table.iter_mut().for_each(|it| it[1] = 0.0);
        }
        let (parts, raw) = maps(num_classes, 3.0);
        let losses = head(num_classes, iou_mode, &TestCfg::default()).loss(&raw, &targets(&table), (64, 96)).unwrap();
        for (name, loss) in &losses.0 {
            let key = format!("nc{num_classes}.{case}.{name}");
            // Sums of up to 23,040 float32 terms.
            assert_close(&key, &loss.view([1]), &reference[&key], 1e-6);
        }
        losses.total().backward();
        for (level, maps) in parts.iter().enumerate() {
            for (name, map) in ["cls", "box", "obj"].iter().zip(maps) {
                let key = format!("nc{num_classes}.{case}.grad_{name}{level}");
                let want = &reference[&key];
                let error = (map.grad() - want).abs().max().double_value(&[]);
                assert!(error <= 2e-8_f64.max(1e-5 * want.abs().max().double_value(&[])), "{key}: off by {error:e}");
            }
        }
    }
}

#[test]
fn of_duplicate_cells_the_last_neighbour_wins() {
    let table = [
        [0.0, 0.0, 9.0, 12.0, 25.0, 28.0],
        [0.0, 1.0, 4.0, 10.0, 20.0, 30.0],
        [0.0, 2.0, 17.0, 13.0, 33.0, 27.0],
        [1.0, 1.0, 20.0, 20.0, 44.0, 40.0],
        [1.0, 2.0, 28.0, 22.0, 50.0, 44.0],
    ];
    let (_, raw) = maps(3, 3.0);
    let losses = head(3, "ciou", &TestCfg::default()).loss(&raw, &targets(&table), (64, 96)).unwrap();
    // The original's; another order gives a loss_obj of 9.98981.
    for ((name, loss), want) in losses.0.iter().zip([0.075_277_209_3, 9.986_949_920_6, 0.206_698_507_1]) {
        let loss = loss.double_value(&[]);
        assert!((loss / want - 1.0).abs() < 1e-6, "{name}: {loss}");
    }
}

#[test]
fn predictions_of_every_case() {
    let reference = golden("yolov5_predict");
    let meta = meta([2.0, 2.0, 0.0, 0.0], 1.2, (50, 80));
    for (key, num_classes, multi_label, score_thr) in [
        ("nc3.ml1", 3, true, 0.001),
        ("nc3.ml0", 3, false, 0.001),
        ("nc80.ml1", 80, true, 0.25),
        ("nc1.ml1", 1, true, 0.001),
    ] {
        let cfg = TestCfg { multi_label, score_thr, ..TestCfg::default() };
        let (_, raw) = maps(num_classes, 4.0);
        let raw: Vec<_> = raw.iter().map(Tensor::detach).collect();
        let found = head(num_classes, "ciou", &cfg).predict(&raw, &[meta.clone(), meta.clone()]).unwrap();
        for (i, found) in found.iter().enumerate() {
            assert_detections(found, &reference, &format!("{key}.img{i}"), 0.0);
        }
    }
}

#[test]
fn split_is_the_inverse_of_the_raw_layout() {
    let (parts, raw) = maps(3, 1.0);
    let split = head(3, "ciou", &TestCfg::default()).split(&raw);
    for (level, [cls, bbox, obj]) in parts.iter().enumerate() {
        assert_eq!((&split.cls[level], &split.bbox[level], &split.obj[level]), (cls, bbox, obj));
    }
}

#[test]
fn maps_in_a_short_kind_give_losses_in_float32() {
    let (_, raw) = maps(3, 3.0);
    let head = head(3, "ciou", &TestCfg::default());
    let table = [[0.0, 0.0, 8.0, 10.0, 30.0, 34.0]];
    let short: Vec<_> = raw.iter().map(|it| it.to_kind(Kind::BFloat16)).collect();
    let same: Vec<_> = short.iter().map(|it| it.to_kind(Kind::Float)).collect();
    let run = |raw: &[Tensor]| head.loss(raw, &targets(&table), (64, 96)).unwrap();
    for ((name, a), (_, b)) in run(&short).0.iter().zip(&run(&same).0) {
        assert_eq!((a.kind(), a), (Kind::Float, b), "{name}");
    }
}

#[test]
fn wrong_targets_are_errors() {
    let (_, raw) = maps(3, 3.0);
    let head = head(3, "ciou", &TestCfg::default());
    for wrong in [[2.0, 0.0], [0.0, 3.0], [f32::NAN, 0.0]] {
        let table = Targets { bboxes_labels: rows(&[[wrong[0], wrong[1], 0.0, 0.0, 9.0, 9.0]]) };
        assert!(head.loss(&raw, &table, (64, 96)).is_err(), "{wrong:?}");
    }
}
