//! YOLOv5's way: k-means, then mutations of which the better ones stay.

use super::{LEAST, Progress, Size, draw, fit, k_means::cluster, sorted};

/// Probability with which a number changes.
const MUTATION: f64 = 0.9;
/// How far it changes, as a part of itself.
const SIGMA: f64 = 0.1;
/// Rounds of k-means before.
const ROUNDS: usize = 30;

/// `count` anchors: means of clusters by distance in units of the sides' deviations, then `rounds` mutations, each of which
/// stays if the anchors fit better. Objects that differ from their best anchor by the factor `thr` or more count nothing.
pub fn evolve(sizes: &[Size], count: usize, thr: f64, rounds: usize, seed: u64, progress: Progress<'_>) -> Vec<Size> {
    let mut rng = draw(seed);
    let n = sizes.len().max(1) as f64;
    let deviation = [0, 1].map(|axis| {
        let mean = sizes.iter().map(|it| it[axis]).sum::<f64>() / n;
        let deviation = (sizes.iter().map(|it| (it[axis] - mean).powi(2)).sum::<f64>() / n).sqrt();
        if deviation > 0.0 { deviation } else { 1.0 }
    });
    let distance = |a: Size, b: Size| ((a[0] - b[0]) / deviation[0]).hypot((a[1] - b[1]) / deviation[1]);
    let mut anchors = sorted(cluster(sizes, count, ROUNDS, &mut rng, distance, &|_, _| ()));
    let fitness = |anchors: &[Size]| {
        let best = |size: &Size| anchors.iter().map(|it| fit(*size, *it)).fold(0.0, f64::max);
        sizes.iter().map(best).filter(|it| *it > 1.0 / thr).sum::<f64>() / n
    };
    let mut reached = fitness(&anchors);
    for round in 0..rounds {
        let mut mutant = anchors.clone();
        // A mutation that changes nothing is none.
        while mutant == anchors {
            let strength = rng.unit() * SIGMA;
            for side in mutant.iter_mut().flatten() {
                if rng.chance(MUTATION) {
                    *side = (*side * (1.0 + strength * rng.normal()).clamp(0.3, 3.0)).max(LEAST);
                }
            }
        }
        let fitness = fitness(&mutant);
        if fitness > reached {
            (anchors, reached) = (mutant, fitness);
        }
        progress(round + 1, rounds);
    }
    sorted(anchors)
}
