//! The families of parts that data configs name, and what each must do.

use std::{path::Path, sync::Arc};

use mmy_registry::Kind;
use mmy_structures::{Batch, Image, ImageMeta, Instance, Sample};

use crate::{Buffers, Context, DataError, Draw, MetaInfo, Pipeline, Rng};

/// Data sets: `YOLOv5CocoDataset`, `YOLOv5VOCDataset`, `YOLOv5TxtDataset`, `YOLOv5LabelmeDataset`, `ShapesDataset`; and
/// data sets around others: `ConcatDataset`, `RepeatDataset`.
pub struct Dataset;
impl Kind for Dataset {
    const NAME: &'static str = "dataset";
    type Args<'a> = ();
    type Output = Arc<dyn DatasetSource>;
}

/// The steps of a pipeline: `LoadImageFromFile`, `Mosaic`, `RandomFlip`.
pub struct Transform;
impl Kind for Transform {
    const NAME: &'static str = "transform";
    type Args<'a> = ();
    type Output = Box<dyn TransformStep>;
}

/// The steps inside `Albu`, under Albumentations' names: `Blur`, `MedianBlur`, `ToGray`, `CLAHE`.
pub struct Albumentation;
impl Kind for Albumentation {
    const NAME: &'static str = "albumentation";
    type Args<'a> = ();
    type Output = Box<dyn PixelStep>;
}

/// Orders in which samples are drawn: `DefaultSampler`, `InfiniteSampler`.
pub struct Sampler;
impl Kind for Sampler {
    const NAME: &'static str = "sampler";
    type Args<'a> = SamplerArgs;
    type Output = Arc<dyn SampleOrder>;
}

/// What a sampler is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SamplerArgs {
    /// Samples in the data set, at least 1.
    pub len: usize,
    /// Seed of the run.
    pub seed: u64,
}

/// Policies that give each picture the shape of its batch: `BatchShapePolicy`.
pub struct BatchShapes;
impl Kind for BatchShapes {
    const NAME: &'static str = "batch shapes";
    type Args<'a> = ();
    type Output = Box<dyn BatchShaper>;
}

/// How samples become a batch: `yolov5_collate`, `pseudo_collate`.
pub struct Collate;
impl Kind for Collate {
    const NAME: &'static str = "collate";
    type Args<'a> = ();
    type Output = Arc<dyn CollateFn>;
}

/// A data set: pictures by index, their annotations, and the pipeline that makes samples of them.
pub trait DatasetSource: Send + Sync {
    /// How many samples.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Class names and colours.
    fn metainfo(&self) -> &MetaInfo;

    /// Whether the samples are for testing: never redrawn, in the given order.
    fn test_mode(&self) -> bool;

    /// The annotation file, for metrics that read it themselves.
    fn ann_file(&self) -> Option<&Path>;

    /// What is known of picture `index` before it is opened: `img_id`, `img_path`, `ori_shape` as annotated (zeros when
    /// it is not), `batch_shape`.
    fn meta(&self, index: usize) -> ImageMeta;

    /// The objects of picture `index`, in pixels of the stored picture; crowd and difficult ones have `ignore` set.
    fn ground_truth(&self, index: usize) -> &[Instance];

    /// Sample `index` through the pipeline; nothing when the pipeline turned it down.
    ///
    /// # Errors
    /// [`DataError::Image`] when a picture cannot be used, in whose place another may be taken; other errors are final.
    fn sample(&self, index: usize, draw: Draw, buffers: &mut Buffers) -> Result<Option<Sample>, DataError> {
        self.watched(index, draw, buffers, &mut |_, _| ())
    }

    /// What a pipeline over this data set begins with: an empty picture with what is known of it, or, where samples are
    /// made of another data set's, a sample of that; nothing when that was turned down.
    ///
    /// # Errors
    /// As [`DatasetSource::sample`].
    fn start(&self, index: usize, _: Draw, _: &mut Buffers) -> Result<Option<Sample>, DataError> {
        let image = Image::new(0, 0, Vec::new()).expect("no bytes are a picture of no size");
        Ok(Some(Sample { image, instances: Vec::new(), meta: self.meta(index) }))
    }

    /// As [`DatasetSource::sample`], which shows `watch` the sample after each step of the pipeline, with the step's name.
    ///
    /// # Errors
    /// As [`DatasetSource::sample`].
    fn watched(
        &self,
        index: usize,
        draw: Draw,
        buffers: &mut Buffers,
        watch: Watch<'_>,
    ) -> Result<Option<Sample>, DataError>;

    /// The same pictures through another pipeline; nothing where the data set has no pipeline to exchange.
    fn with_pipeline(&self, _: Pipeline) -> Option<Arc<dyn DatasetSource>> {
        None
    }
}

/// What is shown a sample after each step of its pipeline, with the step's name.
pub type Watch<'a> = &'a mut dyn FnMut(&'static str, &Sample);

/// A step of a pipeline.
pub trait TransformStep: Send + Sync {
    /// Changes the sample; nothing turns it down, and another one is drawn in training.
    ///
    /// Random choices come from `context.draw` alone.
    ///
    /// # Errors
    /// As [`DatasetSource::sample`].
    fn apply(&self, sample: Sample, context: &mut Context<'_>) -> Result<Option<Sample>, DataError>;
}

/// A change of pixels that leaves every object where it is.
pub trait PixelStep: Send + Sync {
    /// Probability that the change is made, 0 to 1.
    fn prob(&self) -> f64;

    /// Makes it.
    fn apply(&self, image: Image, rng: &mut Rng, buffers: &mut Buffers) -> Image;
}

/// An order in which samples are drawn. Any place can be asked for by itself.
pub trait SampleOrder: Send + Sync {
    /// Samples in an epoch.
    fn len(&self) -> usize;

    /// Whether an epoch has no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it goes on after [`len`](Self::len) samples without an end.
    fn endless(&self) -> bool {
        false
    }

    /// The data set's index at `position` (from 0) of an epoch (from 0).
    fn index(&self, epoch: u64, position: usize) -> usize;
}

/// A policy that gives each picture the shape of its batch.
pub trait BatchShaper: Send + Sync {
    /// From the `(height, width)` of all pictures: their order, and each one's batch shape `(height, width)`.
    fn arrange(&self, sizes: &[(usize, usize)]) -> Vec<(usize, (usize, usize))>;
}

/// How samples become a batch.
pub trait CollateFn: Send + Sync {
    /// Puts `samples`, with their indices in `source`, into one batch.
    ///
    /// # Errors
    /// [`DataError::Collate`] when the samples do not fit together.
    fn collate(
        &self,
        samples: Vec<(usize, Sample)>,
        source: &dyn DatasetSource,
        buffers: &mut Buffers,
    ) -> Result<Batch, DataError>;
}
