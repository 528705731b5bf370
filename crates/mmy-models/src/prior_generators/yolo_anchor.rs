//! YOLO's anchors.

use mmy_registry::{Build, BuildError, Code, register, warn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::kinds::{PriorGenerator, Priors};

register!(PriorGenerator, "YOLOAnchorGenerator", Config);

/// Anchors of a few sizes around the middle of each cell.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// For each level, width and height of its anchors in pixels of the input.
    pub base_sizes: Vec<Vec<(f32, f32)>>,
    /// Input pixels per cell of each level, finest first.
    pub strides: Vec<i64>,
}

impl Default for Config {
    /// YOLOv5's anchors for COCO.
    fn default() -> Self {
        Config {
            base_sizes: vec![
                vec![(10.0, 13.0), (16.0, 30.0), (33.0, 23.0)],
                vec![(30.0, 61.0), (62.0, 45.0), (59.0, 119.0)],
                vec![(116.0, 90.0), (156.0, 198.0), (373.0, 326.0)],
            ],
            strides: vec![8, 16, 32],
        }
    }
}

impl Build<PriorGenerator> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Priors>, BuildError> {
        let error = |key: &str, message: String| BuildError::new(message).code(Code::AnchorMismatch).at(key);
        if self.base_sizes.len() != self.strides.len() {
            let message = format!("sizes for {} levels, but strides for {}", self.base_sizes.len(), self.strides.len());
            return Err(error("base_sizes", message).help("give one list of sizes for each stride"));
        }
        let first = self.base_sizes.first().map_or(0, Vec::len);
        if first == 0 || self.base_sizes.iter().any(|it| it.len() != first) {
            let counts: Vec<_> = self.base_sizes.iter().map(Vec::len).collect();
            let message = format!("{counts:?} anchors on the levels: every level needs as many, and at least one");
            return Err(error("base_sizes", message));
        }
        let sides = self.base_sizes.iter().flatten().flat_map(|it| [it.0, it.1]);
        if let Some(side) = sides.into_iter().find(|it| !(it.is_finite() && *it > 0.0)) {
            let error = error("base_sizes", format!("an anchor cannot be {side} pixels wide or high"));
            return Err(error.code(Code::OutOfRange));
        }
        if let Some(stride) = self.strides.iter().find(|it| !(1..=4096).contains(*it)) {
            return Err(error("strides", format!("{stride} is no stride")).code(Code::OutOfRange));
        }
        let area = |level: &Vec<(f32, f32)>| level.iter().map(|(w, h)| w * h).sum::<f32>() / level.len() as f32;
        let mut levels: Vec<_> =
            self.strides.iter().zip(&self.base_sizes).map(|(it, sizes)| (*it, area(sizes))).collect();
        levels.sort_by_key(|it| it.0);
        if !levels.is_sorted_by(|a, b| a.1 <= b.1) {
            let message = format!(
                "the anchors do not grow with the strides: their mean areas are {:?} at strides {:?}",
                levels.iter().map(|it| it.1.round()).collect::<Vec<_>>(),
                levels.iter().map(|it| it.0).collect::<Vec<_>>()
            );
            let help = "give the sizes of each level in the order of `strides`: small ones to small strides";
            warn(BuildError::new(message).code(Code::AnchorOrder).at("base_sizes").help(help));
        }
        Ok(Box::new(YoloAnchors(self.clone())))
    }
}

#[derive(Debug)]
struct YoloAnchors(Config);

impl Priors for YoloAnchors {
    fn strides(&self) -> &[i64] {
        &self.0.strides
    }

    fn base_sizes(&self) -> &[Vec<(f32, f32)>] {
        &self.0.base_sizes
    }

    fn grid_priors(&self, level: usize, (height, width): (i64, i64)) -> Tensor {
        let (stride, sizes) = (self.0.strides[level], &self.0.base_sizes[level]);
        let half = stride as f32 * 0.5;
        let base: Vec<_> =
            sizes.iter().flat_map(|(w, h)| [half - 0.5 * w, half - 0.5 * h, half + 0.5 * w, half + 0.5 * h]).collect();
        let base = Tensor::from_slice(&base).view([1, -1, 4]);
        let steps = |n: i64| Tensor::arange(n, (Kind::Float, Device::Cpu)) * stride as f64;
        let x = steps(width).view([1, -1]).expand([height, width], false);
        let y = steps(height).view([-1, 1]).expand([height, width], false);
        let corners = Tensor::stack(&[&x, &y, &x, &y], 2).view([-1, 1, 4]);
        (corners + base).view([-1, 4])
    }
}

#[cfg(test)]
mod tests {
    use mmy_nn::testing::golden;

    use super::*;

    #[test]
    fn priors_are_the_originals() {
        let reference = golden("yolov5_coder");
        let priors = Config::default().build(()).unwrap();
        let levels = [(8, 12), (4, 6), (2, 3)].into_iter().enumerate();
        let all: Vec<_> = levels.map(|(level, size)| priors.grid_priors(level, size)).collect();
        // Sums of small halves, exact in float32.
        assert_eq!(Tensor::cat(&all, 0), reference["priors"]);
    }

    #[test]
    fn lists_that_do_not_fit_are_errors() {
        let strides = Config { strides: vec![8, 16], ..Config::default() };
        assert_eq!(strides.build(()).unwrap_err().path, ["base_sizes"]);
        let uneven = Config { base_sizes: vec![vec![(1.0, 1.0)], vec![]], strides: vec![8, 16] };
        assert!(uneven.build(()).unwrap_err().message.contains("[1, 0]"));
        let nan = Config { base_sizes: vec![vec![(1.0, f32::NAN)]], strides: vec![8] };
        assert!(nan.build(()).is_err());
    }
}
