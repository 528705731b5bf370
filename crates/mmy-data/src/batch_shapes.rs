//! `BatchShapePolicy`: pictures of like aspect share a batch, whose shape leaves little padding.

use mmy_registry::{Build, BuildError, Outline, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BatchShapeOutline, BatchShaper, BatchShapes};

/// Sorts pictures by aspect and gives each batch the smallest shape that holds its pictures, so that validation wastes
/// little time on padding (YOLOv5's `rect`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Pictures in a batch; must be the loader's own `batch_size`.
    pub batch_size: usize,
    /// The longer side of the pictures, in pixels.
    pub img_size: usize,
    /// Sides of a batch are multiples of this, in pixels; the largest stride of the model.
    pub size_divisor: usize,
    /// Extra padding on each side, in units of `size_divisor`.
    pub extra_pad_ratio: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config { batch_size: 32, img_size: 640, size_divisor: 32, extra_pad_ratio: 0.5 }
    }
}

register!(BatchShapes, "BatchShapePolicy", Config);

impl Build<BatchShapes> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn BatchShaper>, BuildError> {
        for (key, value) in
            [("batch_size", self.batch_size), ("img_size", self.img_size), ("size_divisor", self.size_divisor)]
        {
            if value == 0 {
                return Err(BuildError::new("must be at least 1").at(key));
            }
        }
        if !(0.0..1e6).contains(&self.extra_pad_ratio) {
            return Err(BuildError::new("must not be negative").at("extra_pad_ratio"));
        }
        Ok(Box::new(self.clone()))
    }

    fn outline(&self) -> Outline {
        let Config { batch_size, size_divisor, .. } = *self;
        Outline::default().fact(BatchShapeOutline { batch_size, size_divisor })
    }
}

impl BatchShaper for Config {
    fn arrange(&self, sizes: &[(usize, usize)]) -> Vec<(usize, (usize, usize))> {
        let ratio = |at: usize| sizes[at].0 as f64 / sizes[at].1.max(1) as f64;
        let mut order: Vec<_> = (0..sizes.len()).collect();
        order.sort_by(|&a, &b| ratio(a).total_cmp(&ratio(b)));
        let side = |relative: f64| {
            let units = relative * self.img_size as f64 / self.size_divisor as f64 + self.extra_pad_ratio;
            units.ceil() as usize * self.size_divisor
        };
        let mut out = Vec::with_capacity(order.len());
        for batch in order.chunks(self.batch_size) {
            let (lowest, highest) = (ratio(batch[0]), ratio(batch[batch.len() - 1]));
            let (height, width) = if highest < 1.0 {
                (highest, 1.0)
            } else if lowest > 1.0 {
                (1.0, 1.0 / lowest)
            } else {
                (1.0, 1.0)
            };
            out.extend(batch.iter().map(|&it| (it, (side(height), side(width)))));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::golden;

    #[test]
    fn shapes_equal_mmyolo() {
        let numbers = golden::json();
        let list = |it: &serde_json::Value| -> Vec<usize> {
            it.as_array().unwrap().iter().map(|it| it.as_u64().unwrap() as usize).collect()
        };
        let sizes: Vec<_> =
            numbers["batch_shape_wh"].as_array().unwrap().iter().map(|it| (list(it)[1], list(it)[0])).collect();
        let cases = numbers["batch_shape"].as_object().unwrap();
        assert_eq!(cases.len(), 8);
        for (name, expect) in cases {
            let (batch_size, extra) = name.strip_prefix("bs").unwrap().split_once(".extra").unwrap();
            let (batch_size, extra_pad_ratio) = (batch_size.parse().unwrap(), extra.parse().unwrap());
            let policy = Config { batch_size, extra_pad_ratio, ..Config::default() }.build(()).unwrap();
            let ours = policy.arrange(&sizes);
            let theirs: Vec<_> =
                expect.as_array().unwrap().iter().map(|it| (it[0].as_u64().unwrap() as usize, list(&it[1]))).collect();
            // The original's sort leaves the order of equal aspects open; ours keeps it.
            let aspect = |it: usize| sizes[it].0 as f64 / sizes[it].1 as f64;
            assert!(ours.windows(2).all(|it| (aspect(it[0].0), it[0].0) < (aspect(it[1].0), it[1].0)), "{name}");
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_eq!((aspect(ours.0), ours.1), (aspect(theirs.0), (theirs.1[0], theirs.1[1])), "{name}");
            }
            assert_eq!(ours.len(), theirs.len());
        }
    }
}
