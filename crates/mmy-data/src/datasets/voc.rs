//! `YOLOv5VOCDataset`: pictures with Pascal VOC annotations.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use mmy_formats::voc::{self, Xml};
use mmy_registry::{Build, BuildError, Outline, Reads, inventory, register};
use mmy_structures::{BBox, Instance};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FileDataset, MetaInfo, Record,
    faults::{Faults, box_fault},
    shared::{Read, file_config},
};
use crate::{
    Annotations, DataError, Dataset, DatasetOutline, DatasetSource,
    check::{self, Inspectable, Inspection, Opened},
};

file_config! {
    /// Pictures with Pascal VOC annotations: one XML file each, and lists of names in `ImageSets/Main`.
    ///
    /// VOC counts pixels from 1 and includes the last one; as in MMDetection, 1 is taken off all four edges. Difficult
    /// objects are kept for evaluation and not trained on. Boxes without area are left out and told.
    #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    pub struct Config {
        /// Folder in front of `ann_file` and `data_prefix`.
        pub data_root: PathBuf,
        /// The list of names, such as `ImageSets/Main/trainval.txt`.
        pub ann_file: PathBuf,
        /// Where pictures and annotations are.
        pub data_prefix: DataPrefix,
        /// Class names and colours; the classes found in all annotation files, sorted, when none are given.
        pub metainfo: MetaInfo,
    }
}

/// Folders below `data_root`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataPrefix {
    /// The folder that holds the two others, such as `VOC2007`.
    pub sub_data_root: PathBuf,
    /// The folder of the pictures in it.
    pub img_subdir: PathBuf,
    /// The folder of the XML files in it.
    pub ann_subdir: PathBuf,
}

impl Default for DataPrefix {
    fn default() -> Self {
        DataPrefix { sub_data_root: "".into(), img_subdir: "JPEGImages".into(), ann_subdir: "Annotations".into() }
    }
}

register!(Dataset, "YOLOv5VOCDataset", Config);
inventory::submit! { Inspection::new::<Config>("YOLOv5VOCDataset") }

impl Build<Dataset> for Config {
    fn build(&self, (): ()) -> Result<Arc<dyn DatasetSource>, BuildError> {
        Ok(Arc::new(self.open()?))
    }

    fn outline(&self) -> Outline {
        let (split, root) = (self.data_root.join(&self.ann_file), self.data_root.join(&self.data_prefix.sub_data_root));
        let (pictures, folder) = (root.join(&self.data_prefix.img_subdir), root.join(&self.data_prefix.ann_subdir));
        let root = Some(self.data_root.clone());
        super::outline(self.test_mode, self.shared().check())
            .reads(Reads { key: "ann_file", path: split.clone(), folder: false, root: root.clone() })
            .reads(Reads { key: "data_prefix.img_subdir", path: pictures, folder: true, root: root.clone() })
            .reads(Reads { key: "data_prefix.ann_subdir", path: folder.clone(), folder: true, root })
            .fact(DatasetOutline {
                classes: self.metainfo.classes.clone(),
                classes_key: "metainfo.classes".into(),
                pipeline_key: "pipeline".into(),
                annotations: Annotations::Voc { split, folder },
            })
    }
}

impl Inspectable for Config {
    fn inspection(&self) -> Opened {
        self.shared().check()?;
        let root = self.data_root.join(&self.data_prefix.sub_data_root);
        Ok(vec![Box::new(check::Voc {
            split: self.data_root.join(&self.ann_file),
            pictures: root.join(&self.data_prefix.img_subdir),
            annotations: root.join(&self.data_prefix.ann_subdir),
            wanted: self.metainfo.clone(),
        })])
    }
}

impl Config {
    /// Builds the pipeline and reads the annotations.
    ///
    /// # Errors
    /// When a transform cannot be built or the annotations cannot be read.
    pub fn open(&self) -> Result<FileDataset, BuildError> {
        self.shared().open(|| self.read())
    }

    fn read(&self) -> Result<Read, BuildError> {
        let split = self.data_root.join(&self.ann_file);
        let root = self.data_root.join(&self.data_prefix.sub_data_root);
        let (pictures, annotations) =
            (root.join(&self.data_prefix.img_subdir), root.join(&self.data_prefix.ann_subdir));
        FileDataset::folder(&pictures).map_err(|error| error.at("data_prefix.img_subdir"))?;
        FileDataset::folder(&annotations).map_err(|error| error.at("data_prefix.ann_subdir"))?;
        let failed = |error: DataError| BuildError::new(error.to_string()).at("ann_file");
        let names = fs::read_to_string(&split).map_err(|error| failed(DataError::io(&split, error)))?;
        let names: Vec<_> = names.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
        let mut metainfo = self.metainfo.clone();
        if metainfo.classes.is_empty() {
            metainfo.classes = classes(&annotations).map_err(failed)?;
            tracing::info!("{}: classes {}", annotations.display(), metainfo.classes.join(", "));
        }
        let labels: HashMap<_, _> = (0..).zip(&metainfo.classes).map(|(label, name)| (name.as_str(), label)).collect();
        let xmls: Vec<_> = names.par_iter().map(|name| read(&annotations.join(format!("{name}.xml")))).collect();
        let (mut faults, mut records) = (Faults::default(), Vec::with_capacity(names.len()));
        for ((img_id, name), xml) in (0..).zip(names).zip(xmls) {
            let xml = xml.map_err(failed)?;
            let path = picture(&pictures, name, xml.filename.as_deref());
            let shape = xml.shape;
            let mut instances = Vec::with_capacity(xml.objects.len());
            for object in xml.objects {
                let object = object.map_err(|fault| {
                    let path = annotations.join(format!("{name}.xml"));
                    failed(DataError::annotation(path, fault.place(), fault.reason))
                })?;
                let Some(&label) = labels.get(object.name.as_str()) else { continue };
                let bbox = bbox(&object);
                match box_fault(bbox, shape) {
                    Some(reason) => faults.add(reason, format_args!("{name}.xml:{}", object.line)),
                    None => instances.push(Instance { bbox, label, ignore: object.difficult }),
                }
            }
            records.push(Record { img_id, path, shape, instances });
        }
        faults.report(&split);
        Ok(Read { records, metainfo, ann_file: None })
    }
}

