//! `YOLOv5CocoDataset`: pictures with a COCO annotation file.

use std::{path::PathBuf, sync::Arc};

use mmy_registry::{Build, BuildError, Outline, Reads, inventory, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FileDataset, MetaInfo, coco_json,
    shared::{Read, file_config},
};
use crate::{
    Annotations, Dataset, DatasetOutline, DatasetSource,
    check::{self, Inspectable, Inspection, Opened},
};

file_config! {
    /// Pictures with a COCO annotation file.
    ///
    /// Boxes without area, smaller than a pixel, outside of their picture or with coordinates that are no numbers are left
    /// out and told, as are annotations of unknown images and categories.
    #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    pub struct Config {
        /// Folder in front of `ann_file` and `data_prefix`.
        pub data_root: PathBuf,
        /// The annotation file (JSON).
        pub ann_file: PathBuf,
        /// Where the pictures are.
        pub data_prefix: DataPrefix,
        /// Class names and colours; the annotation file's own classes, in its order, when none are given.
        pub metainfo: MetaInfo,
    }
}

/// Folders below `data_root`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataPrefix {
    /// The folder of the pictures.
    pub img: PathBuf,
}

register!(Dataset, "YOLOv5CocoDataset", Config);
inventory::submit! { Inspection::new::<Config>("YOLOv5CocoDataset") }

impl Build<Dataset> for Config {
    fn build(&self, (): ()) -> Result<Arc<dyn DatasetSource>, BuildError> {
        Ok(Arc::new(self.open()?))
    }

    fn outline(&self) -> Outline {
        let (ann_file, folder) = (self.data_root.join(&self.ann_file), self.data_root.join(&self.data_prefix.img));
        let root = Some(self.data_root.clone());
        super::outline(self.test_mode, self.shared().check())
            .reads(Reads { key: "ann_file", path: ann_file.clone(), folder: false, root: root.clone() })
            .reads(Reads { key: "data_prefix.img", path: folder, folder: true, root })
            .fact(DatasetOutline {
                classes: self.metainfo.classes.clone(),
                classes_key: "metainfo.classes".into(),
                pipeline_key: "pipeline".into(),
                annotations: Annotations::Coco(ann_file),
            })
    }
}

impl Inspectable for Config {
    fn inspection(&self) -> Opened {
        self.shared().check()?;
        Ok(vec![Box::new(check::Coco {
            ann_file: self.data_root.join(&self.ann_file),
            folder: self.data_root.join(&self.data_prefix.img),
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
        let ann_file = self.data_root.join(&self.ann_file);
        let folder = self.data_root.join(&self.data_prefix.img);
        self.shared().open(|| {
            let (records, metainfo) = coco_json::read(&ann_file, &folder, &self.metainfo)
                .map_err(|error| BuildError::new(error.to_string()).at("ann_file"))?;
            FileDataset::folder(&folder).map_err(|error| error.at("data_prefix.img"))?;
            Ok(Read { records, metainfo, ann_file: Some(ann_file.clone()) })
        })
    }
}
