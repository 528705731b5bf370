//! `Albu`: steps of the Albumentations library.

mod blur;
mod clahe;
mod median_blur;
mod to_gray;

use std::collections::BTreeMap;

use mmy_registry::{Build, BuildError, Slot, register};
use mmy_structures::Sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Albumentation, Context, DataError, PixelStep, Transform, TransformStep};

/// Runs steps of the Albumentations library, each with its own probability. Only such as move no object.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The steps.
    pub transforms: Vec<Slot<Albumentation>>,
    /// How boxes are handed over. Taken, without effect: they stay where they are.
    pub bbox_params: Option<BboxParams>,
    /// What MMYOLO's names are there. Taken, without effect.
    pub keymap: BTreeMap<String, String>,
    /// Leaves out pictures without annotations. Only false.
    pub skip_img_without_anno: bool,
}

/// How boxes are handed over. Taken, without effect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BboxParams {
    /// `BboxParams`.
    pub r#type: String,
    /// `pascal_voc`.
    pub format: String,
    /// Labels that go along.
    pub label_fields: Vec<String>,
    /// Boxes with a smaller part visible are dropped; all boxes stay whole here.
    pub min_visibility: f64,
    /// Drops lost boxes; none is lost here.
    pub filter_lost_elements: bool,
}

register!(Transform, "Albu", Config);

impl Build<Transform> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn TransformStep>, BuildError> {
        if self.skip_img_without_anno {
            let help = "filter_cfg.filter_empty_gt leaves them out of the data set";
            return Err(BuildError::new("pictures without annotations are not left out here")
                .at("skip_img_without_anno")
                .help(help));
        }
        let steps = self.transforms.iter().map(|it| it.build(())).collect::<Result<_, _>>()?;
        Ok(Box::new(Albu { steps }))
    }
}

struct Albu {
    steps: Vec<Box<dyn PixelStep>>,
}

impl TransformStep for Albu {
    fn apply(&self, mut sample: Sample, context: &mut Context<'_>) -> Result<Option<Sample>, DataError> {
        for (place, step) in (0..).zip(&self.steps) {
            let mut rng = context.draw.place(place).rng();
            if rng.chance(step.prob()) {
                sample.image = step.apply(sample.image, &mut rng, context.buffers);
            }
        }
        Ok(Some(sample))
    }
}

/// An odd number from 3 to `limit`, for the size of a window.
fn window(limit: usize, rng: &mut crate::Rng) -> usize {
    3 + 2 * rng.below((limit - 1) / 2)
}

/// Whether a window can be as large as that.
fn check_limit(limit: usize) -> Result<(), BuildError> {
    match limit {
        3..=99 => Ok(()),
        _ => Err(BuildError::new("the largest window must lie between 3 and 99 pixels").at("blur_limit")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draw;

    #[test]
    fn windows_are_odd_and_reach_their_limit() {
        let mut rng = Draw::new(0, 0, 0).rng();
        let seen: std::collections::BTreeSet<_> = (0..200).map(|_| window(7, &mut rng)).collect();
        assert!(seen.into_iter().eq([3, 5, 7]));
        assert_eq!((window(3, &mut rng), window(4, &mut rng)), (3, 3));
    }
}
