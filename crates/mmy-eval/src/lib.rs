//! What becomes of detections: metrics over a data set, tables, pictures with boxes, and prediction files.
//!
//! A metric is a registered part of the kind [`Metric`]. The validation and test loops hand it every batch and ask for
//! the numbers at the end; [`coco_metric`] and [`voc_metric`] are those of detectors, [`picture_accuracy`] that of
//! classifiers. [`draw`] and [`predictions`] serve `mmy predict`.

pub mod coco_metric;
pub mod draw;
pub mod picture_accuracy;
pub mod predictions;
mod table;
pub mod voc_metric;

use std::{io, path::PathBuf};

use mmy_registry::Kind;
use mmy_structures::{Detections, ImageMeta, Instance};

pub use table::{Row, Table};

/// The family of metrics, `val_evaluator` and `test_evaluator` of a config.
pub struct Metric;

impl Kind for Metric {
    const NAME: &'static str = "metric";
    type Args<'a> = MetricArgs<'a>;
    type Output = Box<dyn MetricSink>;
}

/// What a metric is built from besides its own config.
#[derive(Debug, Clone, Copy)]
pub struct MetricArgs<'a> {
    /// Class names of the data set (`metainfo.classes`); a label is an index into them.
    pub classes: &'a [String],
}

/// A metric that collects results picture by picture and turns them into numbers at the end.
pub trait MetricSink: Send {
    /// Takes the results of one batch. The three slices run in parallel, one element for each picture; detections and
    /// ground truth are in pixels of the stored picture. A metric that reads its own ground truth takes an empty
    /// `ground_truth`.
    fn process(&mut self, metas: &[ImageMeta], detections: &[Detections], ground_truth: &[Vec<Instance>]);

    /// The numbers over everything processed since the last call, and a fresh start for the next round.
    ///
    /// # Errors
    /// When ground truth is missing or does not belong to the pictures, or a result file cannot be written.
    fn evaluate(&mut self) -> Result<Evaluation, EvalError>;
}

/// What a metric found.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct Evaluation {
    /// Names with their prefix (`coco/bbox_mAP`) and values in full precision, the headline number first.
    pub values: Vec<(String, f64)>,
    /// The numbers class by class, for the terminal; a loop that validates often may leave it unprinted.
    pub table: Option<Table>,
}

impl Evaluation {
    /// The value called `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(it, _)| it == name).map(|(_, value)| *value)
    }
}

/// Why a metric has no numbers.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// Neither an annotation file nor ground truth from the data set.
    #[error("picture {img_id} came without ground truth; name an `ann_file` or load annotations in the pipeline")]
    NoGroundTruth {
        /// The first such picture.
        img_id: i64,
    },
    /// A picture that the annotation file does not know.
    #[error("picture {img_id} ({}) is not in {}: it belongs to another data set", img_path.display(), ann_file.display())]
    UnknownImage {
        /// Its number in the data set.
        img_id: i64,
        /// Its file.
        img_path: PathBuf,
        /// The annotation file of the metric.
        ann_file: PathBuf,
    },
    /// A result file that cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The COCO evaluation refused its input.
    #[error("COCO evaluation: {0}")]
    Coco(#[from] hotcoco::Error),
}
