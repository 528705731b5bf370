//! What all data sets of picture files share.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use mmy_registry::BuildError;
use mmy_structures::{ImageMeta, Instance, Sample};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BatchShaper, Buffers, Context, DataError, DatasetSource, Draw, Pipeline, Watch};

/// Class names and colours.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetaInfo {
    /// Class names; the place in the list is the class index.
    pub classes: Vec<String>,
    /// One colour for each class, as red, green, blue; may be empty.
    pub palette: Vec<[u8; 3]>,
}

impl MetaInfo {
    /// Whether names and colours fit together.
    ///
    /// # Errors
    /// When a class is there twice, or the colours are not as many as the classes.
    pub fn check(&self) -> Result<(), BuildError> {
        let mut seen = HashSet::new();
        if let Some(twice) = self.classes.iter().find(|it| !seen.insert(*it)) {
            return Err(BuildError::new(format!("the class `{twice}` is there twice")).at("classes"));
        }
        let (classes, colours) = (self.classes.len(), self.palette.len());
        if classes > 0 && colours > 0 && classes != colours {
            return Err(BuildError::new(format!("{colours} colours for {classes} classes")).at("palette"));
        }
        Ok(())
    }
}

/// One picture of a data set, as its annotations tell it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The data set's own number of the picture.
    pub img_id: i64,
    /// Its file.
    pub path: PathBuf,
    /// `(height, width)` as annotated; zeros where nothing is said.
    pub shape: (usize, usize),
    /// Its objects, in pixels of the stored picture.
    pub instances: Vec<Instance>,
}

/// Which pictures a data set leaves out when it is for training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FilterConfig {
    /// Leaves out pictures without an object to learn.
    pub filter_empty_gt: bool,
    /// Leaves out pictures with a side below this many pixels.
    pub min_size: usize,
}

impl FilterConfig {
    /// Whether a picture stays. Pictures whose size is not known pass `min_size`.
    pub fn keeps(&self, record: &Record) -> bool {
        let (height, width) = record.shape;
        let small = (height, width) != (0, 0) && height.min(width) < self.min_size;
        let empty = self.filter_empty_gt && record.instances.iter().all(|it| it.ignore);
        !small && !empty
    }
}

/// Pictures in files with their annotations in memory, and a pipeline: what every data set of this crate is once its
/// annotation file is read, and what a plain list of files is for prediction.
pub struct FileDataset {
    records: Arc<Vec<Record>>,
    batch_shapes: Vec<(usize, usize)>,
    metainfo: MetaInfo,
    pipeline: Pipeline,
    test_mode: bool,
    ann_file: Option<PathBuf>,
}

impl FileDataset {
    /// A data set of `records`.
    pub fn new(records: Vec<Record>, metainfo: MetaInfo, pipeline: Pipeline, test_mode: bool) -> Self {
        FileDataset {
            records: Arc::new(records),
            batch_shapes: Vec::new(),
            metainfo,
            pipeline,
            test_mode,
            ann_file: None,
        }
    }

    /// A data set of bare picture files, for prediction: no annotations, numbered from 0.
    pub fn of_files(paths: impl IntoIterator<Item = PathBuf>, pipeline: Pipeline) -> Self {
        let records =
            (0..).zip(paths).map(|(img_id, path)| Record { img_id, path, shape: (0, 0), instances: Vec::new() });
        FileDataset::new(records.collect(), MetaInfo::default(), pipeline, true)
    }

