//! Ground truth of a COCO annotation file, by class index.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use mmy_registry::BuildError;
use tracing::warn;

/// One object to be found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Truth {
    /// Class index.
    pub(crate) label: u32,
    /// Left, top, width, height.
    pub(crate) bbox: [f64; 4],
    /// Area as annotated (that of the mask in COCO's own files), which decides between small, medium and large.
    pub(crate) area: f64,
    /// A region that forgives detections and need not be found.
    pub(crate) crowd: bool,
}

/// An annotation file, indexed.
#[derive(Debug)]
pub(crate) struct AnnFile {
    pub(crate) path: PathBuf,
    /// Every picture of the file with its objects, empty pictures included.
    pub(crate) images: HashMap<i64, Vec<Truth>>,
    /// The file's own category ids by class index; `None` for a class that the file does not have.
    pub(crate) category_ids: Vec<Option<u64>>,
}

impl AnnFile {
    /// Reads a file. Its categories are matched to `classes` by name; annotations of other categories are left out.
    pub(crate) fn read(path: &Path, classes: &[String]) -> Result<Self, BuildError> {
        let fail = |what: String| BuildError::new(format!("{}: {what}", path.display())).at("ann_file");
        let bytes = fs::read(path).map_err(|error| fail(error.to_string()))?;
        let data: hotcoco::Dataset = serde_json::from_slice(&bytes)
            .map_err(|error| fail(error.to_string()).help("it has to be a COCO annotation file"))?;
        drop(bytes);

        let ids: HashMap<&str, u64> = data.categories.iter().map(|it| (it.name.as_str(), it.id)).collect();
        let category_ids: Vec<_> = classes.iter().map(|it| ids.get(it.as_str()).copied()).collect();
        let lacking: Vec<_> = classes.iter().filter(|it| !ids.contains_key(it.as_str())).map(String::as_str).collect();
        if lacking.len() == classes.len() {
            let known: Vec<_> = data.categories.iter().take(10).map(|it| it.name.as_str()).collect();
            return Err(fail(format!("none of the data set's classes is in it (it has {})", list(&known)))
                .help("set `metainfo.classes` to the file's category names"));
        }
        if !lacking.is_empty() {
            warn!("{} has no category {}: nothing to find there", path.display(), list(&lacking));
        }
        let labels: HashMap<u64, u32> =
            category_ids.iter().enumerate().filter_map(|(label, id)| Some(((*id)?, label as u32))).collect();

        let mut images: HashMap<i64, Vec<Truth>> =
            data.images.iter().map(|it| (it.id.cast_signed(), Vec::new())).collect();
        let (mut unusable, mut stray) = (0usize, HashSet::new());
        for it in &data.annotations {
            let Some(&label) = labels.get(&it.category_id) else { continue };
            let Some(objects) = images.get_mut(&it.image_id.cast_signed()) else {
                stray.insert(it.image_id);
                continue;
            };
            let Some(bbox) = it.bbox.filter(|it| it.iter().all(|x| x.is_finite())) else {
                unusable += 1;
                continue;
            };
            let area = it.area.unwrap_or(bbox[2] * bbox[3]);
            objects.push(Truth { label, bbox, area, crowd: it.iscrowd });
        }
        if unusable > 0 {
            warn!("{}: {unusable} annotations without a box are left out", path.display());
        }
        if !stray.is_empty() {
            warn!(
                "{}: annotations of {} pictures that the file does not list are left out",
                path.display(),
                stray.len()
            );
        }
        Ok(AnnFile { path: path.to_owned(), images, category_ids })
    }
}

/// Names in backticks, the first ten of them.
fn list(names: &[&str]) -> String {
    let mut out = names.iter().take(10).map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ");
    if names.len() > 10 {
        out += &format!(" and {} more", names.len() - 10);
    }
    if out.is_empty() { "none".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, classes: &[&str]) -> Result<AnnFile, BuildError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gt.json");
        fs::write(&path, json).unwrap();
        AnnFile::read(&path, &classes.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>())
    }

    const FILE: &str = r#"{
        "images": [{"id": 7}, {"id": 9, "width": 4, "height": 4}],
        "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}, {"id": 2, "name": "cow"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 5.5, "iscrowd": 0},
            {"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 1},
            {"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 1, 1], "area": 1},
            {"id": 3, "image_id": 8, "category_id": 1, "bbox": [0, 0, 1, 1], "area": 1},
            {"id": 4, "image_id": 9, "category_id": 1, "area": 1}
        ]}"#;

    #[test]
    fn categories_follow_the_class_list_not_the_file() {
        let file = read(FILE, &["cat", "emu", "dog"]).unwrap();
        assert_eq!(file.category_ids, [Some(1), None, Some(3)]);
        assert_eq!(
            file.images[&7],
            [
                Truth { label: 2, bbox: [1.0, 2.0, 3.0, 4.0], area: 5.5, crowd: false },
                Truth { label: 0, bbox: [1.0, 2.0, 3.0, 4.0], area: 12.0, crowd: true },
            ]
        );
        assert_eq!((file.images[&9].len(), file.images.len()), (0, 2));
    }

    #[test]
    fn unusable_files_name_the_key() {
        let check = |json: &str, part: &str| {
            let error = read(json, &["person"]).unwrap_err();
            assert_eq!(error.path, ["ann_file"]);
            assert!(error.message.contains(part), "{error}");
        };
        check(FILE, "none of the data set's classes is in it (it has `dog`, `cat`, `cow`)");
        check("{\"images\": [}", "line 1 column 13");
        check("{}", "it has none");
        let gone = AnnFile::read(Path::new("/nowhere/gt.json"), &[]).unwrap_err();
        assert!(gone.message.starts_with("/nowhere/gt.json: "), "{gone}");
    }
}
