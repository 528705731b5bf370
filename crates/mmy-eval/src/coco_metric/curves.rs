//! Precision and recall curves of COCO's protocol, and the means that become its numbers.

use std::ops::Range;

use hotcoco::{Annotation, COCO, COCOeval, Dataset, IouType};

/// One of the numbers: which slice of the curves it is the mean of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// `mAP_50`, `AR@100`.
    pub(crate) name: String,
    pub(crate) kind: Curve,
    /// A single IoU threshold, or all of them.
    pub(crate) iou: Option<f64>,
    pub(crate) area: Area,
    /// Index into the sorted detection caps.
    pub(crate) cap: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Curve {
    Precision,
    Recall,
}

/// Object sizes in the order of `hotcoco`'s area ranges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Area {
    All,
    Small,
    Medium,
    Large,
}

impl Item {
    /// All numbers in COCO's order, for caps in ascending order.
    pub(crate) fn every(caps: &[usize]) -> Vec<Item> {
        let last = caps.len() - 1;
        let top = caps[last];
        let ap = |name: &str, iou, area| Item { name: name.to_owned(), kind: Curve::Precision, iou, area, cap: last };
        let ar = |name, area, cap| Item { name, kind: Curve::Recall, iou: None, area, cap };
        let mut out = vec![
            ap("mAP", None, Area::All),
            ap("mAP_50", Some(0.5), Area::All),
            ap("mAP_75", Some(0.75), Area::All),
            ap("mAP_s", None, Area::Small),
            ap("mAP_m", None, Area::Medium),
            ap("mAP_l", None, Area::Large),
        ];
        out.extend(caps.iter().enumerate().map(|(index, cap)| ar(format!("AR@{cap}"), Area::All, index)));
        out.push(ar(format!("AR_s@{top}"), Area::Small, last));
        out.push(ar(format!("AR_m@{top}"), Area::Medium, last));
        out.push(ar(format!("AR_l@{top}"), Area::Large, last));
        out
    }
}

/// Precision and recall by IoU threshold, class, object size and detection cap.
pub(crate) struct Curves {
    /// Evaluated and accumulated.
    eval: COCOeval,
}

impl Curves {
    /// Matches detections to the ground truth. Ids of pictures and categories are those of `truth`; its categories are
    /// numbered from 0 without gaps.
    ///
    /// # Errors
    /// On a NaN score.
    pub(crate) fn compute(
        truth: Dataset,
        detections: Vec<Annotation>,
        caps: &[usize],
        ious: Option<&[f64]>,
    ) -> Result<Self, hotcoco::Error> {
        let truth = COCO::from_dataset(truth);
        let found = truth.load_res_anns(detections)?;
        let mut eval = COCOeval::new(truth, found, IouType::Bbox);
        eval.params.max_dets = caps.to_vec();
        if let Some(ious) = ious {
            eval.params.iou_thrs = ious.to_vec();
        }
        eval.evaluate()?;
        eval.accumulate();
        Ok(Curves { eval })
    }

    /// Mean of a slice over `classes`, in 0 to 1; `None` where no class has such objects.
    pub(crate) fn mean(&self, item: &Item, classes: Range<usize>) -> Option<f64> {
        let acc = self.eval.accumulated()?;
        let area = item.area as usize;
        let (mut sum, mut count) = (0.0, 0usize);
        let mut add = |value: f64| {
            // −1 marks a class without such objects.
            if value >= 0.0 {
                sum += value;
                count += 1;
            }
        };
        for (t, iou) in self.eval.params.iou_thrs.iter().enumerate() {
            if item.iou.is_some_and(|it| (it - iou).abs() > 1e-9) {
                continue;
            }
            for k in classes.clone() {
                match item.kind {
                    Curve::Recall => add(acc.recall[acc.recall_idx(t, k, area, item.cap)]),
                    Curve::Precision => {
                        (0..acc.shape.r).for_each(|r| add(acc.precision[acc.precision_idx(t, r, k, area, item.cap)]));
                    }
                }
            }
        }
        (count > 0).then(|| sum / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, path::PathBuf};

    use super::*;

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");

    /// pycocotools' whole arrays on three sets with crowd regions, tied scores and a category without objects.
    /// Precision averages 101 numbers, whose order of summation differs: 1e-12; recall is a ratio of counts: equal.
    #[test]
    fn arrays_are_pycocotools() {
        for set in ["a", "b", "c_many_dets"] {
            let open = |what: &str| File::open(PathBuf::from(GOLDEN).join(format!("coco_{set}_{what}.json"))).unwrap();
            let mut truth: Dataset = serde_json::from_reader(open("gt")).unwrap();
            let mut found: Vec<Annotation> = serde_json::from_reader(open("dt")).unwrap();
            // Categories 1, 4, 7 … become 0, 1, 2 …
            truth.categories.iter_mut().for_each(|it| it.id /= 3);
            truth.annotations.iter_mut().chain(&mut found).for_each(|it| it.category_id /= 3);
            let classes = truth.categories.len();
            let curves = Curves::compute(truth, found, &[1, 10, 100], None).unwrap();

            let bytes = std::fs::read(PathBuf::from(GOLDEN).join("coco_eval.safetensors")).unwrap();
            let golden = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let golden = |name: &str| -> Vec<f64> {
                let data = golden.tensor(&format!("{set}.{name}")).unwrap();
                data.data().as_chunks().0.iter().map(|it| f64::from_le_bytes(*it)).collect()
            };
            assert_eq!(curves.eval.accumulated().unwrap().recall, golden("recall"), "{set}");
            let precision = golden("precision_iou_mean_all_100");
            assert_eq!(precision.len(), 10 * classes);
            for (t, iou) in curves.eval.params.iou_thrs.iter().enumerate() {
                let item = Item { iou: Some(*iou), ..Item::every(&[1, 10, 100])[0].clone() };
                for k in 0..classes {
                    let (ours, theirs) = (curves.mean(&item, k..k + 1).unwrap_or(-1.0), precision[t * classes + k]);
                    assert!((ours - theirs).abs() < 1e-12, "{set}: IoU {iou}, class {k}: {ours} for {theirs}");
                }
            }
            let stats = golden("stats");
            for (item, theirs) in Item::every(&[1, 10, 100]).iter().zip(&stats) {
                let ours = curves.mean(item, 0..classes).unwrap_or(-1.0);
                assert!((ours - theirs).abs() < 1e-12, "{set}: {}: {ours} for {theirs}", item.name);
            }
        }
    }
}
