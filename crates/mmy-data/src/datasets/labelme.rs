//! `YOLOv5LabelmeDataset`: pictures with labelme's annotations.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
};

use mmy_registry::{Build, BuildError, Outline, Reads, inventory, register};
use mmy_structures::{BBox, Instance};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FileDataset, MetaInfo, Record,
    faults::{Faults, box_fault},
    labelme_files::{files, objects, picture, read},
    shared::{Read, file_config},
};
use crate::{
    Annotations, DataError, Dataset, DatasetOutline, DatasetSource,
    check::{self, Inspectable, Inspection, Opened},
};

file_config! {
    /// Pictures with labelme's annotations: a JSON file for each picture.
    ///
    /// Of polygons, circles and masks the box is learnt; shapes of one class and one `group_id` are one object. Points and
    /// lines, which have no area, are left out and told. A shape with the flag `difficult` or `iscrowd` is kept for
    /// evaluation and not trained on.
    #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    pub struct Config {
        /// Folder in front of `ann_file` and `data_prefix`.
        pub data_root: PathBuf,
        /// A list of names of JSON files, with or without their ending, one a line; all files of the folder when it is not
        /// given.
        pub ann_file: Option<PathBuf>,
        /// Where the JSON files are.
        pub data_prefix: DataPrefix,
        /// Class names and colours; the classes found in the annotations, sorted, when none are given.
        pub metainfo: MetaInfo,
    }
}

/// Folders below `data_root`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataPrefix {
    /// The folder of the JSON files, which say themselves where their pictures are.
    pub ann: PathBuf,
}

register!(Dataset, "YOLOv5LabelmeDataset", Config);
inventory::submit! { Inspection::new::<Config>("YOLOv5LabelmeDataset") }

impl Build<Dataset> for Config {
    fn build(&self, (): ()) -> Result<Arc<dyn DatasetSource>, BuildError> {
        Ok(Arc::new(self.open()?))
    }

    fn outline(&self) -> Outline {
        let (folder, list) = self.places();
        let root = Some(self.data_root.clone());
        let mut out = super::outline(self.test_mode, self.shared().check());
        if let Some(list) = &list {
            out = out.reads(Reads { key: "ann_file", path: list.clone(), folder: false, root: root.clone() });
        }
        out.reads(Reads { key: "data_prefix.ann", path: folder.clone(), folder: true, root }).fact(DatasetOutline {
            classes: self.metainfo.classes.clone(),
            classes_key: "metainfo.classes".into(),
            pipeline_key: "pipeline".into(),
            annotations: Annotations::Labelme { folder, list },
        })
    }
}

impl Inspectable for Config {
    fn inspection(&self) -> Opened {
        self.shared().check()?;
        let (folder, list) = self.places();
        Ok(vec![Box::new(check::Labelme { folder, list, wanted: self.metainfo.clone() })])
    }
}

impl Config {
    /// The folder, and the list of names.
    fn places(&self) -> (PathBuf, Option<PathBuf>) {
        let list = self.ann_file.as_ref().filter(|it| !it.as_os_str().is_empty());
        (self.data_root.join(&self.data_prefix.ann), list.map(|it| self.data_root.join(it)))
    }

    /// Builds the pipeline and reads the annotations.
    ///
    /// # Errors
    /// When a transform cannot be built or the annotations cannot be read.
    pub fn open(&self) -> Result<FileDataset, BuildError> {
        self.shared().open(|| self.read())
    }

