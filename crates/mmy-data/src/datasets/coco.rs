//! `YOLOv5CocoDataset`: pictures with a COCO annotation file.

use std::{path::PathBuf, sync::Arc};

use mmy_registry::{Build, BuildError, Outline, Reads, Slot, inventory, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FileDataset, FilterConfig, MetaInfo, coco_json};
use crate::{
    Annotations, BatchShapes, Dataset, DatasetOutline, DatasetSource, Pipeline, Transform,
    check::{self, Inspect, Inspectable, Inspection},
};

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
    /// Which pictures are left out in training; none when testing.
    pub filter_cfg: FilterConfig,
    /// Gives each picture the shape of its batch, for testing.
    pub batch_shapes_cfg: Option<Slot<BatchShapes>>,
    /// Whether the samples are for testing: all of them, none redrawn.
    pub test_mode: bool,
    /// Uses only these pictures, by index; negative ones count from the end.
    pub indices: Option<Vec<i64>>,
    /// What is done to each sample.
    pub pipeline: Vec<Slot<Transform>>,
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
        super::outline(self.test_mode, self.metainfo.check().map_err(|it| it.at("metainfo")))
            .reads(Reads { key: "ann_file", path: ann_file.clone(), folder: false, root: root.clone() })
            .reads(Reads { key: "data_prefix.img", path: folder, folder: true, root })
            .fact(DatasetOutline {
                classes: self.metainfo.classes.clone(),
                classes_key: "metainfo.classes",
                annotations: Annotations::Coco(ann_file),
            })
    }
}

impl Inspectable for Config {
    fn inspection(&self) -> Result<Box<dyn Inspect>, BuildError> {
        self.metainfo.check().map_err(|error| error.at("metainfo"))?;
        Ok(Box::new(check::Coco {
            ann_file: self.data_root.join(&self.ann_file),
            folder: self.data_root.join(&self.data_prefix.img),
            wanted: self.metainfo.clone(),
        }))
    }
}

impl Config {
    /// Builds the pipeline and reads the annotations.
    ///
    /// # Errors
    /// When a transform cannot be built or the annotations cannot be read.
    pub fn open(&self) -> Result<FileDataset, BuildError> {
        self.metainfo.check().map_err(|error| error.at("metainfo"))?;
        let pipeline = Pipeline::build(&self.pipeline)?;
        let shapes = self.batch_shapes_cfg.as_ref().map(|it| it.build(())).transpose()?;
        let ann_file = self.data_root.join(&self.ann_file);
        let folder = self.data_root.join(&self.data_prefix.img);
        let (records, metainfo) = coco_json::read(&ann_file, &folder, &self.metainfo)
            .map_err(|error| BuildError::new(error.to_string()).at("ann_file"))?;
        FileDataset::folder(&folder).map_err(|error| error.at("data_prefix.img"))?;
        let dataset = FileDataset::new(records, metainfo, pipeline, self.test_mode)
            .with_ann_file(ann_file)
            .filtered(self.filter_cfg, self.indices.as_deref())?;
        match shapes {
            Some(policy) => dataset.with_batch_shapes(&*policy),
            None => Ok(dataset),
        }
    }
}
