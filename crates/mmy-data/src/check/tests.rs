//! Data sets with one fault of each sort.

use std::{fs, path::Path};

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use tempfile::TempDir;

use super::*;
use crate::MetaInfo;

/// A picture of its own colour.
fn picture(path: &Path, width: u32, height: u32, colour: u8) {
    let mut bytes = Vec::new();
    let pixels = vec![colour; (width * height) as usize];
    PngEncoder::new(&mut bytes).write_image(&pixels, width, height, ExtendedColorType::L8).unwrap();
    fs::write(path, bytes).unwrap();
}

fn wanted(classes: &[&str]) -> MetaInfo {
    MetaInfo { classes: classes.iter().map(|it| (*it).to_owned()).collect(), palette: Vec::new() }
}

/// `level code file:line`, with the folder taken off.
fn lines(report: &Report, dir: &TempDir) -> Vec<String> {
    let row = |it: &Finding| {
        let file = it.file.strip_prefix(dir.path()).unwrap().display();
        let line = it.line.map(|it| format!(":{it}")).unwrap_or_default();
        format!("{} {} {file}{line}", it.level, it.code)
    };
    report.findings.iter().map(row).collect()
}

const CATEGORIES: &str = r#""categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]"#;

/// A data set of pictures `1.png` to `4.png`, 40 wide and 30 high, and these rows, each in a line of its own.
fn coco(dir: &TempDir, images: &[String], annotations: &[&str], classes: &[&str]) -> Coco {
    let folder = dir.path().join("pictures");
    fs::create_dir_all(&folder).unwrap();
    for n in 1..=4u8 {
        picture(&folder.join(format!("{n}.png")), 40, 30, n);
    }
    let ann_file = dir.path().join("a.json");
    let (images, annotations) = (images.join(",\n"), annotations.join(",\n"));
    fs::write(&ann_file, format!("{{\"images\": [\n{images}],\n\"annotations\": [\n{annotations}],\n{CATEGORIES}}}"))
        .unwrap();
    Coco { ann_file, folder, wanted: wanted(classes) }
}

fn image(id: usize) -> String {
    format!(r#"{{"id": {id}, "file_name": "{id}.png", "width": 40, "height": 30}}"#)
}

fn images() -> Vec<String> {
    (1..=4).map(image).collect()
}

fn run(sets: &[(&str, &dyn Inspect)]) -> Report {
    check(sets.iter().map(|it| (it.0.to_owned(), it.1.inspect())).collect(), &|_, _| ())
}

const GOOD: [&str; 2] = [
    r#"{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}"#,
    r#"{"id": 2, "image_id": 2, "category_id": 2, "bbox": [0, 0, 40, 30]}"#,
];

#[test]
fn a_sound_data_set_has_no_findings() {
    let dir = tempfile::tempdir().unwrap();
    let it = coco(&dir, &images(), &GOOD, &[]);
    let report = run(&[("val_dataloader", &it), ("test_dataloader", &it)]);
    assert_eq!(lines(&report, &dir), Vec::<String>::new());
    assert_eq!(report.sets.len(), 1);
    assert_eq!(report.sets[0].loaders, ["val_dataloader", "test_dataloader"]);
    assert_eq!((report.sets[0].pictures, report.sets[0].objects["dog"]), (4, 1));
}

#[test]
fn faults_of_annotations_are_named_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = GOOD.to_vec();
    rows.extend([
        r#"{"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}"#, // 9: the number is taken
        r#"{"id": 3, "image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4]}"#, // 10
        r#"{"id": 4, "image_id": 1, "category_id": 9, "bbox": [1, 2, 3, 4]}"#, // 11
        r#"{"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, NaN, 3, 4]}"#, // 12
        r#"{"id": 6, "image_id": 1, "category_id": 1, "bbox": [1, 1e300, 3, 4]}"#, // 13
        r#"{"id": 7, "image_id": 1, "category_id": 1, "bbox": [9, 9, -3, 4]}"#, // 14
        r#"{"id": 8, "image_id": 1, "category_id": 1, "bbox": [9, 9, 0.5, 4]}"#, // 15
        r#"{"id": 9, "image_id": 1, "category_id": 1, "bbox": [41, 9, 5, 4]}"#, // 16
        r#"{"id": 10, "image_id": 1, "category_id": 1, "bbox": [30, 9, 25, 4]}"#, // 17: half of it is outside
        r#"{"id": 11, "image_id": 1, "category_id": 1, "bbox": [1]}"#,         // 18
        r#"{"id": 12, "image_id": 1, "category_id": 1, "bbox": [9, 9, 0, 4], "ignore": 1}"#, // 19: nobody's business
    ]);
    let report = run(&[("train_dataloader", &coco(&dir, &images(), &rows, &[]))]);
    let expect = [
        "error broken-entry a.json:18",
        "warning box-beyond a.json:17",
        "warning box-no-number a.json:12",
        "warning box-no-number a.json:13",
        "warning box-outside a.json:16",
        "warning box-tiny a.json:15",
        "warning box-without-area a.json:14",
        "warning category-unknown a.json:11",
        "warning duplicate-id a.json:9",
        "warning image-unknown a.json:10",
    ];
    assert_eq!(lines(&report, &dir), expect);
    assert_eq!((report.count(Level::Error), report.count(Level::Warning)), (1, 9));
    assert_eq!(
        report.findings[0].to_string().replace(&dir.path().display().to_string(), ""),
        "error[broken-entry] /a.json:18: an annotation: invalid length 1, expected an array of length 4"
    );
}

