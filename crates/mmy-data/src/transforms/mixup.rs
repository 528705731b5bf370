//! `YOLOv5MixUp`: two pictures laid over each other.

use mmy_registry::{Build, BuildError, Slot, register};
use mmy_structures::{Image, Sample};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Context, DataError, Pipeline, Transform, TransformStep};

/// Lays another picture of the data set over this one, in a proportion drawn from a beta distribution; the objects of
/// both count in full (mixup, arXiv 1710.09412, as YOLOv5 does it).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// First parameter of the beta distribution, above 0.
    pub alpha: f64,
    /// Second parameter of the beta distribution, above 0.
    pub beta: f64,
    /// What is done to the other picture first; it must end in this one's size.
    pub pre_transform: Vec<Slot<Transform>>,
    /// Probability, 0 to 1.
    pub prob: f64,
    /// Keeps pictures for later. Taken, without effect: a sample depends on (seed, epoch, index) alone.
    pub use_cached: bool,
    /// Taken, without effect.
    pub max_cached_images: usize,
    /// Taken, without effect.
    pub random_pop: bool,
    /// How often another picture is drawn when the pipeline turns one down.
    pub max_refetch: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            alpha: 32.0,
            beta: 32.0,
            pre_transform: Vec::new(),
            prob: 1.0,
            use_cached: false,
            max_cached_images: 20,
            random_pop: true,
            max_refetch: 15,
        }
    }
}

register!(Transform, "YOLOv5MixUp", Config);

impl Build<Transform> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn TransformStep>, BuildError> {
        super::probability("prob", self.prob)?;
        for (key, value) in [("alpha", self.alpha), ("beta", self.beta)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(BuildError::new(format!("{value} is not above 0")).at(key));
            }
        }
        if self.max_refetch == 0 {
            return Err(BuildError::new("must be at least 1").at("max_refetch"));
        }
        Ok(Box::new(MixUp { config: self.clone(), pre_transform: Pipeline::build(&self.pre_transform)? }))
    }
}

struct MixUp {
    config: Config,
    pre_transform: Pipeline,
}

impl TransformStep for MixUp {
    fn apply(&self, mut sample: Sample, context: &mut Context<'_>) -> Result<Option<Sample>, DataError> {
        let mut rng = context.draw.rng();
        if !rng.chance(self.config.prob) {
            return Ok(Some(sample));
        }
        let ratio = rng.beta(self.config.alpha, self.config.beta);
        let other = super::mixed(&self.pre_transform, context, &mut rng, 0, self.config.max_refetch)?;
        let Some(other) = other else { return Ok(None) };
        let (ours, theirs) = (sample.image.shape(), other.image.shape());
        if ours != theirs {
            return Err(DataError::Transform {
                transform: "YOLOv5MixUp",
                index: context.index,
                path: sample.meta.img_path,
                reason: format!(
                    "the picture is {}×{}, the other one {}×{}; let pre_transform end in the same size",
                    ours.0, ours.1, theirs.0, theirs.1
                ),
            });
        }
        blend(&mut sample.image, &other.image, ratio);
        sample.instances.extend(other.instances);
        context.buffers.give_image(other.image);
        Ok(Some(sample))
    }
}

/// `ratio` of the one and the rest of the other; fractions of a level are cut off.
fn blend(image: &mut Image, other: &Image, ratio: f64) {
    let [ours, theirs] = [ratio as f32, (1.0 - ratio) as f32];
    let mix = |a: &mut u8, b: u8| *a = (f32::from(*a) * ours + f32::from(b) * theirs) as u8;
    image.data_mut().iter_mut().zip(other.data()).for_each(|(a, b)| mix(a, *b));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blended_by_the_ratio() {
        let mut image = Image::filled(1, 2, [0, 100, 255]);
        blend(&mut image, &Image::filled(1, 2, [255, 50, 255]), 0.25);
        assert_eq!(image.data(), [191, 62, 255, 191, 62, 255]);
    }
}
