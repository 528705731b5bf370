//! k-means, on overlap (Redmon and Farhadi 2017, arXiv 1612.08242) and on plain distance.

use super::{Progress, Size, draw, overlap, sorted};
use crate::Rng;

/// `count` anchors as the means of clusters, each size being in that of the anchor which it overlaps most; at most `rounds`
/// rounds.
pub fn k_means(sizes: &[Size], count: usize, rounds: usize, seed: u64, progress: Progress<'_>) -> Vec<Size> {
    sorted(cluster(sizes, count, rounds, &mut draw(seed), |a, b| 1.0 - overlap(a, b), progress))
}

/// Clusters by any distance. The first centres are chosen far from one another (k-means++, Arthur and Vassilvitskii 2007).
pub(super) fn cluster(
    sizes: &[Size],
    count: usize,
    rounds: usize,
    rng: &mut Rng,
    distance: impl Fn(Size, Size) -> f64,
    progress: Progress<'_>,
) -> Vec<Size> {
    let first = if sizes.is_empty() { [32.0, 32.0] } else { sizes[rng.below(sizes.len())] };
    let mut centres = vec![first];
    let mut far: Vec<_> = sizes.iter().map(|it| distance(*it, first).powi(2)).collect();
    while centres.len() < count {
        let total: f64 = far.iter().sum();
        let mut left = rng.unit() * total;
        let chosen = far.iter().position(|it| {
            left -= it;
            left < 0.0
        });
        let next = match chosen.filter(|_| total > 0.0) {
            Some(at) => sizes[at],
            // Fewer sizes than centres: a further one is somewhat larger than one that is there.
            None => centres[rng.below(centres.len())].map(|it| it * rng.uniform(1.05, 1.5)),
        };
        centres.push(next);
        far.iter_mut().zip(sizes).for_each(|(far, it)| *far = far.min(distance(*it, next).powi(2)));
    }
    let mut places = vec![usize::MAX; sizes.len()];
    for round in 0..rounds {
        let nearest = |size: &Size| {
            let distances = centres.iter().map(|it| distance(*size, *it)).enumerate();
            distances.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |it| it.0)
        };
        let now: Vec<_> = sizes.iter().map(nearest).collect();
        progress(round + 1, rounds);
        if now == places {
            break;
        }
        places = now;
        let mut sums = vec![([0.0, 0.0], 0usize); centres.len()];
        for (size, place) in sizes.iter().zip(&places) {
            let (sum, n) = &mut sums[*place];
            *sum = [sum[0] + size[0], sum[1] + size[1]];
            *n += 1;
        }
        for (centre, (sum, n)) in centres.iter_mut().zip(sums) {
            // A centre that nobody is near stays where it is.
            if n > 0 {
                *centre = sum.map(|it| it / n as f64);
            }
        }
    }
    centres
}
