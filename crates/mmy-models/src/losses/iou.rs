//! One minus the overlap of boxes: IoU, GIoU (arXiv 1902.09630), CIoU (arXiv 1911.08287), SIoU (arXiv 2205.12740).

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_4, PI};

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{
    kinds::{BoxDistance, BoxLoss, in_range},
    losses::Reduction,
};

register!(BoxLoss, "IoULoss", Config);

/// One minus the overlap of predicted and true boxes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which overlap.
    pub iou_mode: IouMode,
    /// How boxes are written.
    pub bbox_format: BoxFormat,
    /// Added to areas and lengths that are divided by.
    pub eps: f64,
    /// How the losses of all boxes become one.
    pub reduction: Reduction,
    /// Factor.
    pub loss_weight: f64,
    /// Whether the head is handed the overlaps; has to be true, since YOLOv5's objectness is trained on them.
    pub return_iou: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            iou_mode: IouMode::Ciou,
            bbox_format: BoxFormat::Xywh,
            eps: 1e-7,
            reduction: Reduction::Mean,
            loss_weight: 1.0,
            return_iou: true,
        }
    }
}

/// Measures of overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IouMode {
    /// Intersection over union.
    Iou,
    /// Less the part of the enclosing box that neither covers.
    Giou,
    /// Less the distance of the centres and the difference of the aspect ratios.
    Ciou,
    /// Less the distance of the centres, weighted by its angle, and the difference of the sides.
    Siou,
}

/// Ways to write a box in four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BoxFormat {
    /// Left, top, right, bottom.
    Xyxy,
    /// Centre, width, height.
    Xywh,
}

impl Build<BoxLoss> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn BoxDistance>, BuildError> {
        in_range("eps", self.eps, 0.0..=1.0)?;
        if !self.return_iou {
            return Err(BuildError::new("YOLOv5's objectness is trained on the overlaps")
                .at("return_iou")
                .help("set return_iou = true"));
        }
        Ok(Box::new(IouLoss(self.clone())))
    }
}

#[derive(Debug)]
struct IouLoss(Config);

impl BoxDistance for IouLoss {
    fn forward(&self, pred: &Tensor, target: &Tensor) -> (Tensor, Tensor) {
        let iou = overlap(pred, target, self.0.iou_mode, self.0.bbox_format, self.0.eps);
        let losses: Tensor = 1.0 - &iou;
        let loss = match self.0.reduction {
            Reduction::Mean => losses.mean(Kind::Float),
            Reduction::Sum => losses.sum(Kind::Float),
        };
        (loss * self.0.loss_weight, iou)
    }
}

/// The sides of a box, each (N).
struct Sides {
    x1: Tensor,
    y1: Tensor,
    x2: Tensor,
    y2: Tensor,
    w: Tensor,
    h: Tensor,
}

impl Sides {
    fn new(boxes: &Tensor, format: BoxFormat) -> Self {
        let mut columns = boxes.unbind(1).into_iter();
        let mut next = || columns.next().unwrap_or_default();
        let (a, b, c, d) = (next(), next(), next(), next());
        match format {
            BoxFormat::Xyxy => {
                let (w, h) = (&c - &a, &d - &b);
                Sides { x1: a, y1: b, x2: c, y2: d, w, h }
            }
            BoxFormat::Xywh => {
                let (half_w, half_h) = (&c / 2.0, &d / 2.0);
                Sides { x1: &a - &half_w, y1: &b - &half_h, x2: a + half_w, y2: b + half_h, w: c, h: d }
            }
        }
    }
}

/// Overlap of boxes (N, 4) and (N, 4), pair by pair: (N) in −1 to 1.
pub fn overlap(pred: &Tensor, target: &Tensor, mode: IouMode, format: BoxFormat, eps: f64) -> Tensor {
    let (p, t) = (Sides::new(pred, format), Sides::new(target, format));
    let inter_w = (p.x2.minimum(&t.x2) - p.x1.maximum(&t.x1)).clamp_min(0.0);
    let inter_h = (p.y2.minimum(&t.y2) - p.y1.maximum(&t.y1)).clamp_min(0.0);
    let inter = inter_w * inter_h;
    let union = &p.w * &p.h + &t.w * &t.h - &inter + eps;
    let iou = inter / &union;
    let overlap = match mode {
        IouMode::Iou => iou,
        IouMode::Giou => {
            let (w, h) = enclosing(&p, &t);
            let hull = w * h + eps;
            iou - (&hull - union) / hull
        }
        IouMode::Ciou => {
            let (w, h) = enclosing(&p, &t);
            let diagonal = w.square() + h.square() + eps;
            let (dx, dy) = between_centres(&p, &t);
            let distance = (dx.square() + dy.square()) / diagonal;
            let angle = (&t.w / (&t.h + eps)).atan() - (&p.w / (&p.h + eps)).atan();
            let aspect = angle.square() * (4.0 / (PI * PI));
            let alpha = tch::no_grad(|| &aspect / (&aspect - &iou + (1.0 + eps)));
            iou - (distance + alpha * aspect)
        }
        IouMode::Siou => iou - siou_cost(&p, &t, eps) * 0.5,
    };
    overlap.clamp(-1.0, 1.0)
}

