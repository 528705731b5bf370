//! YOLOv5's assignment by the ratio of sides.
//!
//! A box belongs to an anchor when neither side differs by more than a factor. It is learnt by the cell that its centre
//! lies in and by the one or two neighbours that the centre is nearest to. All of it runs over plain numbers, since a
//! batch has a few hundred boxes at most and a tensor operation costs as much as a hundred of them.

use std::collections::HashMap;

use mmy_structures::Targets;
use tch::Tensor;

use crate::kinds::ModelError;

/// One box to learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Picture of the batch.
    pub image: i64,
    /// Class.
    pub label: i64,
    /// Left, top, right, bottom in pixels of the network input.
    pub xyxy: [f32; 4],
}

/// Reads a batch's table.
///
/// # Errors
/// When it is no table, or a row names a picture or a class that there is not.
pub fn targets(table: &Targets, images: i64, num_classes: usize) -> Result<Vec<Target>, ModelError> {
    let error = |row, reason| ModelError::Target { row, reason };
    let boxes = &table.bboxes_labels;
    if boxes.size().get(1) != Some(&6) || boxes.dim() != 2 {
        return Err(error(0, format!("a table of targets has six columns, not the shape {:?}", boxes.size())));
    }
    let numbers = Vec::<f32>::try_from(boxes.to_kind(tch::Kind::Float).contiguous().view([-1]))
        .map_err(|it| ModelError::Torch(it.to_string()))?;
    let (rows, _) = numbers.as_chunks::<6>();
    rows.iter()
        .enumerate()
        .map(|(row, &[image, label, x1, y1, x2, y2])| {
            // A NaN is in no range.
            if !(0.0..images as f32).contains(&image) {
                return Err(error(row, format!("there is no picture {image} in a batch of {images}")));
            }
            if !(0.0..num_classes as f32).contains(&label) {
                return Err(error(row, format!("there is no class {label}: the model has {num_classes}")));
            }
            Ok(Target { image: image as i64, label: label as i64, xyxy: [x1, y1, x2, y2] })
        })
        .collect()
}

/// A map that predictions are made on.
#[derive(Debug, Clone, Copy)]
pub struct Level<'a> {
    /// Cells down and across.
    pub size: (i64, i64),
    /// Width and height of the anchors, in cells.
    pub anchors: &'a [(f32, f32)],
}

/// Predictions of one level that are to learn a box, in the order in which later ones win.
#[derive(Debug, Default, PartialEq)]
pub struct Positives {
    /// Where each stands among all predictions of the level: ((picture · height + row) · width + column) · anchors +
    /// anchor.
    pub rows: Vec<i64>,
    /// Width and height of each one's anchor in cells, two numbers each.
    pub anchors: Vec<f32>,
    /// The box to learn in cells, four numbers each: the centre from the cell's corner, width, height.
    pub boxes: Vec<f32>,
    /// The class to learn.
    pub labels: Vec<i64>,
}

impl Positives {
    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Of several positives at one place the last one alone: (its place among the predictions, its place here), sorted.
    pub fn last_at_each_place(&self) -> (Vec<i64>, Vec<i64>) {
        let last: HashMap<i64, i64> = self.rows.iter().copied().zip(0..).collect();
        let mut last: Vec<_> = last.into_iter().collect();
        last.sort_unstable();
        last.into_iter().unzip()
    }

    /// Anchors (P, 2), boxes (P, 4) and labels (P).
    pub fn tensors(&self) -> (Tensor, Tensor, Tensor) {
        (
            Tensor::from_slice(&self.anchors).view([-1, 2]),
            Tensor::from_slice(&self.boxes).view([-1, 4]),
            Tensor::from_slice(&self.labels),
        )
    }
}

/// The rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SideRatioAssigner {
    /// A box belongs to an anchor when neither side is more than this many times the other's.
    pub match_thr: f32,
    /// A neighbour learns the box too when the centre is nearer to it than this many cells; 0.5 takes one across and
    /// one down.
    pub neighbor_thr: f32,
}

impl SideRatioAssigner {
    /// The positives of one level, for pictures of `input` = (height, width) pixels.
    ///
    /// The order is neighbours outermost (own cell, left, up, right, down), then anchors, then targets; at one place
    /// the last one wins.
    pub fn assign(&self, targets: &[Target], input: (i64, i64), level: Level<'_>) -> Positives {
        let (height, width) = level.size;
        let matches = self.matches(targets, input, level);
        let mut out = Positives::default();
        let reach = self.neighbor_thr;
        for (dx, dy) in [(0.0, 0.0), (reach, 0.0), (0.0, reach), (-reach, 0.0), (0.0, -reach)] {
            for it in &matches {
                if !self.reaches((it.x, it.y), (width as f32, height as f32), (dx, dy)) {
                    continue;
                }
                // Truncated; a centre on the far edge of the map belongs to the last cell.
                let column = ((it.x - dx) as i64).clamp(0, width - 1);
                let row = ((it.y - dy) as i64).clamp(0, height - 1);
                let cell = (it.image * height + row) * width + column;
                let (anchor_w, anchor_h) = level.anchors[it.anchor];
                out.rows.push(cell * level.anchors.len() as i64 + it.anchor as i64);
                out.anchors.extend([anchor_w, anchor_h]);
                out.boxes.extend([it.x - column as f32, it.y - row as f32, it.w, it.h]);
                out.labels.push(it.label);
            }
        }
        out
    }