#[test]
fn faults_of_pictures_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = images();
    rows.extend([image(5), image(6), image(7), image(1).replace("1.png", "8.png"), image(9).replace("9.png", "2.png")]);
    let it = coco(&dir, &rows, &GOOD, &[]);
    let whole = fs::read(it.folder.join("1.png")).unwrap();
    fs::write(it.folder.join("5.png"), &whole[..whole.len() / 2]).unwrap();
    picture(&it.folder.join("7.png"), 30, 40, 7);
    fs::copy(it.folder.join("3.png"), it.folder.join("8.png")).unwrap();
    fs::create_dir(it.folder.join("deep")).unwrap();
    picture(&it.folder.join("deep/0.png"), 9, 9, 0);
    let expect = [
        "error duplicate-id a.json:9", // The number 1 once more.
        "error image-broken pictures/5.png",
        "error image-missing pictures/6.png",
        "error image-size a.json:8", // 7.png stands, its annotation lies.
        "warning duplicate-image a.json:10",
        "warning image-twice pictures/8.png",
        "note image-unlisted pictures",
    ];
    assert_eq!(lines(&run(&[("train_dataloader", &it)]), &dir), expect);
}

#[test]
fn what_is_trained_on_is_not_tested_on() {
    let dir = tempfile::tempdir().unwrap();
    let train = coco(&dir, &images(), &GOOD, &[]);
    let ann_file = dir.path().join("val.json");
    fs::copy(&train.ann_file, &ann_file).unwrap();
    let val = Coco { ann_file, folder: train.folder.clone(), wanted: wanted(&[]) };
    let report = run(&[("train_dataloader", &train), ("val_dataloader", &val)]);
    let expect: Vec<_> = (1..=4).map(|it| format!("warning image-twice pictures/{it}.png")).collect();
    assert_eq!(lines(&report, &dir), expect);
}

#[test]
fn classes_are_held_against_the_config() {
    let dir = tempfile::tempdir().unwrap();
    let report = run(&[("train_dataloader", &coco(&dir, &images(), &GOOD[1..], &["cat", "dog"]))]);
    assert_eq!(lines(&report, &dir), ["warning class-unused a.json"]);
    let report = run(&[("train_dataloader", &coco(&dir, &images(), &GOOD, &["dog", "bird"]))]);
    assert_eq!(lines(&report, &dir), ["warning class-not-learnt a.json:9", "warning class-unknown a.json"]);
}

