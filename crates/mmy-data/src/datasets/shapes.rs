//! `ShapesDataset`: the synthetic data set, made on first use.

use std::{path::PathBuf, sync::Arc, time::Instant};

use mmy_registry::{Build, BuildError, Outline, inventory, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FilterConfig, MetaInfo, coco, shared::file_config};
use crate::{
    Annotations, Dataset, DatasetOutline, DatasetSource, Pipeline, ShapesConfig, ShapesOutcome,
    check::{Inspectable, Inspection, Opened},
    make_shapes,
};

file_config! {
    /// Filled shapes on textured backgrounds, in COCO's format; the files are made on first use, in seconds.
    #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    pub struct Config {
        /// Folder of the files.
        pub data_root: PathBuf,
        /// Which part: to train on or to test on.
        pub split: Split,
        /// What the pictures look like; all loaders that share a folder must say the same.
        pub shapes: ShapesConfig,
        /// Class names and colours; the shapes' own when none are given.
        pub metainfo: MetaInfo,
    }
}

/// A part of the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// To train on.
    #[default]
    Train,
    /// To test on.
    Val,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_root: "data/shapes".into(),
            split: Split::Train,
            shapes: ShapesConfig::default(),
            metainfo: MetaInfo::default(),
            filter_cfg: FilterConfig::default(),
            batch_shapes_cfg: None,
            test_mode: false,
            indices: None,
            pipeline: Vec::new(),
        }
    }
}

register!(Dataset, "ShapesDataset", Config);
inventory::submit! { Inspection::new::<Config>("ShapesDataset") }

impl Build<Dataset> for Config {
    fn build(&self, (): ()) -> Result<Arc<dyn DatasetSource>, BuildError> {
        self.check()?;
        // What the config itself says wrong is told before seconds go into drawing.
        Pipeline::build(&self.pipeline)?;
        Ok(Arc::new(self.drawn()?.open()?))
    }

    fn outline(&self) -> Outline {
        let metainfo = self.shared().check();
        let own = self.metainfo.classes.is_empty();
        let names = self.shapes.classes.iter().filter_map(|it| serde_json::to_value(it).ok());
        let names = names.filter_map(|it| it.as_str().map(str::to_owned)).collect();
        super::outline(self.test_mode, metainfo.and(self.check())).fact(DatasetOutline {
            classes: if own { names } else { self.metainfo.classes.clone() },
            classes_key: if own { "shapes.classes" } else { "metainfo.classes" }.into(),
            pipeline_key: "pipeline".into(),
            annotations: Annotations::Made(match self.split {
                Split::Train => self.shapes.train,
                Split::Val => self.shapes.val,
            }),
        })
    }
}

impl Inspectable for Config {
    fn inspection(&self) -> Opened {
        self.check()?;
        self.drawn()?.inspection()
    }
}

impl Config {
    /// Draws the pictures unless they are there; yields the data set that they are.
    fn drawn(&self) -> Result<coco::Config, BuildError> {
        let start = Instant::now();
        let made = make_shapes(&self.data_root, &self.shapes, &|_, _| ())
            .map_err(|error| BuildError::new(error.to_string()).at("data_root"))?;
        if let ShapesOutcome::Made { objects } = made {
            tracing::info!(
                "{}: {} pictures of {objects} shapes have been drawn in {:.1} s",
                self.data_root.display(),
                self.shapes.train + self.shapes.val,
                start.elapsed().as_secs_f64(),
            );
        }
        let name = match self.split {
            Split::Train => "train",
            Split::Val => "val",
        };
        Ok(coco::Config {
            data_root: self.data_root.clone(),
            ann_file: format!("annotations/instances_{name}.json").into(),
            data_prefix: coco::DataPrefix { img: name.into() },
            metainfo: self.metainfo.clone(),
            filter_cfg: self.filter_cfg,
            batch_shapes_cfg: self.batch_shapes_cfg.clone(),
            test_mode: self.test_mode,
            indices: self.indices.clone(),
            pipeline: self.pipeline.clone(),
        })
    }

    fn check(&self) -> Result<(), BuildError> {
        self.shapes.check().map_err(|(key, reason)| BuildError::new(reason).at(key).at("shapes"))
    }
}
