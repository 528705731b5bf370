//! Non-maximum suppression.

use std::cmp::Ordering;

use mmy_structures::BBox;

/// One scored box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The box.
    pub bbox: BBox,
    /// Its score.
    pub score: f32,
    /// Its class.
    pub label: u32,
}

/// Keeps the best `k` and sorts them by score, best first; equal scores stay in their order, and of those at the cut
/// the first ones stay.
pub fn top_k(candidates: &mut Vec<Candidate>, k: usize) {
    if k == 0 {
        candidates.clear();
    }
    if candidates.len() > k {
        // A sort of millions would take longer than everything else: first find where to cut.
        let mut scores: Vec<_> = candidates.iter().map(|it| it.score).collect();
        let (better, cut, _) = scores.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        let mut at_the_cut = k - better.iter().filter(|it| it.total_cmp(cut).is_gt()).count();
        candidates.retain(|it| match it.score.total_cmp(cut) {
            Ordering::Greater => true,
            Ordering::Equal if at_the_cut > 0 => {
                at_the_cut -= 1;
                true
            }
            Ordering::Equal | Ordering::Less => false,
        });
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
}

/// Keeps the best box and drops those of its class that overlap it by more than `iou_threshold`, then goes on with the
/// best that is left, until `max` are kept.
///
/// `sorted` are the candidates, best first. Their results and order are those of torchvision's `batched_nms`, computed
/// class by class. A box costs one comparison with each kept box of its class, so 30,000 candidates and 300 kept boxes
/// are at most nine million, and far fewer when there are many classes.
pub fn batched_nms(sorted: &[Candidate], iou_threshold: f32, max: usize) -> Vec<Candidate> {
    let mut kept: Vec<Candidate> = Vec::with_capacity(max.min(sorted.len()));
    // For each class the edges and areas of its kept boxes.
    let mut by_class: Vec<Vec<(BBox, f32)>> = Vec::new();
    for &candidate in sorted {
        if kept.len() >= max {
            break;
        }
        let class = candidate.label as usize;
        if class >= by_class.len() {
            by_class.resize_with(class + 1, Vec::new);
        }
        let (bbox, area) = (candidate.bbox, candidate.bbox.width() * candidate.bbox.height());
        if by_class[class].iter().all(|&(other, other_area)| {
            let w = (bbox.x2.min(other.x2) - bbox.x1.max(other.x1)).max(0.0);
            let h = (bbox.y2.min(other.y2) - bbox.y1.max(other.y1)).max(0.0);
            let inter = w * h;
            let iou = inter / (other_area + area - inter);
            // Two empty boxes give NaN, which suppresses nothing.
            iou.is_nan() || iou <= iou_threshold
        }) {
            by_class[class].push((bbox, area));
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(x1: f32, x2: f32, score: f32, label: u32) -> Candidate {
        Candidate { bbox: BBox::new(x1, 0.0, x2, 10.0), score, label }
    }

    fn check(mut candidates: Vec<Candidate>, max: usize, want: &[f32]) {
        top_k(&mut candidates, usize::MAX);
        let scores: Vec<_> = batched_nms(&candidates, 0.5, max).iter().map(|it| it.score).collect();
        assert_eq!(scores, want);
    }

    #[test]
    fn of_equal_scores_at_the_cut_the_first_stay() {
        let scores = [0.5, 0.9, 0.5, 0.1, 0.5, 0.7];
        let all: Vec<_> = (0..).zip(scores).map(|(label, score)| candidate(0.0, 1.0, score, label)).collect();
        for (k, want) in [(0, &[][..]), (1, &[1]), (3, &[1, 5, 0]), (4, &[1, 5, 0, 2]), (9, &[1, 5, 0, 2, 4, 3])] {
            let mut best = all.clone();
            top_k(&mut best, k);
            assert_eq!(best.iter().map(|it| it.label).collect::<Vec<_>>(), want, "{k}");
        }
    }

    #[test]
    fn classes_do_not_see_each_other() {
        check(vec![candidate(0.0, 10.0, 0.5, 0), candidate(1.0, 11.0, 0.9, 0)], 300, &[0.9]);
        check(vec![candidate(0.0, 10.0, 0.5, 0), candidate(1.0, 11.0, 0.9, 7)], 300, &[0.9, 0.5]);
    }

    #[test]
    fn an_overlap_equal_to_the_threshold_stays() {
        // Intersection 5 × 10 of a union 10 × 10.
        check(vec![candidate(0.0, 10.0, 0.9, 0), candidate(0.0, 5.0, 0.8, 0)], 300, &[0.9, 0.8]);
    }

    #[test]
    fn a_suppressed_box_suppresses_nothing_and_max_ends_it() {
        let row = vec![candidate(0.0, 10.0, 0.9, 0), candidate(3.0, 13.0, 0.8, 0), candidate(6.0, 16.0, 0.7, 0)];
        check(row.clone(), 300, &[0.9, 0.7]);
        check(row, 1, &[0.9]);
    }

    #[test]
    fn degenerate_boxes_do_no_harm() {
        let nan = Candidate { bbox: BBox::new(f32::NAN, 0.0, 1.0, 1.0), score: 0.95, label: 0 };
        check(vec![candidate(5.0, 5.0, 0.9, 0), candidate(5.0, 5.0, 0.8, 0), nan], 300, &[0.95, 0.9, 0.8]);
        check(vec![], 300, &[]);
    }
}
