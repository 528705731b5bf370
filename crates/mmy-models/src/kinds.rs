//! The families of parts that a detector is made of, and what each gives to the others.
//!
//! A detector is built from the picture's side: the backbone says which maps it gives ([`FeatureInfo`]), the neck is
//! handed that and says the same of its own, the head is handed the neck's.

mod block;

use std::fmt::Debug;

pub use block::{Block, BlockArgs, BuiltBlock, Layer, ListSettings, MapLayer};
use mmy_nn::Scope;
use mmy_registry::{BuildError, Code, Kind, Slot};
use mmy_structures::{Batch, Detections, ImageMeta, Targets};
use serde::{Deserialize, de::value::MapDeserializer};
use tch::Tensor;

use crate::{heads::TestCfg, layer_list::LineInfo};

/// One feature map: how many channels it has and how many pixels of the input one cell is wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureInfo {
    /// Channels.
    pub channels: i64,
    /// Input pixels per cell.
    pub stride: i64,
}

/// Turns a picture into feature maps.
pub struct Backbone;
impl Kind for Backbone {
    const NAME: &'static str = "backbone";
    type Args<'a> = &'a Scope;
    type Output = Box<dyn Features>;
}

/// A built backbone.
pub trait Features: Debug + Send {
    /// What [`Features::forward`] gives, finest first.
    fn feature_info(&self) -> Vec<FeatureInfo>;
    /// (B, 3, H, W) to one map for each entry of [`Features::feature_info`].
    fn forward(&self, x: &Tensor, train: bool) -> Vec<Tensor>;
}

/// Mixes the backbone's maps.
pub struct Neck;
impl Kind for Neck {
    const NAME: &'static str = "neck";
    type Args<'a> = NeckArgs<'a>;
    type Output = Box<dyn FeatureMixer>;
}

/// What a neck is built from.
#[derive(Debug, Clone, Copy)]
pub struct NeckArgs<'a> {
    /// Its place in the parameter tree.
    pub scope: &'a Scope,
    /// The backbone's maps, finest first.
    pub features: &'a [FeatureInfo],
}

/// A built neck.
pub trait FeatureMixer: Debug + Send {
    /// What [`FeatureMixer::forward`] gives, finest first.
    fn feature_info(&self) -> Vec<FeatureInfo>;
    /// The backbone's maps to the head's.
    fn forward(&self, features: &[Tensor], train: bool) -> Vec<Tensor>;
}

/// Learns from the neck's maps, and finds boxes in them.
pub struct BBoxHead;
impl Kind for BBoxHead {
    const NAME: &'static str = "bbox_head";
    type Args<'a> = HeadArgs<'a>;
    type Output = Box<dyn DenseHead>;
}

/// What a head is built from.
#[derive(Debug, Clone, Copy)]
pub struct HeadArgs<'a> {
    /// Its place in the parameter tree.
    pub scope: &'a Scope,
    /// The neck's maps, finest first.
    pub features: &'a [FeatureInfo],
    /// How found boxes are filtered.
    pub test_cfg: &'a TestCfg,
}

/// A built head.
pub trait DenseHead: Debug + Send {
    /// Number of classes.
    fn num_classes(&self) -> usize;
    /// The neck's maps to raw predictions, one tensor for each level, in the kind that the layers gave out.
    fn forward(&self, features: &[Tensor], train: bool) -> Vec<Tensor>;
    /// Raw predictions to class, box and objectness maps, (B, priors · classes | priors · 4 | priors, H, W) each, all
    /// levels.
    fn split(&self, raw: &[Tensor]) -> HeadMaps;
    /// Loss parts from raw predictions of pictures whose size was `input` = (height, width).
    ///
    /// # Errors
    /// When the targets name pictures or classes that there are not.
    fn loss(&self, raw: &[Tensor], targets: &Targets, input: (i64, i64)) -> Result<Losses, ModelError>;
    /// Boxes in pixels of the stored pictures, one list for each of `metas`, from raw predictions.
    ///
    /// # Errors
    /// When libtorch refuses something.
    fn predict(&self, raw: &[Tensor], metas: &[ImageMeta]) -> Result<Vec<Detections>, ModelError>;
}

/// The layers of a head that have weights.
pub struct HeadModule;
impl Kind for HeadModule {
    const NAME: &'static str = "head_module";
    type Args<'a> = HeadModuleArgs<'a>;
    type Output = Box<dyn Predictor>;
}

