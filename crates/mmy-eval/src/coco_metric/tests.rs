//! CocoMetric against pycocotools, and at its edges.

use std::collections::HashMap;

use mmy_registry::Slot;
use mmy_structures::BBox;
use serde_json::{Value, json};

use super::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");

fn names(classes: &[&str]) -> Vec<String> {
    classes.iter().map(|it| (*it).to_owned()).collect()
}

fn build(mut config: Value, classes: &[String]) -> Result<Box<dyn MetricSink>, BuildError> {
    let mut with_type = json!({ "type": "CocoMetric" });
    with_type.as_object_mut().unwrap().append(config.as_object_mut().unwrap());
    serde_json::from_value::<Slot<Metric>>(with_type).unwrap().build(MetricArgs { classes })
}

fn golden(file: &str) -> Value {
    serde_json::from_slice(&fs::read(format!("{GOLDEN}/{file}")).unwrap()).unwrap()
}

fn meta(img_id: i64) -> ImageMeta {
    ImageMeta { img_id, img_path: format!("{img_id}.jpg").into(), ..ImageMeta::default() }
}

fn floats(value: &Value) -> [f32; 4] {
    let them: Vec<_> = value.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
    // The right and bottom edges are rounded once, from the f64 sum.
    [them[0] as f32, them[1] as f32, (them[0] + them[2]) as f32, (them[1] + them[3]) as f32]
}

fn bbox(xywh: &Value) -> BBox {
    let [x1, y1, x2, y2] = floats(xywh);
    BBox::new(x1, y1, x2, y2)
}

/// A picture, what was found in it, and what is in it.
type Case = (ImageMeta, Detections, Vec<Instance>);

/// Classes and pictures of a golden set.
fn pictures(set: &str) -> (Vec<String>, Vec<Case>) {
    let truth = golden(&format!("coco_{set}_gt.json"));
    let categories = truth["categories"].as_array().unwrap();
    let classes: Vec<_> = categories.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    let labels: HashMap<_, _> =
        categories.iter().enumerate().map(|(label, it)| (it["id"].as_u64().unwrap(), label as u32)).collect();
    let label = |it: &Value| labels[&it["category_id"].as_u64().unwrap()];
    let found = golden(&format!("coco_{set}_dt.json"));
    let pictures = truth["images"].as_array().unwrap().iter().map(|image| {
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
        (meta(image["id"].as_i64().unwrap()), detections, objects.collect())
    });
    (classes.clone(), pictures.collect())
}

/// Hands pictures over in batches of five, last picture first, and some of them twice.
fn run(config: Value, set: &str) -> Evaluation {
    let (classes, pictures) = pictures(set);
    let mut metric = build(config, &classes).unwrap();
    let mut order: Vec<_> = pictures.iter().rev().collect();
    order.extend(pictures.iter().take(3));
    for batch in order.chunks(5) {
        let metas: Vec<_> = batch.iter().map(|it| it.0.clone()).collect();
        let detections: Vec<_> = batch.iter().map(|it| it.1.clone()).collect();
        let objects: Vec<_> = batch.iter().map(|it| it.2.clone()).collect();
        metric.process(&metas, &detections, &objects);
    }
    metric.evaluate().unwrap()
}

fn check(evaluation: &Evaluation, names: &[&str], expect: &[f64]) {
    let (got, values): (Vec<_>, Vec<_>) = evaluation.values.iter().cloned().unzip();
    assert_eq!(got, names);
    for ((name, ours), theirs) in names.iter().zip(values).zip(expect) {
        assert!((ours - theirs).abs() < 1e-12, "{name}: {ours} for {theirs}");
    }
}

const NAMES: [&str; 12] = [
    "coco/bbox_mAP",
    "coco/bbox_mAP_50",
    "coco/bbox_mAP_75",
    "coco/bbox_mAP_s",
    "coco/bbox_mAP_m",
    "coco/bbox_mAP_l",
    "coco/bbox_AR@1",
    "coco/bbox_AR@10",
    "coco/bbox_AR@100",
    "coco/bbox_AR_s@100",
    "coco/bbox_AR_m@100",
    "coco/bbox_AR_l@100",
];

