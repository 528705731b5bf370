//! COCO annotation files.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use mmy_formats::coco::parse;
use mmy_structures::{BBox, Instance};

use super::{
    MetaInfo, Record,
    faults::{Faults, box_fault},
    shared::classes,
};
use crate::DataError;

/// Reads a COCO file: its pictures in the file's order, under `folder`, and the classes.
///
/// The classes are `wanted`'s, or the file's own in its order when `wanted` has none. Annotations of other classes are
/// left out; so are those that cannot be learnt from, which is told once.
pub(super) fn read(path: &Path, folder: &Path, wanted: &MetaInfo) -> Result<(Vec<Record>, MetaInfo), DataError> {
    let bytes = fs::read(path).map_err(|error| DataError::io(path, error))?;
    let file = parse(&bytes).map_err(|error| DataError::annotation(path, "", error))?;
    let mut numbers = HashSet::with_capacity(file.categories.len());
    if let Some(twice) = file.categories.iter().find(|it| !numbers.insert(it.id)) {
        return Err(DataError::annotation(path, format_args!("category {}", twice.id), "is there twice"));
    }
    let metainfo = classes(path, file.categories.iter().map(|it| it.name.clone()).collect(), wanted)?;
    let labels: HashMap<i64, Option<u32>> = file
        .categories
        .iter()
        .map(|it| (it.id, metainfo.classes.iter().position(|name| *name == it.name).map(|at| at as u32)))
        .collect();
    let mut places = HashMap::with_capacity(file.images.len());
    let mut records = Vec::with_capacity(file.images.len());
    for it in file.images {
        if places.insert(it.id, records.len()).is_some() {
            return Err(DataError::annotation(path, format_args!("image {}", it.id), "is there twice"));
        }
        let (path, shape) = (folder.join(&it.file_name), it.shape());
        records.push(Record { img_id: it.id, path, shape, instances: Vec::new() });
    }
    let mut faults = Faults::default();
    for (n, it) in file.annotations.iter().enumerate() {
        let place = || match it.id {
            Some(id) => format!("annotation {id}"),
            None => format!("annotation number {}", n + 1),
        };
        if it.ignore {
            continue;
        }
        let Some(record) = places.get(&it.image_id).map(|&at| &mut records[at]) else {
            faults.add("of an image that is not there", place());
            continue;
        };
        let label = match labels.get(&it.category_id) {
            Some(Some(label)) => *label,
            Some(None) => continue,
            None => {
                faults.add("of a category that is not there", place());
                continue;
            }
        };
        let [left, top, right, bottom] = it.edges();
        let bbox = BBox::new(left, top, right, bottom);
        match box_fault(bbox, record.shape) {
            Some(reason) => faults.add(reason, place()),
            None => record.instances.push(Instance { bbox, label, ignore: it.iscrowd }),
        }
    }
    faults.report(path);
    Ok((records, metainfo))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#""images": [{"id": 7, "file_name": "a \"NaN\".jpg", "width": 100, "height": 50, "license": 3},
        {"id": 9, "file_name": "b.jpg"}], "categories": [{"id": 4, "name": "cat"}, {"id": 18, "name": "dog"}]"#;

    /// Label, box, and whether it is a crowd.
    type Row = (u32, [f32; 4], bool);

    /// Reads a file of the given annotations; yields the boxes of each picture, or the error.
    fn check(annotations: &str, classes: &[&str]) -> Result<Vec<Vec<Row>>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        fs::write(&path, format!("{{{HEAD}, \"annotations\": {annotations}}}")).unwrap();
        let wanted = MetaInfo { classes: classes.iter().map(|it| (*it).to_owned()).collect(), palette: Vec::new() };
        let (records, metainfo) = read(&path, Path::new("pictures"), &wanted)
            .map_err(|error| error.to_string().replace(&path.display().to_string(), "a.json"))?;
        assert_eq!(records[0].path, Path::new("pictures/a \"NaN\".jpg"));
        assert_eq!((records[0].img_id, records[0].shape, records[1].shape), (7, (50, 100), (0, 0)));
        assert_eq!(metainfo.classes, if classes.is_empty() { &["cat", "dog"] } else { classes });
        let boxes = |it: &Record| it.instances.iter().map(|it| (it.label, it.bbox.xyxy(), it.ignore)).collect();
        Ok(records.iter().map(boxes).collect())
    }

    fn annotation(image: i64, category: i64, bbox: &str) -> String {
        format!(
            r#"{{"id": 1, "image_id": {image}, "category_id": {category}, "bbox": {bbox}, "segmentation": [[1, 2]]}}"#
        )
    }

    #[test]
    fn labels_follow_the_classes_and_crowds_are_marked() {
        let both = format!(
            r#"[{}, {{"image_id": 9, "category_id": 4, "bbox": [0, 0, 9.5, 9], "iscrowd": 1}}]"#,
            annotation(7, 18, "[1, 2, 3, 4]")
        );
        let (dog, cat) = ([1.0, 2.0, 4.0, 6.0], [0.0, 0.0, 9.5, 9.0]);
        assert_eq!(check(&both, &[]).unwrap(), [vec![(1, dog, false)], vec![(0, cat, true)]]);
        assert_eq!(check(&both, &["dog", "cat"]).unwrap(), [vec![(0, dog, false)], vec![(1, cat, true)]]);
        assert_eq!(check(&both, &["dog"]).unwrap(), [vec![(0, dog, false)], vec![]]);
        // A class that only the config knows is told; that no class is known is an error.
        assert_eq!(check(&both, &["bird", "dog"]).unwrap(), [vec![(1, dog, false)], vec![]]);
        assert_eq!(
            check(&both, &["bird"]).unwrap_err(),
            "a.json: has no category `bird` that metainfo.classes names; it has cat, dog"
        );
    }

    #[test]
    fn what_cannot_be_learnt_from_is_left_out() {
        let bad = [
            annotation(7, 18, "[1, 2, NaN, 4]"),
            annotation(7, 18, "[1, 2, -Infinity, 4]"),
            annotation(7, 18, "[1, 2, 0, 4]"),
            annotation(7, 18, "[100, 2, 5, 4]"),
            annotation(8, 18, "[1, 2, 3, 4]"),
            annotation(7, 5, "[1, 2, 3, 4]"),
            annotation(7, 4, "[1, 2, 3, 4]"),
        ];
        assert_eq!(
            check(&format!("[{}]", bad.join(",")), &[]).unwrap(),
            [vec![(0, [1.0, 2.0, 4.0, 6.0], false)], vec![]]
        );
    }

    #[test]
    fn errors_name_the_place() {
        let error = check("[{\"image_id\": 7}]", &[]).unwrap_err();
        assert!(error.starts_with("a.json: missing field `category_id` at line 2"), "{error}");
        let error = check("[", &[]).unwrap_err();
        assert!(error.contains("at line 2"), "{error}");
        let error = read(Path::new("/no/such.json"), Path::new(""), &MetaInfo::default()).unwrap_err().to_string();
        assert!(error.starts_with("/no/such.json: No such file"), "{error}");
    }
}
