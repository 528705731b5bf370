//! VOCMetric against MMDetection, against numbers from hand, and at its edges.

use std::{collections::HashMap, fs};

use mmy_registry::Slot;
use mmy_structures::BBox;
use serde_json::{Value, json};

use super::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");

fn golden(file: &str) -> Value {
    serde_json::from_slice(&fs::read(format!("{GOLDEN}/{file}")).unwrap()).unwrap()
}

fn build(mut config: Value, classes: &[String]) -> Result<Box<dyn MetricSink>, BuildError> {
    let mut with_type = json!({ "type": "VOCMetric" });
    with_type.as_object_mut().unwrap().append(config.as_object_mut().unwrap());
    serde_json::from_value::<Slot<Metric>>(with_type).unwrap().build(MetricArgs { classes })
}

fn bbox(xywh: &Value) -> BBox {
    let it: Vec<_> = xywh.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
    BBox::new(it[0] as f32, it[1] as f32, (it[0] + it[2]) as f32, (it[1] + it[3]) as f32)
}

fn meta(img_id: i64) -> ImageMeta {
    ImageMeta { img_id, ..ImageMeta::default() }
}

/// Evaluates a golden set, its last picture first and some of them twice.
fn run(config: Value, set: &str) -> Evaluation {
    let (truth, found) = (golden(&format!("coco_{set}_gt.json")), golden(&format!("coco_{set}_dt.json")));
    let categories = truth["categories"].as_array().unwrap();
    let classes: Vec<_> = categories.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    let labels: HashMap<_, _> =
        categories.iter().enumerate().map(|(label, it)| (it["id"].as_u64().unwrap(), label as u32)).collect();
    let label = |it: &Value| labels[&it["category_id"].as_u64().unwrap()];
    let mut metric = build(config, &classes).unwrap();
    let images = truth["images"].as_array().unwrap();
    for image in images.iter().rev().chain(images.iter().take(3)) {
        let here = |it: &&Value| it["image_id"] == image["id"];
        let mut detections = Detections::default();
        for it in found.as_array().unwrap().iter().filter(here) {
            detections.bboxes.push(bbox(&it["bbox"]));
            detections.scores.push(it["score"].as_f64().unwrap() as f32);
            detections.labels.push(label(it));
        }
        let objects = truth["annotations"].as_array().unwrap().iter().filter(here);
        let objects =
            objects.map(|it| Instance { bbox: bbox(&it["bbox"]), label: label(it), ignore: it["iscrowd"] == 1 });
        metric.process(&[meta(image["id"].as_i64().unwrap())], &[detections], &[objects.collect()]);
    }
    metric.evaluate().unwrap()
}

#[test]
fn numbers_equal_mmdetection() {
    for set in ["a", "b", "c_many_dets"] {
        for mode in ["area", "11points"] {
            let ours = run(json!({ "iou_thrs": [0.5, 0.75], "eval_mode": mode, "classwise": true }), set);
            let theirs = &golden("voc_eval.json")["results"][set][mode];
            // The original computes precision in 32-bit floats.
            let same = |ours: f64, theirs: &Value, what: &str| {
                let theirs = theirs.as_f64().unwrap_or(-1.0);
                assert!((ours - theirs).abs() < 1e-6, "{set} {mode} {what}: {ours}, not {theirs}");
            };
            let (ap50, ap75) = (ours.values[1].1, ours.values[2].1);
            assert_eq!([&ours.values[0].0, &ours.values[2].0], ["pascal_voc/mAP", "pascal_voc/AP75"]);
            same(ap50, &theirs["0.5"]["mean"], "AP50");
            same(ap75, &theirs["0.75"]["mean"], "AP75");
            assert!((ours.values[0].1 - (ap50 + ap75) / 2.0).abs() < 1e-12);
            let classes = theirs["0.5"]["classes"].as_array().unwrap();
            for (at, ap) in classes.iter().enumerate() {
                same(ours.values[3 + 2 * at].1, ap, "of a class");
                same(ours.values[4 + 2 * at].1, &theirs["0.75"]["classes"][at], "of a class");
                let row = &ours.table.as_ref().unwrap().rows[1 + at];
                assert_eq!(theirs["0.5"]["gts"][at], row.instances);
            }
        }
    }
}

/// A picture of squares 10 wide at these places, found at those; `ignore` for places from 100 on.
fn squares(objects: &[f32], found: &[(f32, f32)], mode: &str) -> f64 {
    let square = |x: f32| BBox::new(x, 0.0, x + 9.0, 9.0);
    let objects = objects.iter().map(|x| Instance { bbox: square(*x), label: 0, ignore: *x >= 100.0 }).collect();
    let found = Detections {
        bboxes: found.iter().map(|it| square(it.0)).collect(),
        scores: found.iter().map(|it| it.1).collect(),
        labels: vec![0; found.len()],
    };
    let mut metric = build(json!({ "eval_mode": mode, "prefix": "" }), &["a".to_owned()]).unwrap();
    metric.process(&[meta(1)], &[found], &[objects]);
    metric.evaluate().unwrap().get("mAP").unwrap()
}

#[test]
fn numbers_from_hand() {
    // Two objects; the first is found twice, the second last: right, wrong, right.
    let found = [(0.0, 0.9), (1.0, 0.8), (50.0, 0.7)];
    // Precision 1 up to recall 0.5, then 2/3.
    assert!((squares(&[0.0, 50.0], &found, "area") - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-12);
    // Six of eleven points at 1, five at 2/3.
    assert!((squares(&[0.0, 50.0], &found, "11points") - (6.0 + 5.0 * 2.0 / 3.0) / 11.0).abs() < 1e-12);
    // A find of a difficult object is no mistake, and such an object need not be found.
    assert_eq!(squares(&[0.0, 100.0], &[(100.0, 0.9), (0.0, 0.8)], "area"), 1.0);
    // With the last pixel counted, squares 3 apart share 7 of 13 columns, squares 4 apart 6 of 14.
    assert_eq!(squares(&[0.0], &[(3.0, 0.9)], "area"), 1.0);
    assert_eq!(squares(&[0.0], &[(4.0, 0.9)], "area"), 0.0);
    assert_eq!(squares(&[0.0], &[], "area"), 0.0);
    assert_eq!(squares(&[], &[(0.0, 0.9)], "11points"), 0.0);
    assert_eq!(squares(&[0.0], &[(f32::NAN, 0.9), (0.0, f32::NAN), (0.0, 0.1)], "area"), 1.0);
}

#[test]
fn what_cannot_be_measured_is_said() {
    let classes = ["a".to_owned()];
    let error = |config: Value| build(config, &classes).err().unwrap().path;
    assert_eq!(error(json!({ "iou_thrs": [] })), ["iou_thrs"]);
    assert_eq!(error(json!({ "iou_thrs": [1.5] })), ["iou_thrs"]);
    assert!(build(json!({}), &[]).err().unwrap().message.contains("no classes"));
    let mut metric = build(json!({}), &classes).unwrap();
    metric.process(&[meta(7)], &[Detections::default()], &[]);
    assert!(metric.evaluate().unwrap_err().to_string().starts_with("picture 7 came without ground truth"));
}