#[test]
fn twelve_numbers_are_pycocotools() {
    let stats = golden("coco_eval.json");
    for set in ["a", "b", "c_many_dets"] {
        let expect: Vec<_> =
            stats["results"][set]["stats"].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
        assert_eq!(expect.len(), 12);
        // MMYOLO's order of the caps, which must not shift a name.
        let file = json!({ "ann_file": format!("{GOLDEN}/coco_{set}_gt.json"), "proposal_nums": [100, 1, 10] });
        check(&run(file, set), &NAMES, &expect);
        // The data set's own boxes: the same matches, but the file's areas are smaller than those of its boxes.
        let without_sizes = ["mAP", "mAP_50", "mAP_75", "AR@1", "AR@10", "AR@100"];
        let names = without_sizes.map(|it| format!("coco/bbox_{it}"));
        let expect: Vec<_> = names.iter().map(|name| expect[NAMES.iter().position(|it| it == name).unwrap()]).collect();
        check(&run(json!({ "metric_items": without_sizes }), set), &names.each_ref().map(String::as_str), &expect);
    }
}

#[test]
fn without_a_file_areas_are_those_of_the_boxes() {
    let mut truth = golden("coco_b_gt.json");
    for it in truth["annotations"].as_array_mut().unwrap() {
        let [_, _, w, h] = xywh(bbox(&it["bbox"]).xyxy());
        it["area"] = json!(w * h);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gt.json");
    fs::write(&path, truth.to_string()).unwrap();
    let (file, own) = (run(json!({ "ann_file": path }), "b"), run(json!({}), "b"));
    assert_eq!(file, own);
    assert!(own.get("coco/bbox_mAP_s").unwrap() > 0.0);
}

#[test]
fn classes_come_after_the_headline_and_in_the_table() {
    let classwise = run(
        json!({ "classwise": true, "prefix": "", "metric_items": ["mAP", "AR_s@10"],
        "proposal_nums": [10] }),
        "a",
    );
    let got: Vec<_> = classwise.values.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(got, ["bbox_mAP", "bbox_AR_s@10", "c0_precision", "c1_precision", "c2_precision", "c3_precision"]);
    // The last category has no objects, and the mean is over the others.
    assert_eq!(classwise.get("c3_precision"), Some(-1.0));
    let mean = (0..3).map(|it| classwise.values[2 + it].1).sum::<f64>() / 3.0;
    assert!((classwise.values[0].1 - mean).abs() < 1e-12);

    let table = classwise.table.unwrap();
    assert_eq!(table.columns, ["class", "objects", "mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l", "AR@10"]);
    let heads: Vec<_> = table.rows.iter().map(|it| (it.name.as_str(), it.instances)).collect();
    assert_eq!(heads[0], ("all", 50));
    assert_eq!((heads.len(), heads[4]), (5, ("c3", 0)));
    assert_eq!(table.rows[0].values[0], Some(classwise.values[0].1));
    assert_eq!(table.rows[4].values, [None; 7]);
}

/// One picture with one 40×40 object of class 1 of 2.
fn object() -> (ImageMeta, Vec<Instance>) {
    (meta(5), vec![Instance { bbox: BBox::new(10.0, 10.0, 50.0, 50.0), label: 1, ignore: false }])
}

/// COCO divides by the count of detections plus 2⁻⁵², so that even a perfect score is not quite 1.
fn close(ours: &[f64], expect: &[f64]) {
    assert_eq!(ours.len(), expect.len());
    assert!(ours.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-12), "{ours:?} for {expect:?}");
}

#[test]
fn extremes_have_numbers() {
    let classes = names(&["cat", "dog"]);
    let find = |config: Value, found: &[([f32; 4], f32, u32)]| {
        let mut metric = build(config, &classes).unwrap();
        let (meta, objects) = object();
        let mut detections = Detections::default();
        for ([x1, y1, x2, y2], score, label) in found {
            detections.bboxes.push(BBox::new(*x1, *y1, *x2, *y2));
            detections.scores.push(*score);
            detections.labels.push(*label);
        }
        metric.process(&[meta], &[detections], &[objects]);
        let first = metric.evaluate().unwrap();
        // The next round starts afresh, without any picture.
        let nothing = metric.evaluate().unwrap();
        assert!(nothing.values.iter().all(|it| it.1 == -1.0), "{nothing:?}");
        first.values.iter().map(|it| it.1).collect::<Vec<_>>()
    };
    let items = || json!({ "metric_items": ["mAP", "mAP_50", "mAP_s", "mAP_m", "AR@1"] });
    let hit = ([10.0, 10.0, 50.0, 50.0], 0.5, 1);
    close(&find(items(), &[]), &[0.0, 0.0, -1.0, 0.0, 0.0]);
    close(&find(items(), &[hit]), &[1.0, 1.0, -1.0, 1.0, 1.0]);
    // A diverged model's boxes are left out, a wrong class and an empty or inverted box are misses.
    let nan = f32::NAN;
    let odd = [
        ([nan, 0.0, 1.0, 1.0], 0.9, 1),
        ([0.0, 0.0, f32::INFINITY, 1.0], 0.9, 1),
        ([10.0, 10.0, 50.0, 50.0], nan, 1),
        ([10.0, 10.0, 50.0, 50.0], 0.9, 2),
        ([10.0, 10.0, 50.0, 50.0], 0.9, 0),
        hit,
        ([30.0, 30.0, 30.0, 30.0], 0.4, 1),
        ([50.0, 50.0, 10.0, 10.0], 0.3, 1),
    ];
    close(&find(items(), &odd), &[1.0, 1.0, -1.0, 1.0, 1.0]);
    // An IoU of 0.75 exactly, at a threshold above, at it, and below.
    let near = ([10.0, 10.0, 50.0, 40.0], 0.5, 1);
    let at = |thr: f64| json!({ "iou_thrs": [thr], "metric_items": ["mAP", "mAP_50", "mAP_75"] });
    close(&find(at(0.5), &[near]), &[1.0, 1.0, -1.0]);
    close(&find(at(0.75), &[near]), &[1.0, -1.0, 1.0]);
    close(&find(at(0.8), &[near]), &[0.0, -1.0, -1.0]);
}