#[test]
fn files_that_are_no_annotations() {
    let dir = tempfile::tempdir().unwrap();
    let it = coco(&dir, &[], &[], &[]);
    let check = |expect: &[&str]| assert_eq!(lines(&run(&[("train_dataloader", &it)]), &dir), expect);
    let note = "note image-unlisted pictures";
    check(&["error empty a.json", "warning class-unused a.json", "warning class-unused a.json", note]);
    fs::write(&it.ann_file, "{\n\"images\": [\n").unwrap();
    check(&["error not-coco a.json:3", note]);
    fs::write(&it.ann_file, "").unwrap();
    check(&["error not-coco a.json:1", note]);
    fs::remove_file(&it.ann_file).unwrap();
    check(&["error unreadable a.json", note]);
    fs::create_dir(&it.ann_file).unwrap();
    check(&["error unreadable a.json", note]);
    fs::remove_dir_all(&it.folder).unwrap();
    check(&["error unreadable a.json", "error unreadable pictures"]);
}

#[test]
fn faults_of_voc_files() {
    let dir = tempfile::tempdir().unwrap();
    let it = Voc {
        split: dir.path().join("train.txt"),
        pictures: dir.path().join("pictures"),
        annotations: dir.path().join("xml"),
        wanted: wanted(&["cat", "dog"]),
    };
    fs::create_dir_all(&it.pictures).unwrap();
    fs::create_dir_all(&it.annotations).unwrap();
    let object = |name: &str, right: &str| {
        format!(
            "<object><name>{name}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{right}</xmax><ymax>9</ymax></bndbox></object>\n"
        )
    };
    let write = |name: &str, objects: &str| {
        let text = format!(
            "<annotation><filename>{name}.png</filename>\n<size><width>40</width><height>30</height></size>\n{objects}</annotation>"
        );
        fs::write(it.annotations.join(format!("{name}.xml")), text).unwrap();
    };
    for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
        picture(&it.pictures.join(format!("{name}.png")), 40, 30, n as u8);
    }
    write("a", &(object("cat", "9") + &object("cat", "1") + &object("cow", "9") + "<object/>\n" + &object("cat", "x")));
    write("b", "<object>");
    write("d", &object("cat", "9"));
    fs::write(&it.split, "a\nb\n\nd\ne\na\n").unwrap();
    let expect = [
        "error annotation-missing train.txt:5",
        "error broken-entry xml/a.xml:6",
        "error broken-entry xml/a.xml:7",
        "error image-missing pictures/d.png",
        "error not-xml xml/b.xml:3",
        "warning box-without-area xml/a.xml:4",
        "warning class-not-learnt train.txt",
        "warning class-unused train.txt",
        "warning duplicate-image train.txt:6",
        "note image-unlisted pictures",
    ];
    assert_eq!(lines(&run(&[("train_dataloader", &it)]), &dir), expect);
}

