//! Which detections are finds, and what precision that makes.

use mmy_structures::{BBox, Detections, Instance};

use super::EvalMode;

/// Whether a detection can be ranked and placed.
pub(super) fn is_usable(bbox: BBox, score: f32) -> bool {
    score.is_finite() && bbox.xyxy().iter().all(|it| it.is_finite())
}

/// What became of a detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It found an object.
    Right,
    /// It found nothing, or what was found already.
    Wrong,
    /// It found a difficult object or a crowd.
    Neither,
}

/// The detections of one class in one picture, best first.
pub(super) struct Found {
    rows: Vec<(f32, Fate)>,
    /// Objects to be found.
    objects: usize,
}

impl Found {
    /// Holds a picture's detections against its objects.
    pub(super) fn new(found: &Detections, objects: &[Instance], label: u32, thr: f32) -> Self {
        // In the original's order, in which objects that count come first: of equal overlaps the first one wins.
        let of = |ignore: bool| objects.iter().filter(move |it| it.label == label && it.ignore == ignore);
        let truths: Vec<_> = of(false).chain(of(true)).collect();
        let usable = found.iter().filter(|it| it.2 == label && is_usable(it.0, it.1));
        let mut ranked: Vec<_> = usable.map(|it| (it.0, it.1)).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut covered = vec![false; truths.len()];
        let mut fate = |bbox: BBox| {
            let overlaps = truths.iter().map(|it| overlap(bbox, it.bbox)).enumerate();
            let best = overlaps.fold(None, |best: Option<(usize, f32)>, it| match best {
                Some(best) if best.1 >= it.1 => Some(best),
                _ => Some(it),
            });
            match best {
                Some((at, overlap)) if overlap >= thr => {
                    if truths[at].ignore {
                        Fate::Neither
                    } else if std::mem::replace(&mut covered[at], true) {
                        Fate::Wrong
                    } else {
                        Fate::Right
                    }
                }
                _ => Fate::Wrong,
            }
        };
        let rows = ranked.into_iter().map(|(bbox, score)| (score, fate(bbox))).collect();
        Found { rows, objects: of(false).count() }
    }
}

/// Intersection over union of boxes whose last pixel counts.
fn overlap(a: BBox, b: BBox) -> f32 {
    let side = |low: f32, high: f32| (high - low + 1.0).max(0.0);
    let area = |it: BBox| (it.x2 - it.x1 + 1.0) * (it.y2 - it.y1 + 1.0);
    let inter = side(a.x1.max(b.x1), a.x2.min(b.x2)) * side(a.y1.max(b.y1), a.y2.min(b.y2));
    inter / (area(a) + area(b) - inter).max(1e-6)
}

/// Precision over recall, of one class over all pictures.
pub(super) struct Curve {
    /// Objects to be found.
    pub(super) objects: usize,
    /// Recall and precision after each detection, best first.
    points: Vec<(f64, f64)>,
}

impl Curve {
    pub(super) fn new(pictures: Vec<Found>) -> Self {
        let objects: usize = pictures.iter().map(|it| it.objects).sum();
        let mut rows: Vec<_> = pictures.into_iter().flat_map(|it| it.rows).collect();
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut right, mut wrong) = (0usize, 0usize);
        let points = rows.into_iter().map(|(_, fate)| {
            right += usize::from(fate == Fate::Right);
            wrong += usize::from(fate == Fate::Wrong);
            (right as f64 / objects.max(1) as f64, right as f64 / (right + wrong).max(1) as f64)
        });
        Curve { objects, points: points.collect() }
    }

    /// The part of the objects that was found; nothing when there is none.
    pub(super) fn recall(&self) -> Option<f64> {
        (self.objects > 0).then(|| self.points.last().map_or(0.0, |it| it.0))
    }

    /// Average precision; nothing when there is no object.
    pub(super) fn average_precision(&self, mode: EvalMode) -> Option<f64> {
        if self.objects == 0 {
            return None;
        }
        Some(match mode {
            EvalMode::Area => self.area(),
            EvalMode::ElevenPoints => {
                // By numpy's steps: 0.1 times a whole number, which for 3, 6 and 7 lies a little above the tenth.
                let best =
                    |recall: f64| self.points.iter().filter(|it| it.0 >= recall).map(|it| it.1).fold(0.0, f64::max);
                (0..=10).map(|it| best(f64::from(it) * 0.1)).sum::<f64>() / 11.0
            }
        })
    }

    /// The area under the curve, each precision raised to the best at its recall or a higher one.
    fn area(&self) -> f64 {
        let (mut best, mut sum) = (0.0f64, 0.0);
        for (at, (recall, precision)) in self.points.iter().enumerate().rev() {
            best = best.max(*precision);
            let before = if at == 0 { 0.0 } else { self.points[at - 1].0 };
            sum += (recall - before) * best;
        }
        sum
    }
}
