//! What `mmy train` and `mmy data check` do with each fault of the data: the table "Data" of docs/reliability.md.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Ran, config, folder, mmy, train_args};

const ANNOTATIONS: &str = "data/shapes/annotations/instances_train.json";

/// A folder with the tiny data set in it, which the check draws as a run would.
fn data() -> TempDir {
    let dir = folder();
    assert_eq!(check(dir.path()).status, Some(0));
    dir
}

const SHAPES: [&str; 3] = ["shapes.image_size=[96,96]", "shapes.train=24", "shapes.val=8"];

fn annotations(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join(ANNOTATIONS)).unwrap()).unwrap()
}

fn write(dir: &Path, value: &Value) {
    // JSON has no NaN, but Python writes it.
    fs::write(dir.join(ANNOTATIONS), value.to_string().replace("\"NaN\"", "NaN")).unwrap();
}

fn run(dir: &Path, args: &[&str]) -> Ran {
    let ran = mmy(dir, args);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    ran
}

/// One epoch.
fn train(dir: &Path, more: &[&str]) -> Ran {
    let base = config("starnet_s1_yolov5.toml");
    let more = [&["--set", "max_epochs=1", "--set", "val_interval=9"], more].concat();
    run(dir, &train_args(&base, &more))
}

fn check(dir: &Path) -> Ran {
    let base = config("starnet_s1_yolov5.toml");
    let set = SHAPES.iter().flat_map(|it| ["--set", it]);
    run(dir, &["data", "check", &base, "--all"].into_iter().chain(set).collect::<Vec<_>>())
}

fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
}

#[test]
fn annotations_that_cannot_be_learnt_from_are_left_out_and_told() {
    let dir = data();
    let dir = dir.path();
    let sound = check(dir);
    assert_eq!(sound.status, Some(0), "{}{}", sound.out, sound.err);
    holds(&sound.out, &["train_dataloader: 24 pictures", "val_dataloader, test_dataloader: 8 pictures", "0 errors"]);
    let mut file = annotations(dir);
    let rows = file["annotations"].as_array_mut().unwrap();
    let image = rows[0]["image_id"].clone();
    let category = rows[0]["category_id"].clone();
    let mut add = |id: u32, bbox: Value, image: Value, category: Value| {
        rows.push(json!({"id": id, "image_id": image, "category_id": category, "bbox": bbox, "iscrowd": 0}));
    };
    add(9001, json!(["NaN", 1, 2, 3]), image.clone(), category.clone());
    add(9002, json!([1, 1, 1e300, 3]), image.clone(), category.clone());
    add(9003, json!([50, 50, -9, 9]), image.clone(), category.clone());
    add(9004, json!([5, 5, 0.5, 9]), image.clone(), category.clone());
    add(9005, json!([500, 5, 9, 9]), image.clone(), category.clone());
    add(9006, json!([5, 5, 9, 9]), json!(777), category.clone());
    add(9007, json!([5, 5, 9, 9]), image, json!(777));
    write(dir, &file);
    let ran = train(dir, &[]);
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    let texts = [
        "7 annotations are left out",
        "2 with a coordinate that is no number (annotation 9001, annotation 9002)",
        "1 without area (annotation 9003)",
        "1 smaller than a pixel (annotation 9004)",
        "1 outside of the picture (annotation 9005)",
        "1 of an image that is not there (annotation 9006)",
        "1 of a category that is not there (annotation 9007)",
    ];
    holds(&ran.err, &texts);
    let ran = check(dir);
    assert_eq!(ran.status, Some(1), "{}{}", ran.out, ran.err);
    let codes = [
        "warning[box-no-number]",
        "warning[box-without-area]",
        "warning[box-tiny]",
        "warning[box-outside]",
        "warning[image-unknown]",
        "warning[category-unknown]",
        "instances_train.json:1: annotation 9007",
    ];
    holds(&ran.out, &codes);
    holds(&ran.err, &["0 errors and 7 warnings in the data"]);
}

