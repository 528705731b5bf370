//! Raw predictions to boxes of the stored picture.
//!
//! Only predictions whose objectness passes are read at all; what follows runs over plain numbers, since every step
//! after that depends on the one before.

use mmy_structures::{BBox, Detections, ImageMeta};
use tch::{Kind, Tensor};

use crate::{
    heads::TestCfg,
    kinds::{Decoder, ModelError},
    nms::{Candidate, batched_nms, top_k},
};

/// One level of a batch.
pub(super) struct Level {
    /// (B, N, 5 + classes).
    pub(super) predictions: Tensor,
    /// (N, 4).
    pub(super) priors: Tensor,
    /// Input pixels per cell.
    pub(super) stride: f32,
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>, ModelError> {
    let flat = tensor.to_kind(Kind::Float).contiguous().view([-1]);
    Vec::<f32>::try_from(flat).map_err(|it| ModelError::Torch(it.to_string()))
}

/// The boxes of picture `i`.
pub(super) fn picture(
    levels: &[Level],
    i: i64,
    meta: &ImageMeta,
    coder: &dyn Decoder,
    cfg: &TestCfg,
) -> Result<Detections, ModelError> {
    let mut candidates = Vec::new();
    for level in levels {
        level_candidates(level, i, coder, cfg, &mut candidates)?;
    }
    top_k(&mut candidates, cfg.nms_pre);
    let [top, _, left, _] = meta.pad_param;
    let (sx, sy) = meta.scale_factor;
    for it in &mut candidates {
        let BBox { x1, y1, x2, y2 } = it.bbox;
        it.bbox = BBox::new((x1 - left) / sx, (y1 - top) / sy, (x2 - left) / sx, (y2 - top) / sy);
    }
    let (height, width) = meta.ori_shape;
    let mut found = Detections::default();
    for it in batched_nms(&candidates, cfg.nms.iou_threshold, cfg.max_per_img) {
        found.bboxes.push(it.bbox.clip(width as f32, height as f32));
        found.scores.push(it.score);
        found.labels.push(it.label);
    }
    Ok(found)
}

fn level_candidates(
    level: &Level,
    i: i64,
    coder: &dyn Decoder,
    cfg: &TestCfg,
    candidates: &mut Vec<Candidate>,
) -> Result<(), ModelError> {
    let predictions = level.predictions.select(0, i);
    let objectness = numbers(&predictions.select(1, 4))?;
    let passing = (0..).zip(&objectness).filter(|(_, it)| sigmoid(**it) > cfg.score_thr).map(|it| it.0);
    let rows: Vec<i64> = passing.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let index = Tensor::from_slice(&rows);
    let predictions = predictions.index_select(0, &index).to_kind(Kind::Float);
    let priors = level.priors.index_select(0, &index);
    let stride = Tensor::full([rows.len() as i64], f64::from(level.stride), (Kind::Float, predictions.device()));
    let boxes = numbers(&coder.decode(&priors, &predictions.narrow(1, 0, 4), &stride))?;
    let width = predictions.size()[1] as usize;
    let predictions = numbers(&predictions)?;

    let multi_label = cfg.multi_label && width > 6;
    for (row, bbox) in predictions.chunks_exact(width).zip(boxes.as_chunks::<4>().0) {
        let bbox = BBox::new(bbox[0], bbox[1], bbox[2], bbox[3]);
        let objectness = sigmoid(row[4]);
        let score = |logit: f32| sigmoid(logit) * objectness;
        let mut add = |label: usize, score: f32| {
            if score > cfg.score_thr {
                candidates.push(Candidate { bbox, score, label: label as u32 });
            }
        };
        let logits = &row[5..];
        if multi_label {
            // A product passes only if the class's own score reaches `floor`; most logits are far below, and need no
            // exponential to be turned away. The margin outweighs every rounding.
            let floor = cfg.score_thr / objectness;
            let least = (floor / (1.0 - floor).max(1e-6)).ln() - 0.01;
            for (label, &logit) in logits.iter().enumerate().filter(|it| *it.1 >= least) {
                add(label, score(logit));
            }
        } else {
            let best = logits.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (label, &logit)| {
                if logit > best.1 { (label, logit) } else { best }
            });
            add(best.0, score(best.1));
        }
    }
    Ok(())
}