/// What a head module is built from.
#[derive(Debug, Clone, Copy)]
pub struct HeadModuleArgs<'a> {
    /// Its place in the parameter tree.
    pub scope: &'a Scope,
    /// The neck's maps, finest first.
    pub features: &'a [FeatureInfo],
}

/// A built head module.
pub trait Predictor: Debug + Send {
    /// Number of classes.
    fn num_classes(&self) -> usize;
    /// Priors in each cell.
    fn num_base_priors(&self) -> usize;
    /// Input pixels per cell that the predictions are meant for, finest first.
    fn featmap_strides(&self) -> &[i64];
    /// The neck's maps to raw predictions (B, priors · (5 + classes), H, W): for each prior 4 numbers of the box, then
    /// objectness, then one number for each class.
    fn forward(&self, features: &[Tensor], train: bool) -> Vec<Tensor>;
}

/// Lays priors over feature maps.
pub struct PriorGenerator;
impl Kind for PriorGenerator {
    const NAME: &'static str = "prior_generator";
    type Args<'a> = ();
    type Output = Box<dyn Priors>;
}

/// A built prior generator.
pub trait Priors: Debug + Send {
    /// Input pixels per cell of each level.
    fn strides(&self) -> &[i64];
    /// Widths and heights of the priors of each level, in pixels of the input.
    fn base_sizes(&self) -> &[Vec<(f32, f32)>];
    /// Priors of a level whose map is `(height, width)`: (height · width · priors, 4) x1, y1, x2, y2 in pixels of the
    /// input; cells row by row, a cell's priors one after the other.
    fn grid_priors(&self, level: usize, size: (i64, i64)) -> Tensor;
}

/// Turns predicted numbers into boxes.
pub struct BBoxCoder;
impl Kind for BBoxCoder {
    const NAME: &'static str = "bbox_coder";
    type Args<'a> = ();
    type Output = Box<dyn Decoder>;
}

/// A built box coder.
pub trait Decoder: Debug + Send {
    /// Priors (N, 4) x1, y1, x2, y2, predictions (N, 4) and strides (N) to boxes (N, 4) x1, y1, x2, y2.
    fn decode(&self, priors: &Tensor, pred: &Tensor, stride: &Tensor) -> Tensor;
}

/// Compares scores with what they should be.
pub struct Loss;
impl Kind for Loss {
    const NAME: &'static str = "loss";
    type Args<'a> = ();
    type Output = Box<dyn ScoreLoss>;
}

/// A built loss over scores.
pub trait ScoreLoss: Debug + Send {
    /// Logits and targets of one shape to a scalar, with the loss's own reduction and weight.
    fn forward(&self, logits: &Tensor, targets: &Tensor) -> Tensor;
}

/// Compares boxes with what they should be.
pub struct BoxLoss;
impl Kind for BoxLoss {
    const NAME: &'static str = "box_loss";
    type Args<'a> = ();
    type Output = Box<dyn BoxDistance>;
}

/// A built loss over boxes.
pub trait BoxDistance: Debug + Send {
    /// Predicted and true boxes (N, 4), N at least 1, in the loss's own format, to the loss, a scalar with its own
    /// reduction and weight, and the overlap (N) that it is made of.
    fn forward(&self, pred: &Tensor, target: &Tensor) -> (Tensor, Tensor);
}

/// Turns the loader's bytes into what the backbone takes.
pub struct DataPreprocessor;
impl Kind for DataPreprocessor {
    const NAME: &'static str = "data_preprocessor";
    type Args<'a> = ();
    type Output = Box<dyn Preprocess>;
}

/// A built data preprocessor.
pub trait Preprocess: Debug + Send {
    /// (B, 3, H, W), u8 or float, blue first, to float32 of the same memory format, perhaps padded at right and bottom.
    fn forward(&self, inputs: &Tensor) -> Tensor;
}

/// A whole model.
pub struct Detector;
impl Kind for Detector {
    const NAME: &'static str = "detector";
    type Args<'a> = &'a Scope;
    type Output = Box<dyn DetectorModel>;
}