/// Width and height of the smallest box around both.
fn enclosing(p: &Sides, t: &Sides) -> (Tensor, Tensor) {
    (p.x2.maximum(&t.x2) - p.x1.minimum(&t.x1), p.y2.maximum(&t.y2) - p.y1.minimum(&t.y1))
}

/// From the centre of `p` to that of `t`.
fn between_centres(p: &Sides, t: &Sides) -> (Tensor, Tensor) {
    let centre = |a: &Tensor, b: &Tensor| (a + b) * 0.5;
    (centre(&t.x1, &t.x2) - centre(&p.x1, &p.x2), centre(&t.y1, &t.y2) - centre(&p.y1, &p.y2))
}

/// Distance cost plus shape cost of SIoU, with the exponent 4 for the shape.
fn siou_cost(p: &Sides, t: &Sides, eps: f64) -> Tensor {
    let (dx, dy) = between_centres(p, t);
    let (dx, dy) = (dx + eps, dy + eps);
    let length = (dx.square() + dy.square()).sqrt();
    // The smaller of the angles to the two axes, so that the cost has its greatest value at 45 degrees.
    let (sin_alpha, sin_beta) = (dy.abs() / &length, dx.abs() / &length);
    let sin = sin_alpha.where_self(&sin_alpha.le(FRAC_1_SQRT_2), &sin_beta);
    let angle = (sin.asin() * 2.0 - FRAC_PI_4 * 2.0).cos();
    let gamma = 2.0 - angle;
    let (w, h) = enclosing(p, t);
    let near = |d: Tensor, side: Tensor| 1.0 - (-(&gamma * (d / side).square())).exp();
    let distance = near(dx, w) + near(dy, h);
    let unlike = |a: &Tensor, b: &Tensor| {
        let omega = (a - b).abs() / a.maximum(b);
        let unlike: Tensor = 1.0 - (-omega).exp();
        unlike.pow_tensor_scalar(4.0)
    };
    distance + unlike(&p.w, &t.w) + unlike(&p.h, &t.h)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes(rows: &[[f64; 4]]) -> Tensor {
        Tensor::from_slice(&rows.concat()).view([-1, 4])
    }

    #[test]
    fn overlaps_by_hand_in_both_formats() {
        // Unit squares, one right by half: intersection 1/2, union 3/2, hull 3/2, centres 1/2 apart.
        let (xyxy, moved) = (boxes(&[[0.0, 0.0, 1.0, 1.0]]), boxes(&[[0.5, 0.0, 1.5, 1.0]]));
        let (xywh, moved_xywh) = (boxes(&[[0.5, 0.5, 1.0, 1.0]]), boxes(&[[1.0, 0.5, 1.0, 1.0]]));
        let third = 1.0 / 3.0;
        // SIoU: the angle is 0, so its cost is 0 and gamma 2; the sides are alike.
        let siou = third - 0.5 * (1.0 - (-2.0_f64 / 9.0).exp());
        let cases = [
            (IouMode::Iou, third),
            (IouMode::Giou, third),
            (IouMode::Ciou, third - 0.25 / 3.25),
            (IouMode::Siou, siou),
        ];
        for (mode, want) in cases {
            for (a, b, format) in [(&xyxy, &moved, BoxFormat::Xyxy), (&xywh, &moved_xywh, BoxFormat::Xywh)] {
                let got = overlap(a, b, mode, format, 1e-12).double_value(&[0]);
                assert!((got - want).abs() < 1e-9, "{mode:?} {format:?}: {got} and not {want}");
            }
        }
    }

    #[test]
    fn far_and_empty_boxes_have_finite_losses_and_gradients() {
        let pred = boxes(&[[0.0, 0.0, 1.0, 1.0], [5.0, 5.0, 0.0, 0.0], [1.0, 1.0, 2.0, 2.0]]).set_requires_grad(true);
        let target = boxes(&[[100.0, 0.0, 1.0, 4.0], [5.0, 5.0, 1.0, 1.0], [1.0, 1.0, 2.0, 2.0]]);
        for mode in [IouMode::Iou, IouMode::Giou, IouMode::Ciou, IouMode::Siou] {
            let config = Config { iou_mode: mode, reduction: Reduction::Sum, ..Config::default() };
            let (loss, iou) = config.build(()).unwrap().forward(&pred, &target);
            loss.backward();
            assert!(pred.grad().isfinite().all().int64_value(&[]) == 1, "{mode:?}");
            assert!((iou.double_value(&[2]) - 1.0).abs() < 1e-6, "{mode:?}");
            assert_eq!(iou.size(), [3]);
        }
    }
}