/// `NAME.jpg`, or the ending that the annotation's own file name has where there is no such file.
pub(crate) fn picture(folder: &Path, name: &str, filename: Option<&str>) -> PathBuf {
    let jpg = folder.join(format!("{name}.jpg"));
    let extension = filename.and_then(|it| Path::new(it).extension());
    match extension {
        Some(extension) if !jpg.exists() => {
            let mut other = folder.join(name).into_os_string();
            other.push(".");
            other.push(extension);
            other.into()
        }
        _ => jpg,
    }
}

/// The names of all objects in all XML files of a folder, sorted: the same for each split.
fn classes(folder: &Path) -> Result<Vec<String>, DataError> {
    let entries = fs::read_dir(folder).map_err(|error| DataError::io(folder, error))?;
    let files: Vec<_> = entries
        .filter_map(|it| it.ok().map(|it| it.path()).filter(|it| it.extension().is_some_and(|it| it == "xml")))
        .collect();
    // A broken file that no split names is none of our business.
    let names = files.par_iter().filter_map(|it| read(it).ok()).flat_map_iter(|it| it.objects.into_iter().flatten());
    Ok(names.map(|it| it.name).collect::<BTreeSet<_>>().into_iter().collect())
}

/// The annotations of one picture.
fn read(path: &Path) -> Result<Xml, DataError> {
    let text = fs::read_to_string(path).map_err(|error| DataError::io(path, error))?;
    voc::parse(&text).map_err(|fault| DataError::annotation(path, fault.place(), fault.reason))
}

/// A box from 0, with its end excluded. As MMDetection: fractions are cut off, then 1 is taken off all four edges.
pub(crate) fn bbox(object: &voc::Object) -> BBox {
    let [x1, y1, x2, y2] = object.edges.map(|it| it.trunc() as f32 - 1.0);
    BBox::new(x1, y1, x2, y2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, difficult: u8, edges: [&str; 4]) -> String {
        let [x1, y1, x2, y2] = edges;
        format!(
            "<object><name>{name}</name><difficult>{difficult}</difficult>\n<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>\
             <xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>\n"
        )
    }

    /// Classes, and the boxes of each picture.
    type Read = (Vec<String>, Vec<Vec<[f32; 4]>>);

    /// A data set of the XML files given as (name, objects); yields classes and boxes, or the error.
    fn check(files: &[(&str, String)], split: &str, classes: &[&str]) -> Result<Read, String> {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["JPEGImages", "Annotations", "ImageSets/Main"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for (name, objects) in files {
            let text = format!(
                "<annotation>\n<filename>{name}.png</filename>\n<size><width>50</width><height>40</height></size>\n{objects}</annotation>"
            );
            fs::write(dir.path().join(format!("Annotations/{name}.xml")), text).unwrap();
        }
        fs::write(dir.path().join("ImageSets/Main/train.txt"), split).unwrap();
        let config = Config {
            data_root: dir.path().into(),
            ann_file: "ImageSets/Main/train.txt".into(),
            metainfo: MetaInfo { classes: classes.iter().map(|it| (*it).to_owned()).collect(), palette: Vec::new() },
            ..Config::default()
        };
        let error = |it: BuildError| it.to_string().replace(&dir.path().display().to_string(), "");
        let dataset = config.open().map_err(error)?;
        assert!(dataset.records().iter().all(|it| it.path.extension().unwrap() == "png" && it.shape == (40, 50)));
        let boxes = |it: &Record| it.instances.iter().map(|it| it.bbox.xyxy()).collect();
        Ok((dataset.metainfo().classes.clone(), dataset.records().iter().map(boxes).collect()))
    }

    #[test]
    fn boxes_from_one_become_boxes_from_zero_and_classes_are_found() {
        let files = [
            ("a", object("dog", 0, ["1", "2", "10.9", "20"]) + &object("cat", 1, ["5", "5", "9", "9"])),
            ("b", object("dog", 0, ["7", "7", "7", "9"])),
            ("c", object("ant", 0, ["1", "1", "9", "9"])),
        ];
        let boxes = vec![vec![[0.0, 1.0, 9.0, 19.0], [4.0, 4.0, 8.0, 8.0]], vec![]];
        let names = ["ant", "cat", "dog"].map(str::to_owned).to_vec();
        assert_eq!(check(&files, "a\n\nb \n", &[]).unwrap(), (names, boxes));
        let (_, boxes) = check(&files, "c\na", &["cat"]).unwrap();
        assert_eq!(boxes, [vec![], vec![[4.0, 4.0, 8.0, 8.0]]]);
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let bad = [("a", object("dog", 0, ["1", "x", "10", "20"]))];
        assert_eq!(check(&bad, "a", &[]).unwrap_err(), "ann_file: /Annotations/a.xml: line 4: `ymin` is not a number");
        assert!(check(&bad, "q", &[]).unwrap_err().starts_with("ann_file: /Annotations/q.xml: No such file"));
        let torn = [("a", "<object>".to_owned())];
        assert!(check(&torn, "a", &[]).unwrap_err().starts_with("ann_file: /Annotations/a.xml: line 4, column"));
    }
}
