//! Round trips.

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use serde_json::json;

use super::*;

/// Three pictures with all that a COCO file can say of them.
fn start(dir: &Path) -> Source {
    for (name, width, height) in [("a", 400, 300), ("sub/b", 333, 217), ("c", 64, 64)] {
        let mut bytes = Vec::new();
        let pixels = vec![7; (width * height) as usize];
        PngEncoder::new(&mut bytes).write_image(&pixels, width, height, ExtendedColorType::L8).unwrap();
        write_file(&dir.join(format!("train/{name}.png")), bytes).unwrap();
    }
    let text = json!({
        "info": { "year": 2017 },
        "images": [
            { "id": 17, "file_name": "a.png", "width": 400, "height": 300, "license": 3 },
            { "id": 5, "file_name": "sub/b.png", "width": 333, "height": 217 },
            { "id": 9, "file_name": "c.png", "width": 64, "height": 64 },
        ],
        "annotations": [
            { "id": 100, "image_id": 17, "category_id": 4, "bbox": [10.5, 20.25, 100, 50.01], "area": 77.5, "iscrowd": 0,
              "segmentation": [[10.5, 20.25, 110.5, 20.25, 60, 70.26]] },
            { "id": 200, "image_id": 5, "category_id": 9, "bbox": [0, 0, 333, 217], "area": 72261, "iscrowd": 0 },
            { "id": 201, "image_id": 5, "category_id": 4, "bbox": [1.01, 2.37, 100.13, 33.33], "area": 3337.3329, "iscrowd": 0 },
            { "id": 202, "image_id": 5, "category_id": 4, "bbox": [3, 4, 5, 6], "area": 30, "iscrowd": 1 },
        ],
        "categories": [
            { "id": 9, "name": "dog & \"cat\"", "supercategory": "animal" },
            { "id": 4, "name": "Kätzchen" },
            { "id": 6, "name": "nobody" },
        ],
    });
    write_file(&dir.join("annotations/instances_train.json"), text.to_string()).unwrap();
    Source { path: dir.to_owned(), ..Source::default() }
}

/// Writes as `format`, reads that again; yields it, and what was lost on the way.
fn through(
    collection: &Collection,
    dir: PathBuf,
    format: Format,
    outlines: bool,
) -> (Collection, Vec<(String, usize)>) {
    let mut lost = Lost::default();
    let target = Target { dir: dir.clone(), format, files: Files::Hardlink, outlines };
    write(collection, &target, &mut lost, &|_| ()).unwrap();
    let source = Source { path: dir, ..Source::default() };
    assert_eq!(source.format().unwrap(), format);
    let again = read(&source, &mut lost).unwrap();
    assert!(again.pictures.iter().all(|it| it.path.is_file()));
    (again, lost.iter().map(|it| (it.0.to_owned(), it.1)).collect())
}

/// Classes by name, and each picture's size, splits and objects: class, box to a millionth of a pixel, flags, outlines.
type Plain = (Vec<String>, Vec<(String, (usize, usize), Vec<String>, Vec<String>)>);

fn plain(it: &Collection) -> Plain {
    let object = |it: &Object| {
        let edges = it.edges.map(|it| (it * 1e6).round() / 1e6);
        format!("{} {edges:?} {} {} {:?}", it.class, it.difficult, it.crowd, it.outlines)
    };
    let picture = |it: &Picture| {
        let objects = it.objects.iter().map(object).collect();
        // Folders within the data set become part of the name.
        (it.name.replace('/', "_"), it.shape, it.splits.clone(), objects)
    };
    let mut pictures: Vec<_> = it.pictures.iter().map(picture).collect();
    pictures.sort();
    (it.classes.iter().map(|it| it.name.clone()).collect(), pictures)
}

#[test]
fn coco_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let first = read(&start(&dir.path().join("start")), &mut Lost::default()).unwrap();
    assert_eq!((first.objects(), first.splits()), (4, vec!["train".to_owned()]));
    let (again, lost) = through(&first, dir.path().join("coco"), Format::Coco, false);
    let told = vec![("name of a picture (another has it, or it has a folder in it)".to_owned(), 1)];
    assert_eq!((plain(&again), lost), (plain(&first), told));
    assert_eq!(again.extra, first.extra);
    for (a, b) in again.pictures.iter().zip(&first.pictures) {
        assert_eq!(a.extra, b.extra);
        assert!(a.objects.iter().zip(&b.objects).all(|(a, b)| a.extra == b.extra));
    }
    assert_eq!(again.classes, first.classes);
    // Written again, it is the same file.
    through(&again, dir.path().join("twice"), Format::Coco, false);
    let file = |name: &str| fs::read(dir.path().join(name).join("annotations/instances_train.json")).unwrap();
    assert_eq!(file("coco"), file("twice"));
}

