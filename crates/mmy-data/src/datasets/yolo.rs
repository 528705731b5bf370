//! `YOLOv5TxtDataset`: pictures with YOLO's text annotations.

use std::{path::PathBuf, sync::Arc};

use mmy_registry::{Build, BuildError, Outline, Reads, inventory, register};
use mmy_structures::Instance;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FileDataset, MetaInfo, Record,
    faults::{Faults, box_fault},
    shared::{Read, classes, file_config},
    yolo_files::{Layout, Txt},
};
use crate::{
    Annotations, DataError, Dataset, DatasetOutline, DatasetSource,
    check::{self, Inspectable, Inspection, Opened},
};

file_config! {
    /// Pictures with YOLO's text annotations: a `data.yaml` that names classes and splits, and beside each picture, or in
    /// `labels` where its path has `images`, a text with a line for each object.
    ///
    /// A line is the class's number, then centre, width and height in parts of the picture's, or the corners of a polygon,
    /// of which the box is learnt. A picture without a text has no objects. Lines that stand there twice, of unknown
    /// classes, or with numbers that do not lie between 0 and 1, are left out and told.
    #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    pub struct Config {
        /// Folder in front of `ann_file`.
        pub data_root: PathBuf,
        /// The file that names classes and splits.
        pub ann_file: PathBuf,
        /// Which of its splits: `train`, `val` or `test`.
        pub split: String,
        /// Class names and colours; the classes of `ann_file`, in its order, when none are given.
        pub metainfo: MetaInfo,
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_root: PathBuf::new(),
            ann_file: "data.yaml".into(),
            split: "train".into(),
            metainfo: MetaInfo::default(),
            filter_cfg: Default::default(),
            batch_shapes_cfg: None,
            test_mode: false,
            indices: None,
            pipeline: Vec::new(),
        }
    }
}

register!(Dataset, "YOLOv5TxtDataset", Config);
inventory::submit! { Inspection::new::<Config>("YOLOv5TxtDataset") }

impl Build<Dataset> for Config {
    fn build(&self, (): ()) -> Result<Arc<dyn DatasetSource>, BuildError> {
        Ok(Arc::new(self.open()?))
    }

    fn outline(&self) -> Outline {
        let ann_file = self.data_root.join(&self.ann_file);
        let root = Some(self.data_root.clone());
        super::outline(self.test_mode, self.shared().check())
            .reads(Reads { key: "ann_file", path: ann_file.clone(), folder: false, root })
            .fact(DatasetOutline {
                classes: self.metainfo.classes.clone(),
                classes_key: "metainfo.classes".into(),
                pipeline_key: "pipeline".into(),
                annotations: Annotations::Yolo { ann_file, split: self.split.clone() },
            })
    }
}

impl Inspectable for Config {
    fn inspection(&self) -> Opened {
        self.shared().check()?;
        Ok(vec![Box::new(check::Yolo {
            ann_file: self.data_root.join(&self.ann_file),
            split: self.split.clone(),
            wanted: self.metainfo.clone(),
        })])
    }
}

impl Config {
    /// Builds the pipeline and reads the annotations, and of each picture the head, which has its size.
    ///
    /// # Errors
    /// When a transform cannot be built or the annotations cannot be read.
    pub fn open(&self) -> Result<FileDataset, BuildError> {
        self.shared().open(|| self.read())
    }

