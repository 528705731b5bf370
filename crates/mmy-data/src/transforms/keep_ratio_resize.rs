//! `YOLOv5KeepRatioResize`: the largest size inside `scale` that keeps the aspect.

use mmy_registry::{Build, BuildError, Outline, register};
use mmy_structures::Sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Context, DataError, SizeStep, Transform, TransformStep,
    ops::{Interpolation, resize},
};

/// Resizes to the largest size inside `scale` that keeps the aspect: by area when shrinking, bilinear when growing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Width and height in pixels; the longer one bounds the picture's longer side, the shorter one the other.
    pub scale: [usize; 2],
    /// Only true.
    pub keep_ratio: bool,
    /// Whether boxes are cut off at the picture's edges.
    pub clip_object_border: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { scale: [640, 640], keep_ratio: true, clip_object_border: true }
    }
}

register!(Transform, "YOLOv5KeepRatioResize", Config);

impl Build<Transform> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn TransformStep>, BuildError> {
        super::size("scale", self.scale)?;
        if !self.keep_ratio {
            return Err(BuildError::new("the ratio is always kept").at("keep_ratio"));
        }
        Ok(Box::new(self.clone()))
    }

    fn outline(&self) -> Outline {
        Outline::default().fact(SizeStep::Varies)
    }
}

impl Config {
    /// The factor, and the new height and width.
    fn target(&self, (height, width): (usize, usize)) -> (f64, usize, usize) {
        let [long, short] = [self.scale[0].max(self.scale[1]), self.scale[0].min(self.scale[1])].map(|it| it as f64);
        let (h, w) = (height as f64, width as f64);
        let ratio = (long / h.max(w)).min(short / h.min(w));
        let side = |it: f64| ((it * ratio) as usize).max(1);
        if ratio == 1.0 { (ratio, height, width) } else { (ratio, side(h), side(w)) }
    }
}

impl TransformStep for Config {
    fn apply(&self, mut sample: Sample, context: &mut Context<'_>) -> Result<Option<Sample>, DataError> {
        let (old_height, old_width) = sample.image.shape();
        let (ratio, height, width) = self.target((old_height, old_width));
        let interpolation = if ratio < 1.0 { Interpolation::Area } else { Interpolation::Bilinear };
        sample.image = resize(sample.image, height, width, interpolation, context.buffers);
        let scale = ((width as f64 / old_width as f64) as f32, (height as f64 / old_height as f64) as f32);
        for it in &mut sample.instances {
            it.bbox = it.bbox.scale_shift(scale.0, scale.1, 0.0, 0.0);
            if self.clip_object_border {
                it.bbox = it.bbox.clip(width as f32, height as f32);
            }
        }
        sample.meta.img_shape = (height, width);
        sample.meta.scale_factor = (sample.meta.scale_factor.0 * scale.0, sample.meta.scale_factor.1 * scale.1);
        Ok(Some(sample))
    }
}