#[test]
fn voc_keeps_boxes_flags_and_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = read(&start(&dir.path().join("start")), &mut Lost::default()).unwrap();
    first.pictures[2].objects.push(Object { difficult: true, edges: [1.0, 2.0, 3.0, 4.0], ..Object::default() });
    first.pictures[2].splits.push("trainval".into());
    let (voc, lost) = through(&first, dir.path().join("voc"), Format::Voc, true);
    let expect = [
        ("`id` of a class", 3),
        ("`info` of the data set", 1),
        ("`supercategory` of a class", 1),
        ("fractions of pixels, once the data set is read as VOC (they are written)", 2),
        ("name of a picture (another has it, or it has a folder in it)", 1),
        ("outline of an object", 1),
    ];
    assert_eq!(lost, expect.map(|it| (it.0.to_owned(), it.1)));
    let mut without = first.clone();
    without.pictures.iter_mut().flat_map(|it| &mut it.objects).for_each(|it| it.outlines.clear());
    assert_eq!(plain(&voc), plain(&without));
    assert_eq!(voc.pictures[0].extra["id"], 17);
    // Through VOC and back, a COCO file has its numbers and areas still.
    let (again, _) = through(&voc, dir.path().join("back"), Format::Coco, false);
    assert_eq!(plain(&again), plain(&without));
    assert_eq!(
        (&again.pictures[0].objects[0].extra["area"], &again.pictures[0].objects[0].extra["id"]),
        (&json!(77.5), &json!(100))
    );
}

#[test]
fn yolo_keeps_boxes_or_outlines() {
    let dir = tempfile::tempdir().unwrap();
    let first = read(&start(&dir.path().join("start")), &mut Lost::default()).unwrap();
    let (boxes, lost) = through(&first, dir.path().join("boxes"), Format::Yolo, false);
    let lost = |what: &str| lost.iter().find(|it| it.0.contains(what)).map(|it| it.1);
    assert_eq!(
        (lost("a crowd"), lost("--outlines"), lost("`area`"), lost("`license`")),
        (Some(1), Some(1), Some(3), Some(1))
    );
    let mut expect = first.clone();
    for it in &mut expect.pictures {
        it.objects.retain(|it| !it.crowd);
        it.objects.iter_mut().for_each(|it| it.outlines.clear());
    }
    assert_eq!(plain(&boxes), plain(&expect));
    let text = fs::read_to_string(dir.path().join("boxes/labels/train/c.txt")).unwrap();
    assert_eq!(text, "");
    // With outlines only the picture whose objects all have one gets them.
    let (outlines, _) = through(&first, dir.path().join("outlines"), Format::Yolo, true);
    expect.pictures[0].objects[0].outlines = first.pictures[0].objects[0].outlines.clone();
    assert_eq!(plain(&outlines), plain(&expect));
}

#[test]
fn labelme_keeps_boxes_flags_and_outlines() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = read(&start(&dir.path().join("start")), &mut Lost::default()).unwrap();
    // Two parts of one object.
    let square = |x: f64| vec![[x, 1.0], [x + 4.0, 1.0], [x + 4.0, 9.0], [x, 9.0]];
    let parts = vec![square(2.0), square(20.0)];
    first.pictures[2].objects.push(Object { edges: [2.0, 1.0, 24.0, 9.0], outlines: parts, ..Object::default() });
    first.pictures[2].splits = vec!["val".into()];
    let (again, lost) = through(&first, dir.path().join("labelme"), Format::Labelme, true);
    assert_eq!(plain(&again), plain(&first));
    assert!(!lost.iter().any(|it| it.0.contains("outline")), "{lost:?}");
    assert!(lost.iter().any(|it| it.0 == "`area` of an object"));
    let (voc, _) = through(&again, dir.path().join("voc"), Format::Voc, false);
    assert_eq!((voc.objects(), voc.pictures.len()), (again.objects(), again.pictures.len()));
}

#[test]
fn pictures_of_several_splits_lie_in_one_folder() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = read(&start(&dir.path().join("start")), &mut Lost::default()).unwrap();
    first.pictures[0].splits.push("trainval".into());
    first.pictures[2].splits.clear();
    // Names that meet once folders are gone.
    first.pictures[0].name = "sub_b.png".into();
    for format in [Format::Coco, Format::Yolo, Format::Labelme, Format::Voc] {
        let (again, _) = through(&first, dir.path().join(format.to_string()), format, false);
        let mut rows: Vec<_> = again.pictures.iter().map(|it| (it.name.clone(), it.splits.clone())).collect();
        rows.sort();
        // A list needs no picture, but a file of pictures needs a name.
        let rest = match format {
            Format::Coco | Format::Yolo => vec!["rest".to_owned()],
            Format::Voc | Format::Labelme => vec![],
        };
        let (train, both) = (vec!["train".to_owned()], vec!["train".to_owned(), "trainval".to_owned()]);
        let expect = [("c.png", rest), ("sub_b.png", both), ("sub_b_2.png", train)].map(|it| (it.0.to_owned(), it.1));
        assert_eq!(rows, expect, "{format}");
    }
}

#[test]
fn what_cannot_be_written_or_read_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let source = start(&dir.path().join("start"));
    let mut first = read(&source, &mut Lost::default()).unwrap();
    let target = |dir: &Path| Target { dir: dir.into(), format: Format::Voc, files: Files::Copy, outlines: false };
    let write =
        |it: &Collection, dir: &Path| write(it, &target(dir), &mut Lost::default(), &|_| ()).unwrap_err().to_string();
    assert!(write(&first, &source.path).contains("the folder is not empty"));
    first.pictures[1].path = "/no/such.png".into();
    assert_eq!(write(&first, &dir.path().join("new")), "/no/such.png: there is no such picture");
    let format =
        |name: &str| Source { path: dir.path().join(name), ..Source::default() }.format().unwrap_err().to_string();
    assert!(format("new").contains("looks like no data set"));
    assert!(format("nowhere").contains("No such file"));
    assert!(format("start/train/a.png").contains("neither a COCO file"));
}
