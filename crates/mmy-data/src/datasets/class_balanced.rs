//! `ClassBalancedDataset`: pictures of rare classes several times.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use mmy_registry::{Build, BuildError, Outline, Slot, inventory, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::selection::{self, Selection};
use crate::{
    Dataset, DatasetSource,
    check::{Inspectable, Inspection, Opened},
};

/// A data set in which pictures of rare classes are there several times (repeat factor sampling, Gupta et al. 2019, LVIS,
/// arXiv 1908.03195).
///
/// A class that a part f of the pictures has asks for max(1, sqrt(`oversample_thr` / f)) repeats; a picture is there as
/// often as the rarest of its classes asks, rounded up. Each time it is drawn anew.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The data set.
    pub dataset: Slot<Dataset>,
    /// A class that fewer than this part of the pictures have is rare: above 0, at most 1.
    pub oversample_thr: f64,
    /// Taken, without effect: annotations are read when the data set is built.
    #[serde(default)]
    pub lazy_init: bool,
}

register!(Dataset, "ClassBalancedDataset", Config);
inventory::submit! { Inspection::new::<Config>("ClassBalancedDataset") }

impl Build<Dataset> for Config {
    fn build(&self, (): ()) -> Result<Arc<dyn DatasetSource>, BuildError> {
        self.check()?;
        let source = self.dataset.build(())?;
        let times = repeats(&*source, self.oversample_thr);
        if times.iter().sum::<usize>() > super::MOST_SAMPLES {
            return Err(BuildError::new("makes too many pictures").at("oversample_thr"));
        }
        let indices: Arc<[usize]> = times.iter().enumerate().flat_map(|(at, n)| std::iter::repeat_n(at, *n)).collect();
        tracing::info!("{} pictures become {}, with those of rare classes repeated", source.len(), indices.len());
        Ok(Arc::new(Selection { source, indices }))
    }

    fn outline(&self) -> Outline {
        selection::outline(&self.dataset, None).problem(self.check())
    }
}

impl Inspectable for Config {
    fn inspection(&self) -> Opened {
        Inspection::inner(&self.dataset).map_err(|error| error.at("dataset"))
    }
}

impl Config {
    fn check(&self) -> Result<(), BuildError> {
        match self.oversample_thr {
            it if it > 0.0 && it <= 1.0 => Ok(()),
            it => {
                Err(BuildError::new(format!("{it} is no part of the pictures, above 0 and at most 1"))
                    .at("oversample_thr"))
            }
        }
    }
}

/// How often each picture is there.
fn repeats(source: &dyn DatasetSource, thr: f64) -> Vec<usize> {
    let classes = |at: usize| source.ground_truth(at).iter().map(|it| it.label).collect::<BTreeSet<_>>();
    let mut pictures: HashMap<u32, usize> = HashMap::new();
    (0..source.len()).flat_map(classes).for_each(|it| *pictures.entry(it).or_default() += 1);
    let asks = |class: u32| (thr / (pictures[&class] as f64 / source.len() as f64)).sqrt().max(1.0);
    (0..source.len()).map(|at| classes(at).into_iter().map(asks).fold(1.0, f64::max).ceil() as usize).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::datasets::selection::testing::{dataset, shapes};

    #[test]
    fn repeats_follow_the_rarest_class() {
        // Of eight pictures all have class 0 but the last, one has class 1, two have class 2.
        let labels: [&[u32]; 8] = [&[0, 0], &[0], &[0, 2], &[0, 2], &[0, 1], &[0], &[0], &[]];
        let source = dataset(&labels, false);
        // By mmengine's rule: sqrt(0.5 / (1/8)) = 2, sqrt(0.5 / (2/8)) = 1.41 → 2.
        assert_eq!(repeats(&*source, 0.5), [1, 1, 2, 2, 2, 1, 1, 1]);
        assert_eq!(repeats(&*source, 1.0), [2, 2, 2, 2, 3, 2, 2, 1]);
        assert_eq!(repeats(&*source, 0.1), [1; 8]);
    }

    #[test]
    fn a_threshold_is_a_part() {
        let dir = tempfile::tempdir().unwrap();
        let config = |thr: f64| -> Config {
            serde_json::from_value(json!({ "dataset": shapes(dir.path(), json!([])), "oversample_thr": thr })).unwrap()
        };
        assert!(config(1.0).build(()).unwrap().len() >= 6);
        for thr in [0.0, -1.0, 1.5] {
            assert_eq!(config(thr).build(()).err().unwrap().path, ["oversample_thr"]);
        }
    }
}