    fn read(&self) -> Result<Read, BuildError> {
        let ann_file = self.data_root.join(&self.ann_file);
        let failed = |error: DataError| BuildError::new(error.to_string()).at("ann_file");
        let layout = Layout::read(&ann_file).map_err(failed)?;
        let pictures = layout.pictures(&self.split).map_err(|it| BuildError::new(it.to_string()).at("split"))?;
        let metainfo = classes(&ann_file, layout.names.clone(), &self.metainfo).map_err(failed)?;
        let place = |name: &String| metainfo.classes.iter().position(|it| it == name).map(|it| it as u32);
        let labels: Vec<_> = layout.names.iter().map(place).collect();
        let texts: Vec<_> = pictures.par_iter().map(|it| Txt::of(&it.path)).collect();
        let (mut faults, mut records) = (Faults::default(), Vec::with_capacity(pictures.len()));
        for ((img_id, picture), txt) in (0..).zip(pictures).zip(texts) {
            let mut record = Record { img_id, path: picture.path, shape: (0, 0), instances: Vec::new() };
            // Of a picture that cannot be read nothing can be learnt, and the loader tells why once it is its turn.
            record.shape = txt.shape.unwrap_or_default();
            let mut seen = Vec::new();
            for label in txt.labels.map_err(failed)? {
                let label = label.map_err(|it| failed(DataError::annotation(&txt.path, it.place(), it.reason)))?;
                let at = || format!("{}:{}", txt.path.display(), label.line);
                let fault = match labels.get(label.class) {
                    _ if !label.outline.is_normal() => Some("with numbers outside of 0 to 1"),
                    None => Some("of a class that is not there"),
                    Some(None) => continue,
                    Some(Some(_)) if seen.contains(&(label.class, label.outline.clone())) => Some("there twice"),
                    Some(Some(class)) if record.shape != (0, 0) => {
                        let bbox = Txt::bbox(&label.outline, record.shape);
                        let fault = box_fault(bbox, record.shape);
                        if fault.is_none() {
                            record.instances.push(Instance { bbox, label: *class, ignore: false });
                        }
                        fault
                    }
                    Some(Some(_)) => None,
                };
                if let Some(reason) = fault {
                    faults.add(reason, at());
                }
                seen.push((label.class, label.outline));
            }
            records.push(record);
        }
        faults.report(&ann_file);
        Ok(Read { records, metainfo, ann_file: None })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

    use super::*;

    fn png(path: &Path, width: u32, height: u32) {
        let mut bytes = Vec::new();
        let pixels = vec![7; (width * height) as usize];
        PngEncoder::new(&mut bytes).write_image(&pixels, width, height, ExtendedColorType::L8).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Classes, and label and box of each picture's objects.
    type Rows = (Vec<String>, Vec<Vec<(u32, [f32; 4])>>);

    /// A data set of pictures of 50 × 40 with these texts; yields classes and objects, or the error.
    fn check(yaml: &str, texts: &[(&str, &str)], split: &str, wanted: &[&str]) -> Result<Rows, String> {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["images/train", "labels/train"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for (name, text) in texts {
            png(&dir.path().join(format!("images/train/{name}.png")), 50, 40);
            if !text.is_empty() {
                fs::write(dir.path().join(format!("labels/train/{name}.txt")), text).unwrap();
            }
        }
        fs::write(dir.path().join("list.txt"), "./images/train/b.png\n\nimages/train/a.png\n").unwrap();
        fs::write(dir.path().join("data.yaml"), yaml).unwrap();
        let config = Config {
            data_root: dir.path().into(),
            split: split.into(),
            metainfo: MetaInfo { classes: wanted.iter().map(|it| (*it).to_owned()).collect(), palette: Vec::new() },
            ..Config::default()
        };
        let error = |it: BuildError| it.to_string().replace(&dir.path().display().to_string(), "");
        let dataset = config.open().map_err(error)?;
        assert!(dataset.records().iter().all(|it| it.shape == (40, 50)));
        let boxes = |it: &Record| it.instances.iter().map(|it| (it.label, it.bbox.xyxy())).collect();
        Ok((dataset.metainfo().classes.clone(), dataset.records().iter().map(boxes).collect()))
    }

    const YAML: &str = "path: .\ntrain: images/train\nval: list.txt\nnames: [cat, dog]\n";

    #[test]
    fn boxes_in_pixels_and_classes_by_name() {
        let texts = [("a", "1 0.5 0.5 0.5 0.25\n0 0 0 0.2 0 0.2 0.5\n"), ("b", "")];
        let boxes = vec![vec![(1, [12.5, 15.0, 37.5, 25.0]), (0, [0.0, 0.0, 10.0, 20.0])], vec![]];
        let names = ["cat", "dog"].map(str::to_owned).to_vec();
        assert_eq!(check(YAML, &texts, "train", &[]).unwrap(), (names.clone(), boxes));
        // A list has the order of its lines, and a wanted class its own number.
        let (_, boxes) = check(YAML, &texts, "val", &["dog"]).unwrap();
        assert_eq!(boxes, [vec![], vec![(0, [12.5, 15.0, 37.5, 25.0])]]);
        // Where a split is named as if the file lay one folder deeper, as some writers have it.
        assert_eq!(check("train: ../images/train\nnc: 2\nnames: [cat, dog]", &texts, "train", &[]).unwrap().0, names);
    }

    #[test]
    fn what_cannot_be_learnt_from_is_left_out() {
        let text = "0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5\n2 0.5 0.5 0.5 0.5\n0 25 20 10 10\n0 0.5 0.5 0 0.5\n0 nan 0.5 0.5 0.5";
        assert_eq!(check(YAML, &[("a", text)], "train", &[]).unwrap().1[0].len(), 1);
    }

    #[test]
    fn errors_name_file_line_and_column() {
        let texts = [("a", "0 0.5 0.5 0.5 0.5\n0 0.5 0.5 x 0.5")];
        let error = check(YAML, &texts, "train", &[]).unwrap_err();
        assert_eq!(error, "ann_file: /labels/train/a.txt: line 2, column 11: `x` is not a number");
        let error = check(YAML, &texts, "test", &[]).unwrap_err();
        assert_eq!(error, "split: /data.yaml: there is no split `test`; there are train, val");
        assert!(check("names: [a", &texts, "train", &[]).unwrap_err().starts_with("ann_file: /data.yaml: line "));
        let error = check("train: none\nnames: [cat]", &texts, "train", &[]).unwrap_err();
        assert!(error.starts_with("split: /none: No such file"), "{error}");
        assert!(check(YAML, &texts, "train", &["emu"]).unwrap_err().contains("has no category `emu`"));
    }
}
