//! `MultiImageMixDataset`: transforms of several pictures over any data set.

use std::{path::Path, sync::Arc};

use mmy_registry::{Build, BuildError, Outline, Slot, inventory, register};
use mmy_structures::{ImageMeta, Instance, Sample};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::selection;
use crate::{
    Buffers, Context, DataError, Dataset, DatasetOutline, DatasetSource, Draw, MetaInfo, Pipeline, Transform, Watch,
    check::{Inspectable, Inspection, Opened},
    context::START,
};

/// A data set whose samples go through a further pipeline, in which transforms of several pictures (`Mosaic`,
/// `YOLOv5MixUp`) take the others as the inner data set's own pipeline makes them, across all that it is made of.
///
/// Such a transform needs no `pre_transform` then: what it lists is done to the others on top.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The data set, with the steps that load a picture in its pipeline.
    pub dataset: Slot<Dataset>,
    /// What is done to each of its samples.
    pub pipeline: Vec<Slot<Transform>>,
    /// Names of transforms of this pipeline that are left out.
    #[serde(default)]
    pub skip_type_keys: Option<Vec<String>>,
    /// How often a sample is drawn when the pipeline turns it down.
    #[serde(default = "fifteen")]
    pub max_refetch: usize,
    /// Taken, without effect: annotations are read when the data set is built.
    #[serde(default)]
    pub lazy_init: bool,
}

fn fifteen() -> usize {
    15
}

register!(Dataset, "MultiImageMixDataset", Config);
inventory::submit! { Inspection::new::<Config>("MultiImageMixDataset") }

impl Build<Dataset> for Config {
    fn build(&self, (): ()) -> Result<Arc<dyn DatasetSource>, BuildError> {
        self.check()?;
        let skipped = self.skip_type_keys.as_deref().unwrap_or_default();
        let steps = self.pipeline.iter().filter(|it| !skipped.iter().any(|name| is(it, name)));
        let pipeline = Pipeline::build(&steps.cloned().collect::<Vec<_>>())?;
        Ok(Arc::new(Mix { source: self.dataset.build(())?, pipeline, tries: self.max_refetch as u64 }))
    }

    fn outline(&self) -> Outline {
        let inner = selection::outline(&self.dataset, Some(1));
        let out = Outline::default().problem(self.check());
        match inner.get::<DatasetOutline>() {
            Some(fact) => out.fact(DatasetOutline { pipeline_key: "pipeline".into(), ..fact.clone() }),
            None => out,
        }
    }
}

impl Inspectable for Config {
    fn inspection(&self) -> Opened {
        Inspection::inner(&self.dataset).map_err(|error| error.at("dataset"))
    }
}

impl Config {
    fn check(&self) -> Result<(), BuildError> {
        if self.max_refetch == 0 {
            return Err(BuildError::new("must be at least 1").at("max_refetch"));
        }
        let mut skipped = self.skip_type_keys.iter().flatten();
        match skipped.find(|name| !self.pipeline.iter().any(|it| is(it, name))) {
            Some(name) => Err(BuildError::new(format!("the pipeline has no `{name}`")).at("skip_type_keys")),
            None => Ok(()),
        }
    }
}

/// Whether a transform goes by that name, with or without its scope.
fn is(step: &Slot<Transform>, name: &str) -> bool {
    step.name() == name.rsplit('.').next().unwrap_or(name)
}

struct Mix {
    source: Arc<dyn DatasetSource>,
    pipeline: Pipeline,
    tries: u64,
}

impl DatasetSource for Mix {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn metainfo(&self) -> &MetaInfo {
        self.source.metainfo()
    }

    fn test_mode(&self) -> bool {
        self.source.test_mode()
    }

    fn ann_file(&self) -> Option<&Path> {
        self.source.ann_file()
    }

    fn meta(&self, index: usize) -> ImageMeta {
        self.source.meta(index)
    }

    fn ground_truth(&self, index: usize) -> &[Instance] {
        self.source.ground_truth(index)
    }

    fn start(&self, index: usize, draw: Draw, buffers: &mut Buffers) -> Result<Option<Sample>, DataError> {
        self.source.sample(index, draw, buffers)
    }

    fn watched(
        &self,
        index: usize,
        draw: Draw,
        buffers: &mut Buffers,
        watch: Watch<'_>,
    ) -> Result<Option<Sample>, DataError> {
        for attempt in 0..self.tries {
            // The first one's places are those of a pipeline without this data set around it.
            let draw = if attempt == 0 { draw } else { draw.place(START + attempt) };
            let Some(sample) = self.source.watched(index, draw.place(START), buffers, watch)? else { continue };
            let mut context = Context { source: self, index, draw, buffers };
            if let Some(sample) = self.pipeline.watched(sample, &mut context, watch)? {
                return Ok(Some(sample));
            }
        }
        Ok(None)
    }

    fn with_pipeline(&self, pipeline: Pipeline) -> Option<Arc<dyn DatasetSource>> {
        Some(Arc::new(Mix { source: self.source.clone(), pipeline, tries: self.tries }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::datasets::selection::testing::shapes;

    fn build(dir: &Path, skip: &[&str]) -> Result<Arc<dyn DatasetSource>, BuildError> {
        let load = json!([{ "type": "LoadImageFromFile" }, { "type": "LoadAnnotations" }]);
        let both = json!({ "type": "ConcatDataset", "datasets": [shapes(dir, load.clone()), shapes(dir, load)] });
        let config = json!({
            "dataset": both, "skip_type_keys": skip,
            "pipeline": [
                { "type": "Mosaic", "img_scale": [32, 32] },
                { "type": "YOLOv5RandomAffine", "border": [-16, -16] },
                { "type": "YOLOv5MixUp", "pre_transform": [{ "type": "Mosaic", "img_scale": [16, 16] }] },
            ],
        });
        serde_json::from_value::<Config>(config).unwrap().build(())
    }

    #[test]
    fn mosaics_are_made_across_data_sets() {
        let dir = tempfile::tempdir().unwrap();
        let mix = build(dir.path(), &[]).unwrap();
        assert_eq!(mix.len(), 12);
        let mut buffers = Buffers::default();
        let mut steps = Vec::new();
        let draw = Draw::new(3, 1, 7);
        let watched = mix.watched(7, draw, &mut buffers, &mut |name, it| steps.push((name, it.image.shape())));
        let watched = watched.unwrap().unwrap();
        let names = ["LoadImageFromFile", "LoadAnnotations", "Mosaic", "YOLOv5RandomAffine", "YOLOv5MixUp"];
        let shapes = [(48, 64), (48, 64), (64, 64), (32, 32), (32, 32)];
        assert_eq!(steps, names.into_iter().zip(shapes).collect::<Vec<_>>());
        let again = mix.sample(7, draw, &mut buffers).unwrap().unwrap();
        assert!(again.image == watched.image && again.instances == watched.instances);
        assert_eq!(watched.meta.img_id, 7);
        assert!(mix.sample(7, Draw::new(3, 2, 7), &mut buffers).unwrap().unwrap().image != watched.image);
    }

    #[test]
    fn transforms_are_left_out_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut buffers = Buffers::default();
        let plain = build(dir.path(), &["mmdet.Mosaic", "YOLOv5RandomAffine", "YOLOv5MixUp"]).unwrap();
        let sample = plain.sample(0, Draw::new(0, 0, 0), &mut buffers).unwrap().unwrap();
        assert_eq!(sample.image.shape(), (48, 64));
        let error = build(dir.path(), &["MixUp"]).err().unwrap();
        assert_eq!(error.to_string(), "skip_type_keys: the pipeline has no `MixUp`");
    }
}
