//! Anchors that fit a data set: widths and heights in pixels of the network's input.
//!
//! Three ways to find them, each a function of its seed: [`k_means`] on overlap, [`differential_evolution`] of the mean
//! overlap, and [`evolve`], YOLOv5's k-means with a genetic evolution behind it. [`Quality`] says how well anchors fit.

mod differential;
mod genetic;
mod k_means;

use mmy_structures::Instance;
use serde::Serialize;

pub use differential::differential_evolution;
pub use genetic::evolve;
pub use k_means::k_means;

use crate::{DatasetSource, Draw, Permutation};

/// A width and a height, in pixels.
pub type Size = [f64; 2];

/// Told after each round: its number from 1, and how many there are at most.
pub type Progress<'a> = &'a dyn Fn(usize, usize);

/// Sides below this many pixels count for nothing: no stride of a model can see them.
const LEAST: f64 = 2.0;

/// The sizes of the objects that are learnt, once each picture is fitted into `[width, height]`; and how many objects are
/// left out, because their picture's size is not known or they are smaller than two pixels then.
pub fn sizes(source: &dyn DatasetSource, scale: [usize; 2]) -> (Vec<Size>, usize) {
    let (mut out, mut small) = (Vec::new(), 0);
    for index in 0..source.len() {
        let (height, width) = source.meta(index).ori_shape;
        let ratio = (scale[0] as f64 / width as f64).min(scale[1] as f64 / height as f64);
        for Instance { bbox, .. } in source.ground_truth(index).iter().filter(|it| !it.ignore) {
            let size = [f64::from(bbox.width()) * ratio, f64::from(bbox.height()) * ratio];
            match size.iter().all(|it| it.is_finite() && *it >= LEAST) {
                true => out.push(size),
                false => small += 1,
            }
        }
    }
    (out, small)
}

/// At most `count` of the sizes, drawn by `seed`.
pub fn sample(sizes: Vec<Size>, count: usize, seed: u64) -> Vec<Size> {
    if sizes.len() <= count {
        return sizes;
    }
    let order = Permutation::new(seed, 0, sizes.len());
    (0..count).map(|it| sizes[order.at(it)]).collect()
}

/// The place of a search's random choices.
fn draw(seed: u64) -> crate::Rng {
    Draw::new(seed, 0, 0).place(0xA2C4).rng()
}

/// Intersection over union of boxes around one centre.
fn overlap(a: Size, b: Size) -> f64 {
    let inter = a[0].min(b[0]) * a[1].min(b[1]);
    let union = a[0] * a[1] + b[0] * b[1] - inter;
    if union > 0.0 { inter / union } else { 0.0 }
}

/// The worse of the two sides' ratios, at most 1: YOLOv5 assigns an object to an anchor where it is above 1 / threshold.
fn fit(a: Size, b: Size) -> f64 {
    let ratio = |x: f64, y: f64| (x / y).min(y / x);
    ratio(a[0], b[0]).min(ratio(a[1], b[1]))
}

fn best(size: Size, anchors: &[Size], of: fn(Size, Size) -> f64) -> f64 {
    anchors.iter().map(|it| of(size, *it)).fold(0.0, f64::max)
}

/// How well anchors fit sizes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quality {
    /// The part of the objects that any anchor is assigned to: no model finds more.
    pub best_possible_recall: f64,
    /// Anchors that are assigned to an object, on average.
    pub anchors_per_object: f64,
    /// The overlap of an object with its best anchor, around one centre, on average.
    pub mean_iou: f64,
    /// The worse side's ratio of an object to its best anchor, on average.
    pub mean_ratio: f64,
}

impl Quality {
    /// Of anchors that are assigned to objects whose sides differ by less than the factor `thr`.
    pub fn of(anchors: &[Size], sizes: &[Size], thr: f64) -> Self {
        let n = sizes.len().max(1) as f64;
        let near = |size: &Size| anchors.iter().filter(|it| fit(*size, **it) > 1.0 / thr).count();
        Quality {
            best_possible_recall: sizes.iter().filter(|it| near(it) > 0).count() as f64 / n,
            anchors_per_object: sizes.iter().map(near).sum::<usize>() as f64 / n,
            mean_iou: sizes.iter().map(|it| best(*it, anchors, overlap)).sum::<f64>() / n,
            mean_ratio: sizes.iter().map(|it| best(*it, anchors, fit)).sum::<f64>() / n,
        }
    }
}

/// Sorted by area, as levels take them.
fn sorted(mut anchors: Vec<Size>) -> Vec<Size> {
    anchors.sort_by(|a, b| (a[0] * a[1]).total_cmp(&(b[0] * b[1])));
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    /// Objects of three sizes, each spread by a tenth.
    pub(super) fn three(rng: &mut Rng) -> Vec<Size> {
        let around = |[w, h]: Size, rng: &mut Rng| [w * (1.0 + 0.03 * rng.normal()), h * (1.0 + 0.03 * rng.normal())];
        (0..300).map(|at| around([[10.0, 20.0], [60.0, 40.0], [200.0, 210.0]][at % 3], rng)).collect()
    }

    #[test]
    fn three_clusters_are_found_in_each_way() {
        let sizes = three(&mut draw(7));
        let start = vec![[30.0, 30.0]; 3];
        let found = [
            k_means(&sizes, 3, 50, 1, &|_, _| ()),
            differential_evolution(&sizes, 3, [320, 320], 200, 1, &|_, _| ()),
            evolve(&sizes, 3, 4.0, 300, 1, &|_, _| ()),
        ];
        let before = Quality::of(&start, &sizes, 4.0);
        for anchors in found {
            for (got, want) in anchors.iter().zip([[10.0, 20.0], [60.0, 40.0], [200.0, 210.0]]) {
                assert!(fit(*got, want) > 0.94, "{anchors:?}");
            }
            let quality = Quality::of(&anchors, &sizes, 4.0);
            assert!(quality.mean_iou > 0.9 && quality.mean_ratio > before.mean_ratio, "{quality:?}");
            assert_eq!(quality.best_possible_recall, 1.0);
        }
        assert_eq!(k_means(&sizes, 3, 50, 1, &|_, _| ()), k_means(&sizes, 3, 50, 1, &|_, _| ()));
    }

    #[test]
    fn fewer_sizes_than_anchors_and_odd_ones_do_no_harm() {
        for sizes in [vec![], vec![[5.0, 5.0]], vec![[5.0, 5.0]; 10]] {
            for anchors in [
                k_means(&sizes, 9, 20, 0, &|_, _| ()),
                differential_evolution(&sizes, 9, [64, 64], 5, 0, &|_, _| ()),
                evolve(&sizes, 9, 4.0, 20, 0, &|_, _| ()),
            ] {
                assert_eq!(anchors.len(), 9);
                assert!(anchors.iter().flatten().all(|it| it.is_finite() && *it > 0.0), "{anchors:?}");
            }
        }
    }

    #[test]
    fn quality_of_one_anchor() {
        let quality = Quality::of(&[[10.0, 10.0]], &[[10.0, 10.0], [20.0, 10.0], [50.0, 10.0]], 4.0);
        assert!((quality.best_possible_recall - 2.0 / 3.0).abs() < 1e-12);
        assert!((quality.anchors_per_object - 2.0 / 3.0).abs() < 1e-12);
        assert!((quality.mean_iou - (1.0 + 0.5 + 0.2) / 3.0).abs() < 1e-12);
        assert!((quality.mean_ratio - (1.0 + 0.5 + 0.2) / 3.0).abs() < 1e-12);
    }
}
