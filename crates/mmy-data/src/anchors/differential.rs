//! Differential evolution (Storn and Price 1997), the form that keeps the best and mixes two others into it.

use rayon::prelude::*;

use super::{LEAST, Progress, Size, best, draw, overlap, sorted};

/// Candidates for each number that is sought.
const CANDIDATES: usize = 15;
/// Probability with which a number of a trial is a new one.
const CROSSOVER: f64 = 0.7;
/// Candidates whose costs differ by less than this part of their mean are taken for one.
const TOLERANCE: f64 = 0.01;

/// `count` anchors with the largest mean overlap, no larger than `scale` (width, height); at most `rounds` rounds.
pub fn differential_evolution(
    sizes: &[Size],
    count: usize,
    scale: [usize; 2],
    rounds: usize,
    seed: u64,
    progress: Progress<'_>,
) -> Vec<Size> {
    let mut rng = draw(seed);
    let most = scale.map(|it| (it as f64).max(LEAST));
    let cost = |anchors: &Vec<Size>| {
        1.0 - sizes.iter().map(|it| best(*it, anchors, overlap)).sum::<f64>() / sizes.len().max(1) as f64
    };
    let candidates = CANDIDATES * 2 * count;
    let mut all: Vec<Vec<Size>> =
        (0..candidates).map(|_| (0..count).map(|_| most.map(|it| rng.uniform(LEAST, it))).collect()).collect();
    let mut costs: Vec<f64> = all.par_iter().map(cost).collect();
    for round in 0..rounds {
        let leader = (0..candidates).min_by(|a, b| costs[*a].total_cmp(&costs[*b])).unwrap_or(0);
        // The weight of differences changes from round to round, which helps against standing still.
        let weight = rng.uniform(0.5, 1.0);
        let trials: Vec<Vec<Size>> = (0..candidates)
            .map(|at| {
                let (a, b) = (rng.below(candidates), rng.below(candidates));
                let sure = rng.below(2 * count);
                let mut trial = all[at].clone();
                for number in 0..2 * count {
                    let (anchor, axis) = (number / 2, number % 2);
                    if number == sure || rng.chance(CROSSOVER) {
                        let value = all[leader][anchor][axis] + weight * (all[a][anchor][axis] - all[b][anchor][axis]);
                        let inside = (LEAST..=most[axis]).contains(&value);
                        trial[anchor][axis] = if inside { value } else { rng.uniform(LEAST, most[axis]) };
                    }
                }
                trial
            })
            .collect();
        let new: Vec<f64> = trials.par_iter().map(cost).collect();
        for (at, trial) in trials.into_iter().enumerate() {
            if new[at] <= costs[at] {
                (all[at], costs[at]) = (trial, new[at]);
            }
        }
        progress(round + 1, rounds);
        let mean = costs.iter().sum::<f64>() / candidates as f64;
        let spread = (costs.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / candidates as f64).sqrt();
        if spread <= TOLERANCE * mean.abs() {
            break;
        }
    }
    let leader = (0..candidates).min_by(|a, b| costs[*a].total_cmp(&costs[*b])).unwrap_or(0);
    sorted(all.swap_remove(leader))
}