    fn read(&self) -> Result<Read, BuildError> {
        let (folder, list) = self.places();
        let key = if list.is_some() { "ann_file" } else { "data_prefix.ann" };
        let failed = |error: DataError| BuildError::new(error.to_string()).at(key);
        let paths = files(&folder, list.as_deref()).map_err(failed)?;
        let read: Vec<_> = paths.par_iter().map(|it| read(&it.path)).collect();
        let read = read.into_iter().collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let mut metainfo = self.metainfo.clone();
        if metainfo.classes.is_empty() {
            let shapes = read.iter().flat_map(|it| &it.shapes).filter_map(|it| it.value.as_ref().ok());
            metainfo.classes = shapes.map(|it| it.label.clone()).collect::<BTreeSet<_>>().into_iter().collect();
            tracing::info!("{}: classes {}", folder.display(), metainfo.classes.join(", "));
        }
        let labels: HashMap<_, _> = (0..).zip(&metainfo.classes).map(|(label, name)| (name.as_str(), label)).collect();
        let (mut faults, mut records) = (Faults::default(), Vec::with_capacity(read.len()));
        for ((img_id, json), file) in (0..).zip(&paths).zip(&read) {
            let mut instances = Vec::new();
            for object in objects(file) {
                let object = object.map_err(|(line, reason)| {
                    failed(DataError::annotation(&json.path, format_args!("line {line}"), reason))
                })?;
                let at = || format!("{}:{}", json.path.display(), object.line);
                let Some(&label) = labels.get(object.label.as_str()) else { continue };
                let Some([x1, y1, x2, y2]) = object.edges else {
                    faults.add("that are points or lines", at());
                    continue;
                };
                let bbox = BBox::new(x1 as f32, y1 as f32, x2 as f32, y2 as f32);
                match box_fault(bbox, file.shape) {
                    Some(reason) => faults.add(reason, at()),
                    None => instances.push(Instance { bbox, label, ignore: object.difficult || object.crowd }),
                }
            }
            records.push(Record { img_id, path: picture(&json.path, file), shape: file.shape, instances });
        }
        faults.report(&folder);
        Ok(Read { records, metainfo, ann_file: None })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder of these files; yields classes, and label, box and flag of each picture's objects, or the error.
    type Rows = (Vec<String>, Vec<Vec<(u32, [f32; 4], bool)>>);

    fn check(files: &[(&str, &str)], list: Option<&str>, wanted: &[&str]) -> Result<Rows, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("json")).unwrap();
        for (name, shapes) in files {
            let text = format!(
                "{{\"imagePath\": \"..\\\\pictures\\\\{name}.jpg\", \"imageHeight\": 40, \"imageWidth\": 50,\n\"shapes\": [\n{shapes}]}}"
            );
            fs::write(dir.path().join(format!("json/{name}.json")), text).unwrap();
        }
        fs::write(dir.path().join("list.txt"), list.unwrap_or_default()).unwrap();
        let config = Config {
            data_root: dir.path().into(),
            ann_file: list.map(|_| "list.txt".into()),
            data_prefix: DataPrefix { ann: "json".into() },
            metainfo: MetaInfo { classes: wanted.iter().map(|it| (*it).to_owned()).collect(), palette: Vec::new() },
            ..Config::default()
        };
        let error = |it: BuildError| it.to_string().replace(&dir.path().display().to_string(), "");
        let dataset = config.open().map_err(error)?;
        for record in dataset.records() {
            assert_eq!(record.path.parent().unwrap(), dir.path().join("json/../pictures"));
            assert_eq!(record.shape, (40, 50));
        }
        let boxes = |it: &Record| it.instances.iter().map(|it| (it.label, it.bbox.xyxy(), it.ignore)).collect();
        Ok((crate::DatasetSource::metainfo(&dataset).classes.clone(), dataset.records().iter().map(boxes).collect()))
    }

    const CAT: &str = r#"{"label": "cat", "points": [[10, 20], [3, 5]], "shape_type": "rectangle"}"#;

    #[test]
    fn shapes_become_boxes_and_groups_one_object() {
        let group = r#"{"label": "dog", "points": [[0, 0], [4, 0], [2, 6]], "shape_type": "polygon", "group_id": 1},
            {"label": "dog", "points": [[20, 20], [30, 39]], "shape_type": "rectangle", "group_id": 1},
            {"label": "ant", "points": [[20, 20], [30, 39]], "shape_type": "rectangle", "flags": {"difficult": true}},
            {"label": "ant", "points": [[20, 20]], "shape_type": "point"}"#;
        let (names, boxes) = check(&[("a", CAT), ("b", group)], None, &[]).unwrap();
        assert_eq!(names, ["ant", "cat", "dog"]);
        let dog = (2, [0.0, 0.0, 30.0, 39.0], false);
        assert_eq!(boxes, [vec![(1, [3.0, 5.0, 10.0, 20.0], false)], vec![dog, (0, [20.0, 20.0, 30.0, 39.0], true)]]);
        let (_, boxes) = check(&[("a", CAT), ("b", group)], Some("b.json\na\n"), &["cat"]).unwrap();
        assert_eq!(boxes, [vec![], vec![(0, [3.0, 5.0, 10.0, 20.0], false)]]);
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let error = check(&[("a", &format!("{CAT},\n{{\"label\": 3}}"))], None, &[]).unwrap_err();
        assert!(error.starts_with("data_prefix.ann: /json/a.json: line 4: a shape: invalid type"), "{error}");
        let error = check(&[("a", "[")], None, &[]).unwrap_err();
        assert!(error.starts_with("data_prefix.ann: /json/a.json: line 3, column"), "{error}");
        let error = check(&[("a", CAT)], Some("q"), &[]).unwrap_err();
        assert!(error.starts_with("ann_file: /json/q.json: No such file"), "{error}");
    }
}