const TWO: &str = r#"{"images": [{"id": 5}, {"id": 6}],
    "categories": [{"id": 90, "name": "dog"}, {"id": 20, "name": "cat"}],
    "annotations": [{"id": 1, "image_id": 5, "category_id": 90, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0},
        {"id": 2, "image_id": 6, "category_id": 90, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0}]}"#;

#[test]
fn file_ids_go_in_and_out_and_only_processed_pictures_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gt.json");
    fs::write(&path, TWO).unwrap();
    let classes = names(&["cat", "dog"]);
    let prefix = dir.path().join("new/results");
    let found = Detections {
        bboxes: vec![BBox::new(10.0, 10.0, 50.0, 50.0), BBox::new(0.5, 0.0, 1.0, 1.0)],
        scores: vec![0.5, 0.25],
        labels: vec![1, 0],
    };
    let mut metric = build(json!({ "ann_file": path, "outfile_prefix": prefix }), &classes).unwrap();
    metric.process(&[meta(5)], std::slice::from_ref(&found), &[]);
    close(&[metric.evaluate().unwrap().get("coco/bbox_mAP").unwrap()], &[1.0]);
    let written = dir.path().join("new/results.bbox.json");
    let expect = json!([
        { "image_id": 5, "category_id": 90, "bbox": [10.0, 10.0, 40.0, 40.0], "score": 0.5 },
        { "image_id": 5, "category_id": 20, "bbox": [0.5, 0.0, 0.5, 1.0], "score": 0.25 },
    ]);
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    assert_eq!(read(&written), expect);

    let config = json!({ "format_only": true, "outfile_prefix": prefix });
    let mut metric = build(config, &classes).unwrap();
    metric.process(&[meta(-3)], &[found], &[]);
    assert_eq!(metric.evaluate().unwrap(), Evaluation::default());
    assert_eq!((&read(&written)[0]["image_id"], &read(&written)[0]["category_id"]), (&json!(-3), &json!(1)));
}

#[test]
fn mistakes_are_named() {
    let classes = names(&["cat", "dog"]);
    let check = |config: Value, message: &str| {
        let error = build(config, &classes).err().unwrap();
        assert_eq!(error.to_string(), message);
    };
    check(json!({ "proposal_nums": [] }), "proposal_nums: needs at least one number, all above 0");
    check(json!({ "proposal_nums": [10, 0] }), "proposal_nums: needs at least one number, all above 0");
    check(json!({ "iou_thrs": [0.5, 1.5] }), "iou_thrs: needs at least one number, all in (0, 1]");
    check(json!({ "metric_items": ["mAP", "AR@300"] }), "metric_items: there is no `AR@300`");
    check(json!({ "format_only": true }), "outfile_prefix: is needed by `format_only`");
    assert!(build(json!({}), &[]).is_err());

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gt.json");
    fs::write(&path, TWO).unwrap();
    let check = |config: Value, metas: &[ImageMeta], message: &str| {
        let mut metric = build(config, &classes).unwrap();
        metric.process(metas, &vec![Detections::default(); metas.len()], &[]);
        let error = metric.evaluate().unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    };
    check(json!({}), &[meta(1)], "picture 1 came without ground truth");
    check(json!({ "ann_file": path }), &[meta(5), meta(7)], "picture 7 (7.jpg) is not in ");
    check(json!({ "outfile_prefix": path.join("below") }), &[meta(5)], "cannot write ");
}