#[test]
fn faults_of_yolo_files() {
    let dir = tempfile::tempdir().unwrap();
    let it = Yolo { ann_file: dir.path().join("data.yaml"), split: "train".into(), wanted: wanted(&[]) };
    let check = |expect: &[&str]| assert_eq!(lines(&run(&[("train_dataloader", &it)]), &dir), expect);
    check(&["error unreadable data.yaml"]);
    fs::write(&it.ann_file, "names: [").unwrap();
    check(&["error not-yolo data.yaml"]);
    fs::write(&it.ann_file, "train: [images, list.txt]\nnames: [cat, dog, cow]\n").unwrap();
    check(&["error unreadable data.yaml"]);
    for folder in ["images", "labels", "more"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    for (n, name) in ["images/a", "images/b", "images/c", "more/d"].into_iter().enumerate() {
        picture(&dir.path().join(format!("{name}.png")), 40, 30, n as u8);
    }
    fs::write(dir.path().join("images/e.png"), "no picture").unwrap();
    fs::write(dir.path().join("list.txt"), "more/d.png\nmore/f.png\n\nimages/a.png\n").unwrap();
    let good = "0 0.5 0.5 0.5 0.5\n1 0 0 1 0 1 1\n";
    fs::write(dir.path().join("labels/a.txt"), format!("{good}{good}3 0.5 0.5 0.5 0.5\n0 50 50 20 20\n")).unwrap();
    fs::write(dir.path().join("labels/b.txt"), "0 0.5 0.5 x\n\n0 0.5 0.5 0.5\n0 nan 0.5 0.5 0.5\n0 1 1 0.5 0.5")
        .unwrap();
    fs::write(dir.path().join("more/d.txt"), "0 0.5 0.5 0 0.1\n").unwrap();
    check(&[
        "error broken-entry labels/b.txt:1",
        "error broken-entry labels/b.txt:3",
        "error image-broken images/e.png",
        "error image-missing more/f.png",
        "warning box-beyond labels/b.txt:5",
        "warning box-no-number labels/b.txt:4",
        "warning box-not-normal labels/a.txt:6",
        "warning box-without-area more/d.txt:1",
        "warning category-unknown labels/a.txt:5",
        "warning class-unused data.yaml",
        "warning duplicate-image list.txt:4",
        "warning object-twice labels/a.txt:3",
        "warning object-twice labels/a.txt:4",
        "note label-missing data.yaml",
    ]);
    let it = Yolo { wanted: wanted(&["cat", "emu"]), ..it };
    let report = run(&[("train_dataloader", &it)]);
    let codes: Vec<_> = report.findings.iter().map(|it| it.code).filter(|it| it.starts_with("class-")).collect();
    assert_eq!(codes, ["class-not-learnt", "class-unknown"]);
    assert_eq!(report.sets[0].objects, [("cat".to_owned(), 2)].into());
}

#[test]
fn faults_of_labelme_files() {
    let dir = tempfile::tempdir().unwrap();
    let it = Labelme { folder: dir.path().join("a"), list: None, wanted: wanted(&["cat"]) };
    let check = |it: &Labelme, expect: &[&str]| assert_eq!(lines(&run(&[("train_dataloader", it)]), &dir), expect);
    check(&it, &["error unreadable a"]);
    fs::create_dir(&it.folder).unwrap();
    let write = |name: &str, shapes: &str| {
        let text = format!(
            "{{\"imagePath\": \"{name}.png\", \"imageHeight\": 30, \"imageWidth\": 40, \"shapes\": [\n{shapes}]}}"
        );
        fs::write(it.folder.join(format!("{name}.json")), text).unwrap();
    };
    let shape = |label: &str, kind: &str, right: i32| {
        format!("{{\"label\": \"{label}\", \"points\": [[1, 1], [{right}, 9]], \"shape_type\": \"{kind}\"}}")
    };
    picture(&it.folder.join("a.png"), 40, 30, 1);
    picture(&it.folder.join("b.png"), 30, 40, 2);
    let rows = [
        shape("cat", "rectangle", 9),
        shape("cat", "line", 9),
        shape("cow", "rectangle", 9),
        "3".into(),
        shape("cat", "rectangle", 1),
        shape("cat", "rectangle", 60),
    ];
    write("a", &rows.join(",\n"));
    write("b", &rows[0]);
    fs::write(it.folder.join("c.json"), "{\n\"shapes\": [").unwrap();
    check(
        &it,
        &[
            "error broken-entry a/a.json:5",
            "error image-size a/b.json:1",
            "error not-labelme a/c.json:2",
            "warning box-beyond a/a.json:7",
            "warning box-without-area a/a.json:3",
            "warning box-without-area a/a.json:6",
            "warning class-not-learnt a",
        ],
    );
    let list = dir.path().join("list.txt");
    fs::write(&list, "b\nq\n\nb.json\n").unwrap();
    let expect =
        ["error annotation-missing list.txt:2", "error image-size a/b.json:1", "warning duplicate-image list.txt:4"];
    check(&Labelme { list: Some(list), ..it }, &expect);
}