#[test]
fn pictures_that_cannot_be_used_are_left_out_and_told() {
    let dir = data();
    let dir = dir.path();
    let mut file = annotations(dir);
    let images = file["images"].as_array_mut().unwrap();
    let name = |it: &Value| it["file_name"].as_str().unwrap().to_owned();
    let (gone, torn, folder, lie) = (name(&images[0]), name(&images[1]), name(&images[2]), name(&images[3]));
    images[3]["width"] = json!(640);
    write(dir, &file);
    let pictures = dir.join("data/shapes/train");
    fs::remove_file(pictures.join(&gone)).unwrap();
    let bytes = fs::read(pictures.join(&torn)).unwrap();
    fs::write(pictures.join(&torn), &bytes[..bytes.len() / 2]).unwrap();
    fs::remove_file(pictures.join(&folder)).unwrap();
    fs::create_dir(pictures.join(&folder)).unwrap();
    let ran = train(dir, &[]);
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    holds(&ran.err, &[&gone, &torn, "ends early", &folder, &lie, "its annotations say 640×96"]);
    let ran = check(dir);
    assert_eq!(ran.status, Some(1));
    let lines = [
        format!("error[image-missing] data/shapes/train/{gone}"),
        format!("error[image-broken] data/shapes/train/{torn}"),
        format!("error[image-broken] data/shapes/train/{folder}"),
        format!("{lie} is 96×96, not 640×96"),
    ];
    holds(&ran.out, &lines.each_ref().map(String::as_str));
    // Where no picture is left, the run ends.
    for entry in fs::read_dir(&pictures).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::write(path, "no picture").unwrap();
        }
    }
    let ran = train(dir, &["--work-dir", "none"]);
    assert_eq!(ran.status, Some(2), "{}", ran.err);
    holds(&ran.err, &["no usable sample after"]);
}

#[test]
fn annotation_files_that_cannot_be_used_end_the_run() {
    let dir = data();
    let dir = dir.path();
    let path = dir.join(ANNOTATIONS);
    let sound = annotations(dir);
    let ends = |texts: &[&str]| {
        let ran = train(dir, &[]);
        assert_eq!(ran.status, Some(2), "{}", ran.err);
        holds(&ran.err, texts);
        assert_eq!(check(dir).status, Some(1));
    };
    let mut file = sound.clone();
    file["images"] = json!([]);
    write(dir, &file);
    ends(&["the data set has no samples"]);
    let mut file = sound.clone();
    let again = file["images"][0].clone();
    file["images"].as_array_mut().unwrap().push(again);
    write(dir, &file);
    ends(&["instances_train.json", "is there twice"]);
    fs::write(&path, "{\n\"images\": [{\"id\": 1}]}").unwrap();
    ends(&["instances_train.json: missing field `file_name` at line 2"]);
    fs::write(&path, [0xFF, 0xFE, 0]).unwrap();
    ends(&["instances_train.json", "line 1"]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    ends(&["instances_train.json", "directory"]);
}

#[test]
fn a_class_that_nobody_has_is_told() {
    let dir = data();
    let dir = dir.path();
    let mut file = annotations(dir);
    let star = file["categories"].as_array().unwrap().iter().find(|it| it["name"] == "star").unwrap()["id"].clone();
    file["annotations"].as_array_mut().unwrap().retain(|it| it["category_id"] != star);
    write(dir, &file);
    let ran = train(dir, &[]);
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    holds(&ran.err, &["no object is of the class `star`"]);
    holds(&check(dir).out, &["warning[class-unused]", "`star`"]);
}

#[test]
fn findings_come_as_json_too() {
    let dir = data();
    let dir = dir.path();
    fs::write(dir.join(ANNOTATIONS), "[").unwrap();
    let base = config("starnet_s1_yolov5.toml");
    let set = SHAPES.iter().flat_map(|it| ["--set", it]);
    let ran = run(dir, &["data", "check", &base, "--json"].into_iter().chain(set).collect::<Vec<_>>());
    assert_eq!(ran.status, Some(1));
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&json["errors"], &json["findings"][0]["code"]), (&json!(1), &json!("not-coco")));
    assert_eq!((&json["findings"][0]["level"], &json["findings"][0]["line"]), (&json!("error"), &json!(1)));
    assert_eq!(json["sets"].as_array().unwrap().len(), 2);
}
