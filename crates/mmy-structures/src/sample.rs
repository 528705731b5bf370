//! One picture with its annotations, on the way through a pipeline.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{BBox, Image};

/// One annotated object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Instance {
    /// Its box, in pixels of the sample's current image.
    pub bbox: BBox,
    /// Class index, from 0.
    pub label: u32,
    /// A crowd (COCO `iscrowd`) or difficult (VOC) region: kept for evaluation, never trained on.
    pub ignore: bool,
}

/// Where a picture came from and what has been done to it since; the names are MMYOLO's `metainfo` keys.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageMeta {
    /// The data set's own number of the picture (COCO's image id; else the index).
    pub img_id: i64,
    /// Its file.
    pub img_path: PathBuf,
    /// `(height, width)` as stored.
    pub ori_shape: (usize, usize),
    /// `(height, width)` now.
    pub img_shape: (usize, usize),
    /// `(width, height)` factors from the stored picture to the one inside the padding.
    pub scale_factor: (f32, f32),
    /// Padding in pixels: top, bottom, left, right.
    pub pad_param: [f32; 4],
    /// `(height, width)` that this picture's batch will have, where a batch-shape policy says so.
    pub batch_shape: Option<(usize, usize)>,
}

/// One picture with its annotations, on the way through a pipeline.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The picture as it is now.
    pub image: Image,
    /// The objects in it, in pixels of `image`.
    pub instances: Vec<Instance>,
    /// Its origin and history.
    pub meta: ImageMeta,
}