/// A built detector.
///
/// Autocast is the caller's: switched on around [`DetectorModel::loss`] or [`DetectorModel::predict`], the layers run
/// in the shorter kind, while losses and boxes are computed in float32 all the same.
pub trait DetectorModel: Debug + Send {
    /// Number of classes.
    fn num_classes(&self) -> usize;
    /// Height and width of a batch have to be multiples of it.
    fn size_divisor(&self) -> i64;
    /// Preprocesses, runs the layers in training mode and compares with the batch's targets. The parts come in the
    /// order `loss_cls`, `loss_obj`, `loss_bbox`.
    ///
    /// # Errors
    /// When the batch is not one: wrong shape, targets of classes or pictures that there are not.
    fn loss(&self, batch: &Batch) -> Result<Losses, ModelError>;
    /// Preprocesses, runs the layers in evaluation mode and finds boxes, in pixels of the stored pictures.
    ///
    /// # Errors
    /// When the batch is not one.
    fn predict(&self, batch: &Batch) -> Result<Vec<Detections>, ModelError>;
    /// Every part's maps for a batch (B, 3, H, W) that is preprocessed already: no scaling, no swap of channels.
    ///
    /// # Errors
    /// When `inputs` has another shape or kind, or sizes that are no multiples of [`DetectorModel::size_divisor`].
    fn forward(&self, inputs: &Tensor, train: bool) -> Result<Maps, ModelError>;
    /// The lines of the layer list that the model is made of; none, if it is made of parts.
    fn lines(&self) -> &[LineInfo] {
        &[]
    }
}

/// Every part's maps, finest level first.
#[derive(Debug)]
pub struct Maps {
    /// The backbone's.
    pub backbone: Vec<Tensor>,
    /// The neck's.
    pub neck: Vec<Tensor>,
    /// The head's, split.
    pub head: HeadMaps,
}

/// The head's maps, finest level first.
#[derive(Debug, Default)]
pub struct HeadMaps {
    /// (B, priors · classes, H, W): logits.
    pub cls: Vec<Tensor>,
    /// (B, priors · 4, H, W): before decoding.
    pub bbox: Vec<Tensor>,
    /// (B, priors, H, W): logits.
    pub obj: Vec<Tensor>,
}

/// Named parts of a loss, each a scalar.
#[derive(Debug)]
pub struct Losses(pub Vec<(&'static str, Tensor)>);

impl Losses {
    /// The sum of all parts, in order.
    pub fn total(&self) -> Tensor {
        let mut parts = self.0.iter().map(|it| &it.1);
        let first = parts.next().map_or_else(|| Tensor::from(0f32), Tensor::shallow_clone);
        parts.fold(first, |sum, it| sum + it)
    }
}

/// A batch that a model cannot take.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// The pictures are not (B, 3, H, W).
    #[error("a model takes pictures of the shape (batch, 3, height, width), not {0:?}")]
    Shape(Vec<i64>),
    /// The pictures' numbers are of a kind that layers cannot take.
    #[error("a model takes numbers of the kind {expected}, not {found:?}")]
    NumberKind {
        /// The kind that is taken.
        expected: &'static str,
        /// The kind of the input.
        found: tch::Kind,
    },
    /// Height or width do not halve as often as the model halves them.
    #[error("pictures of {height}×{width} do not fit a model that needs multiples of {divisor}")]
    Size {
        /// Rows.
        height: i64,
        /// Columns.
        width: i64,
        /// What they have to be multiples of.
        divisor: i64,
    },
    /// A target names a picture or a class that there is not, or the table is not one.
    #[error("target {row}: {reason}")]
    Target {
        /// Row of the table of targets.
        row: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// There is not one description for each picture.
    #[error("{metas} descriptions for a batch of {pictures} pictures")]
    Metas {
        /// Descriptions.
        metas: usize,
        /// Pictures.
        pictures: usize,
    },
    /// Something that libtorch refused.
    #[error("libtorch: {0}")]
    Torch(String),
}

impl From<mmy_torch::Error> for ModelError {
    fn from(error: mmy_torch::Error) -> Self {
        ModelError::Torch(error.to_string())
    }
}

/// A slot that holds the part called `name` with its default values, for parts that configs rarely mention.
///
/// # Panics
/// When no part of that kind has that name or it has no default: a mistake in this crate.
pub(crate) fn default_slot<K: Kind>(name: &'static str) -> Slot<K> {
    let keys = MapDeserializer::<_, serde::de::value::Error>::new([("type", name)].into_iter());
    Slot::deserialize(keys).unwrap_or_else(|it| panic!("the default {} `{name}`: {it}", K::NAME))
}

/// Holds a value of a config against its range, which is meant to keep sizes within what memory can hold.
///
/// # Errors
/// At `key`, with the range, unless `value` lies in it.
pub fn in_range<T: PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<(), BuildError> {
    if range.contains(&value) {
        Ok(())
    } else {
        let help = format!("give a value from {} to {}", range.start(), range.end());
        Err(BuildError::new(format!("{value} is out of range")).code(Code::OutOfRange).at(key).help(help))
    }
}