    /// Looks whether a folder of pictures is there, so that the first sample need not find out.
    ///
    /// # Errors
    /// When it is not there or is not a folder.
    pub fn folder(path: &Path) -> Result<(), BuildError> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match std::fs::metadata(path) {
            Ok(it) if it.is_dir() => Ok(()),
            Ok(_) => Err(BuildError::new(format!("{} is not a folder", path.display()))),
            Err(error) => Err(BuildError::new(DataError::io(path, error).to_string())),
        }
    }

    /// Names the annotation file.
    #[must_use]
    pub fn with_ann_file(mut self, path: PathBuf) -> Self {
        self.ann_file = Some(path);
        self
    }

    /// Leaves out what `filter` does not keep, unless the data set is for testing; then keeps only `indices` of what
    /// remains (a negative number counts from the end).
    ///
    /// # Errors
    /// When an index lies outside.
    pub fn filtered(mut self, filter: FilterConfig, indices: Option<&[i64]>) -> Result<Self, BuildError> {
        if !self.test_mode {
            self.tell_of_unused_classes();
            let before = self.records.len();
            Arc::make_mut(&mut self.records).retain(|it| filter.keeps(it));
            if self.records.len() < before {
                tracing::info!("{} of {before} pictures are left out by filter_cfg", before - self.records.len());
            }
        }
        if let Some(indices) = indices {
            let len = self.records.len();
            let place = |it: &i64| usize::try_from(if *it < 0 { it + len as i64 } else { *it }).ok();
            let chosen = indices.iter().map(|it| {
                let record = place(it).and_then(|at| self.records.get(at)).cloned();
                record.ok_or_else(|| BuildError::new(format!("{it} is outside of {len} pictures")).at("indices"))
            });
            self.records = Arc::new(chosen.collect::<Result<_, _>>()?);
        }
        Ok(self)
    }

    /// A class without an object is a name that is written otherwise in the annotations, as a rule.
    fn tell_of_unused_classes(&self) {
        let used: HashSet<_> = self.records.iter().flat_map(|it| &it.instances).map(|it| it.label as usize).collect();
        let unused = self.metainfo.classes.iter().enumerate().filter(|it| !used.contains(&it.0));
        let unused: Vec<_> = unused.map(|it| it.1.as_str()).collect();
        if !unused.is_empty() && !self.records.is_empty() {
            let file = self.ann_file.as_ref().map(|it| format!("{}: ", it.display())).unwrap_or_default();
            tracing::warn!("{file}no object is of the class `{}`", unused.join("`, `"));
        }
    }

    /// Sorts the pictures and gives each the shape of its batch.
    ///
    /// # Errors
    /// When the size of a picture is not known.
    pub fn with_batch_shapes(mut self, policy: &dyn BatchShaper) -> Result<Self, BuildError> {
        if let Some(unknown) = self.records.iter().find(|it| it.shape.0 == 0 || it.shape.1 == 0) {
            let message = format!("the annotations do not say the size of {}", unknown.path.display());
            return Err(BuildError::new(message).at("batch_shapes_cfg"));
        }
        let sizes: Vec<_> = self.records.iter().map(|it| it.shape).collect();
        let records = Arc::make_mut(&mut self.records);
        let mut unsorted: Vec<_> = std::mem::take(records).into_iter().map(Some).collect();
        for (index, shape) in policy.arrange(&sizes) {
            records.extend(unsorted[index].take());
            self.batch_shapes.push(shape);
        }
        Ok(self)
    }

    /// What is known of the pictures.
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}

impl DatasetSource for FileDataset {
    fn len(&self) -> usize {
        self.records.len()
    }

    fn metainfo(&self) -> &MetaInfo {
        &self.metainfo
    }

    fn test_mode(&self) -> bool {
        self.test_mode
    }

    fn ann_file(&self) -> Option<&Path> {
        self.ann_file.as_deref()
    }

    fn meta(&self, index: usize) -> ImageMeta {
        let record = &self.records[index];
        ImageMeta {
            img_id: record.img_id,
            img_path: record.path.clone(),
            ori_shape: record.shape,
            img_shape: record.shape,
            scale_factor: (1.0, 1.0),
            pad_param: [0.0; 4],
            batch_shape: self.batch_shapes.get(index).copied(),
        }
    }

    fn ground_truth(&self, index: usize) -> &[Instance] {
        &self.records[index].instances
    }

    fn watched(
        &self,
        index: usize,
        draw: Draw,
        buffers: &mut Buffers,
        watch: Watch<'_>,
    ) -> Result<Option<Sample>, DataError> {
        match self.start(index, draw, buffers)? {
            Some(sample) => self.pipeline.watched(sample, &mut Context { source: self, index, draw, buffers }, watch),
            None => Ok(None),
        }
    }

    fn with_pipeline(&self, pipeline: Pipeline) -> Option<Arc<dyn DatasetSource>> {
        Some(Arc::new(FileDataset {
            records: self.records.clone(),
            batch_shapes: self.batch_shapes.clone(),
            metainfo: self.metainfo.clone(),
            pipeline,
            test_mode: self.test_mode,
            ann_file: self.ann_file.clone(),
        }))
    }
}
