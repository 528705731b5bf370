//! `RepeatDataset`: a data set several times over.

use std::sync::Arc;

use mmy_registry::{Build, BuildError, Outline, Slot, inventory, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::selection::{self, Selection};
use crate::{
    Dataset, DatasetSource,
    check::{Inspectable, Inspection, Opened},
};

/// A data set several times over, so that an epoch is longer; each time its pictures are drawn anew.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The data set.
    pub dataset: Slot<Dataset>,
    /// How often, at least once.
    pub times: usize,
    /// Taken, without effect: annotations are read when the data set is built.
    #[serde(default)]
    pub lazy_init: bool,
}

register!(Dataset, "RepeatDataset", Config);
inventory::submit! { Inspection::new::<Config>("RepeatDataset") }

impl Build<Dataset> for Config {
    fn build(&self, (): ()) -> Result<Arc<dyn DatasetSource>, BuildError> {
        self.check()?;
        let source = self.dataset.build(())?;
        let len = source.len().checked_mul(self.times).filter(|it| *it <= super::MOST_SAMPLES);
        let len = len.ok_or_else(|| {
            BuildError::new(format!("{} pictures, {} times over, are too many", source.len(), self.times)).at("times")
        })?;
        let indices = (0..len).map(|it| it % source.len()).collect();
        Ok(Arc::new(Selection { source, indices }))
    }

    fn outline(&self) -> Outline {
        selection::outline(&self.dataset, Some(self.times)).problem(self.check())
    }
}

impl Inspectable for Config {
    fn inspection(&self) -> Opened {
        Inspection::inner(&self.dataset).map_err(|error| error.at("dataset"))
    }
}

impl Config {
    fn check(&self) -> Result<(), BuildError> {
        if self.times == 0 { Err(BuildError::new("must be at least 1").at("times")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Buffers, Draw, datasets::selection::testing::shapes};

    #[test]
    fn a_picture_is_drawn_anew_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let inner = shapes(
            dir.path(),
            json!([{ "type": "LoadImageFromFile" }, { "type": "LoadAnnotations" }, { "type": "YOLOv5HSVRandomAug" }]),
        );
        let config: Config = serde_json::from_value(json!({ "dataset": inner, "times": 2 })).unwrap();
        let dataset = config.build(()).unwrap();
        assert_eq!((dataset.len(), dataset.meta(8)), (12, dataset.meta(2)));
        assert_eq!(dataset.ground_truth(8), dataset.ground_truth(2));
        let mut buffers = Buffers::default();
        let mut draw = |at: usize| dataset.sample(at, Draw::new(0, 0, at as u64), &mut buffers).unwrap().unwrap();
        let (first, again) = (draw(2), draw(8));
        assert_eq!(first.instances, again.instances);
        assert_ne!(first.image, again.image);
        assert_eq!(config.inspection().unwrap().len(), 1);
        let none: Config = serde_json::from_value(json!({ "dataset": inner, "times": 0 })).unwrap();
        assert_eq!(none.build(()).err().unwrap().to_string(), "times: must be at least 1");
        let many: Config = serde_json::from_value(json!({ "dataset": inner, "times": u32::MAX })).unwrap();
        assert!(many.build(()).err().unwrap().to_string().contains("are too many"));
    }
}
