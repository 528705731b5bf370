//! YOLOv5's boxes.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::kinds::{BBoxCoder, Decoder};

register!(BBoxCoder, "YOLOv5BBoxCoder", Config);

/// YOLOv5's boxes, with s the sigmoid of a prediction: the centre lies (2s − 1) strides from the prior's, the sides are
/// (2s)² times the prior's.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}

impl Build<BBoxCoder> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Decoder>, BuildError> {
        Ok(Box::new(Yolov5Coder))
    }
}

#[derive(Debug)]
struct Yolov5Coder;

impl Decoder for Yolov5Coder {
    fn decode(&self, priors: &Tensor, pred: &Tensor, stride: &Tensor) -> Tensor {
        let s = pred.sigmoid();
        let (low, high) = (priors.narrow(1, 0, 2), priors.narrow(1, 2, 2));
        let centre = (s.narrow(1, 0, 2) - 0.5) * 2.0 * stride.unsqueeze(1) + (&low + &high) * 0.5;
        let half = (s.narrow(1, 2, 2) * 2.0).square() * (high - low) / 2.0;
        Tensor::cat(&[&centre - &half, &centre + &half], 1)
    }
}

#[cfg(test)]
mod tests {
    use mmy_nn::testing::{assert_close, golden, sfield};

    use super::*;

    #[test]
    fn boxes_are_the_originals() {
        let reference = golden("yolov5_coder");
        let pred = sfield("coder", &reference["pred"].size(), 4.0);
        assert_eq!(pred, reference["pred"]);
        let decoded = Config {}.build(()).unwrap().decode(&reference["priors"], &pred, &reference["stride"]);
        // The same float32 operations in nearly the same order: a few units in the last place.
        assert_close("decoded", &decoded, &reference["decoded"], 1e-6);
    }
}