    /// Pairs of an anchor and a box that fits it, anchors outermost, in cells.
    fn matches(&self, targets: &[Target], input: (i64, i64), level: Level<'_>) -> Vec<Match> {
        let (height, width) = (level.size.0 as f32, level.size.1 as f32);
        // Relative to the picture first, then to the map: the rounding of the original.
        let (rows, columns) = (input.0 as f32, input.1 as f32);
        let boxes: Vec<_> = targets
            .iter()
            .map(|it| {
                let [x1, y1, x2, y2] = it.xyxy;
                let (x, y) = ((x1 + x2) / 2.0 / columns * width, (y1 + y2) / 2.0 / rows * height);
                (x, y, (x2 - x1) / columns * width, (y2 - y1) / rows * height)
            })
            .collect();
        let mut out = Vec::new();
        for (anchor, &(anchor_w, anchor_h)) in level.anchors.iter().enumerate() {
            for (target, &(x, y, w, h)) in targets.iter().zip(&boxes) {
                let (rw, rh) = (w / anchor_w, h / anchor_h);
                let worst = rw.max(1.0 / rw).max(rh.max(1.0 / rh));
                // An inverted box has negative ratios, which would pass the test; NaN fails both.
                if rw > 0.0 && rh > 0.0 && worst < self.match_thr && x.is_finite() && y.is_finite() {
                    out.push(Match { image: target.image, label: target.label, anchor, x, y, w, h });
                }
            }
        }
        out
    }

    /// Whether the cell that lies the offset away from the centre learns the box too.
    fn reaches(&self, (x, y): (f32, f32), (width, height): (f32, f32), (dx, dy): (f32, f32)) -> bool {
        let near = |c: f32| c % 1.0 < self.neighbor_thr && c > 1.0;
        match (dx, dy) {
            (dx, _) if dx > 0.0 => near(x),
            (dx, _) if dx < 0.0 => near(width - x),
            (_, dy) if dy > 0.0 => near(y),
            (_, dy) if dy < 0.0 => near(height - y),
            _ => true,
        }
    }
}

struct Match {
    image: i64,
    label: i64,
    anchor: usize,
    x: f32,
    y: f32,
    w: f32,
    h: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: SideRatioAssigner = SideRatioAssigner { match_thr: 4.0, neighbor_thr: 0.5 };

    fn target(xyxy: [f32; 4]) -> Target {
        Target { image: 0, label: 1, xyxy }
    }

    /// Cells (column, row) on a map of 8 × 8 cells of 8 pixels with one anchor of 2 × 2 cells.
    fn cells(xyxy: [f32; 4]) -> Vec<(i64, i64)> {
        let level = Level { size: (8, 8), anchors: &[(2.0, 2.0)] };
        RULE.assign(&[target(xyxy)], (64, 64), level).rows.iter().map(|it| (it % 8, it / 8)).collect()
    }

    #[test]
    fn own_cell_and_the_nearest_neighbours() {
        // Centre (20, 28) is 2.5, 3.5 cells: neither half is smaller than 0.5.
        assert_eq!(cells([12.0, 20.0, 28.0, 36.0]), [(2, 3)]);
        // Centre 2.25, 3.25: left and up. Centre 2.75, 3.75: right and down.
        assert_eq!(cells([10.0, 18.0, 26.0, 34.0]), [(2, 3), (1, 3), (2, 2)]);
        assert_eq!(cells([14.0, 22.0, 30.0, 38.0]), [(2, 3), (3, 3), (2, 4)]);
        // At the edges there is no neighbour to learn it.
        assert_eq!(cells([0.0, 0.0, 6.0, 6.0]), [(0, 0)]);
        assert_eq!(cells([58.0, 58.0, 64.0, 64.0]), [(7, 7)]);
    }

    #[test]
    fn boxes_that_no_anchor_fits_are_left_out() {
        assert_eq!(cells([10.0, 10.0, 11.0, 20.0]), []);
        for hostile in [
            [f32::NAN; 4],
            [30.0, 30.0, 10.0, 10.0],
            [30.0, 30.0, 30.0, 30.0],
            [f32::INFINITY, 0.0, f32::INFINITY, 16.0],
        ] {
            assert_eq!(cells(hostile), [], "{hostile:?}");
        }
        // Outside of the picture, where no pipeline should put it: the nearest cell takes it.
        assert_eq!(cells([992.0, 16.0, 1008.0, 32.0]).first(), Some(&(7, 3)));
    }

    #[test]
    fn the_last_at_each_place_wins() {
        let level = Level { size: (8, 8), anchors: &[(2.0, 2.0)] };
        let positives =
            RULE.assign(&[target([12.0, 20.0, 28.0, 36.0]), target([13.0, 20.0, 27.0, 36.0])], (64, 64), level);
        assert_eq!(positives.len(), 2);
        assert_eq!(positives.last_at_each_place(), (vec![26], vec![1]));
    }

    #[test]
    fn wrong_tables_are_errors() {
        let table = |rows: &[f32]| Targets { bboxes_labels: Tensor::from_slice(rows).view([-1, 6]) };
        let check = |rows: &[f32]| targets(&table(rows), 2, 3).map(|it| it.len());
        assert_eq!(check(&[1.0, 2.0, 0.0, 0.0, 4.0, 4.0]), Ok(1));
        assert_eq!(targets(&Targets::none(), 2, 3), Ok(vec![]));
        for (wrong, word) in [([2.0, 0.0], "picture 2"), ([0.0, 3.0], "class 3"), ([0.0, -1.0], "class -1")] {
            let rows = [wrong[0], wrong[1], 0.0, 0.0, 4.0, 4.0];
            assert!(check(&rows).unwrap_err().to_string().contains(word), "{word}");
        }
        let flat = Targets { bboxes_labels: Tensor::from_slice(&[1f32, 2.0]) };
        assert!(targets(&flat, 2, 3).is_err());
    }
}
