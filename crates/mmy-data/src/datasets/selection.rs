//! The pictures of a data set, some of them several times.

use std::{path::Path, sync::Arc};

use mmy_registry::{Outline, Slot};
use mmy_structures::{ImageMeta, Instance, Sample};

use crate::{Annotations, Buffers, DataError, Dataset, DatasetOutline, DatasetSource, Draw, MetaInfo, Pipeline, Watch};

/// Pictures of a data set by their indices in it. A picture that is there several times is drawn anew each time, since what
/// is drawn depends on the index that was asked for.
pub(super) struct Selection {
    pub(super) source: Arc<dyn DatasetSource>,
    pub(super) indices: Arc<[usize]>,
}

impl DatasetSource for Selection {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn metainfo(&self) -> &MetaInfo {
        self.source.metainfo()
    }

    fn test_mode(&self) -> bool {
        self.source.test_mode()
    }

    fn ann_file(&self) -> Option<&Path> {
        self.source.ann_file()
    }

    fn meta(&self, index: usize) -> ImageMeta {
        self.source.meta(self.indices[index])
    }

    fn ground_truth(&self, index: usize) -> &[Instance] {
        self.source.ground_truth(self.indices[index])
    }

    fn watched(
        &self,
        index: usize,
        draw: Draw,
        buffers: &mut Buffers,
        watch: Watch<'_>,
    ) -> Result<Option<Sample>, DataError> {
        self.source.watched(self.indices[index], draw, buffers, watch)
    }

    fn with_pipeline(&self, pipeline: Pipeline) -> Option<Arc<dyn DatasetSource>> {
        let source = self.source.with_pipeline(pipeline)?;
        Some(Arc::new(Selection { source, indices: self.indices.clone() }))
    }
}

/// What a data set around another one says of itself: what the other one says, `times` over.
pub(super) fn outline(dataset: &Slot<Dataset>, times: Option<usize>) -> Outline {
    match dataset.outline().get::<DatasetOutline>() {
        Some(inner) => Outline::default().fact(DatasetOutline {
            classes: inner.classes.clone(),
            classes_key: format!("dataset.{}", inner.classes_key),
            pipeline_key: format!("dataset.{}", inner.pipeline_key),
            annotations: match times {
                Some(1) => inner.annotations.clone(),
                _ => Annotations::Repeated(Box::new(inner.annotations.clone()), times),
            },
        }),
        None => Outline::default(),
    }
}

/// A data set for tests: so many pictures of shapes, 40 wide and 30 high, without any object of the class `star` but in
/// the first picture.
#[cfg(test)]
pub(super) mod testing {
    use std::path::PathBuf;

    use mmy_structures::{BBox, Instance};
    use serde_json::json;

    use super::*;
    use crate::{FileDataset, Record};

    /// Records with these labels, in files that are not there.
    pub(in crate::datasets) fn records(labels: &[&[u32]]) -> Vec<Record> {
        let instance = |label: &u32| Instance { bbox: BBox::new(1.0, 1.0, 9.0, 9.0), label: *label, ignore: false };
        let record = |(img_id, labels): (i64, &&[u32])| Record {
            img_id,
            path: PathBuf::from(format!("{img_id}.png")),
            shape: (30, 40),
            instances: labels.iter().map(instance).collect(),
        };
        (0..).zip(labels).map(record).collect()
    }

    /// A data set of records with these labels and no pipeline.
    pub(in crate::datasets) fn dataset(labels: &[&[u32]], test_mode: bool) -> Arc<dyn DatasetSource> {
        let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
        let metainfo = MetaInfo { classes, palette: Vec::new() };
        Arc::new(FileDataset::new(records(labels), metainfo, Pipeline::build(&[]).unwrap(), test_mode))
    }

    /// The config of a small data set of shapes below a folder.
    pub(in crate::datasets) fn shapes(dir: &Path, pipeline: serde_json::Value) -> serde_json::Value {
        json!({
            "type": "ShapesDataset", "data_root": dir.join("shapes"), "pipeline": pipeline,
            "shapes": { "train": 6, "val": 3, "image_size": [64, 48] },
        })
    }
}
