//! `ConcatDataset`: several data sets, one after the other.

use std::{collections::HashSet, path::Path, sync::Arc};

use mmy_registry::{Build, BuildError, Outline, Slot, inventory, register};
use mmy_structures::{ImageMeta, Instance, Sample};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Annotations, Buffers, DataError, Dataset, DatasetOutline, DatasetSource, Draw, MetaInfo, Watch,
    check::{Inspectable, Inspection, Opened},
};

/// Several data sets of the same classes, one after the other. Transforms of several pictures take them from one of the data
/// sets; `MultiImageMixDataset` around this one mixes across them.
///
/// Where two of them number pictures alike, pictures are numbered anew, from 0.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The data sets, at least one.
    pub datasets: Vec<Slot<Dataset>>,
    /// Keys of `metainfo` in which the data sets may differ, such as `palette`; the first one's count.
    #[serde(default)]
    pub ignore_keys: Vec<String>,
    /// Taken, without effect: annotations are read when the data set is built.
    #[serde(default)]
    pub lazy_init: bool,
}

register!(Dataset, "ConcatDataset", Config);
inventory::submit! { Inspection::new::<Config>("ConcatDataset") }

impl Build<Dataset> for Config {
    fn build(&self, (): ()) -> Result<Arc<dyn DatasetSource>, BuildError> {
        self.check()?;
        let sources = self.datasets.iter().map(|it| it.build(())).collect::<Result<Vec<_>, _>>()?;
        let first = sources[0].metainfo();
        for (at, it) in sources.iter().enumerate().skip(1) {
            let other = it.metainfo();
            let fault = if other.classes != first.classes && !self.ignores("classes") {
                let names = |it: &MetaInfo| it.classes.join(", ");
                format!("its classes are {}, those of the first data set {}", names(other), names(first))
            } else if other.palette != first.palette && !self.ignores("palette") {
                "its palette is another than the first data set's".to_owned()
            } else if it.test_mode() != sources[0].test_mode() {
                "its `test_mode` is another than the first data set's".to_owned()
            } else {
                continue;
            };
            let error = BuildError::new(fault).at(&format!("datasets.{at}"));
            return Err(error.help("name the same classes in the same order in each `metainfo`"));
        }
        Ok(Arc::new(Joined::new(sources)))
    }

    fn outline(&self) -> Outline {
        let outlines: Vec<_> = self.datasets.iter().map(Slot::outline).collect();
        let facts: Option<Vec<_>> = outlines.iter().map(|it| it.get::<DatasetOutline>()).collect();
        let out = Outline::default().problem(self.check());
        match facts.as_deref() {
            Some(all @ [first, ..]) => out.fact(DatasetOutline {
                classes: first.classes.clone(),
                classes_key: format!("datasets.0.{}", first.classes_key),
                pipeline_key: format!("datasets.0.{}", first.pipeline_key),
                annotations: Annotations::Joined(all.iter().map(|it| it.annotations.clone()).collect()),
            }),
            _ => out,
        }
    }
}

impl Inspectable for Config {
    fn inspection(&self) -> Opened {
        let mut out = Vec::new();
        for (at, slot) in self.datasets.iter().enumerate() {
            out.extend(Inspection::inner(slot).map_err(|error| error.at(&format!("datasets.{at}")))?);
        }
        Ok(out)
    }
}

impl Config {
    fn check(&self) -> Result<(), BuildError> {
        if let Some(key) = self.ignore_keys.iter().find(|it| !["classes", "palette"].contains(&it.as_str())) {
            return Err(BuildError::new(format!("metainfo has no `{key}`; it has classes, palette")).at("ignore_keys"));
        }
        if self.datasets.is_empty() { Err(BuildError::new("needs at least one").at("datasets")) } else { Ok(()) }
    }

    fn ignores(&self, key: &str) -> bool {
        self.ignore_keys.iter().any(|it| it == key)
    }
}

/// The data sets; index by index.
struct Joined {
    sources: Vec<Arc<dyn DatasetSource>>,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// Whether pictures are numbered anew.
    numbered: bool,
}

impl Joined {
    fn new(sources: Vec<Arc<dyn DatasetSource>>) -> Self {
        let mut ends = Vec::with_capacity(sources.len());
        let mut ids = HashSet::new();
        let mut numbered = false;
        for source in &sources {
            ends.push(ends.last().copied().unwrap_or(0) + source.len());
            // A picture that is there several times in one data set keeps its number.
            let own: HashSet<_> = (0..source.len()).map(|it| source.meta(it).img_id).collect();
            numbered |= own.iter().any(|it| ids.contains(it));
            ids.extend(own);
        }
        Joined { sources, ends, numbered }
    }

    /// The data set that has a picture, and the picture's index there.
    fn find(&self, index: usize) -> (&dyn DatasetSource, usize) {
        let at = self.ends.partition_point(|it| *it <= index);
        let first = if at == 0 { 0 } else { self.ends[at - 1] };
        (&*self.sources[at], index - first)
    }

    fn named(&self, index: usize, mut meta: ImageMeta) -> ImageMeta {
        if self.numbered {
            meta.img_id = index as i64;
        }
        meta
    }
}

impl DatasetSource for Joined {
    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn metainfo(&self) -> &MetaInfo {
        self.sources[0].metainfo()
    }

    fn test_mode(&self) -> bool {
        self.sources[0].test_mode()
    }

    fn ann_file(&self) -> Option<&Path> {
        None
    }

    fn meta(&self, index: usize) -> ImageMeta {
        let (source, inner) = self.find(index);
        self.named(index, source.meta(inner))
    }

    fn ground_truth(&self, index: usize) -> &[Instance] {
        let (source, inner) = self.find(index);
        source.ground_truth(inner)
    }

    fn watched(
        &self,
        index: usize,
        draw: Draw,
        buffers: &mut Buffers,
        watch: Watch<'_>,
    ) -> Result<Option<Sample>, DataError> {
        let (source, inner) = self.find(index);
        let sample = source.watched(inner, draw, buffers, watch)?;
        Ok(sample.map(|it| Sample { meta: self.named(index, it.meta), ..it }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::datasets::selection::testing::{dataset, shapes};

    #[test]
    fn pictures_follow_one_another_under_numbers_of_their_own() {
        let (a, b) = (dataset(&[&[0], &[1]], true), dataset(&[&[2], &[], &[0, 1]], true));
        let joined = Joined::new(vec![a.clone(), dataset(&[], true), b]);
        let labels: Vec<Vec<u32>> =
            (0..joined.len()).map(|it| joined.ground_truth(it).iter().map(|it| it.label).collect()).collect();
        assert_eq!(labels, [vec![0], vec![1], vec![2], vec![], vec![0, 1]]);
        let ids = |it: &Joined| (0..it.len()).map(|at| it.meta(at).img_id).collect::<Vec<_>>();
        assert_eq!(ids(&joined), [0, 1, 2, 3, 4]);
        assert_eq!(joined.meta(4).img_path, Path::new("2.png"));
        let sample = joined.sample(4, Draw::new(0, 0, 4), &mut Buffers::default()).unwrap().unwrap();
        assert_eq!(sample.meta, joined.meta(4));
        assert_eq!(ids(&Joined::new(vec![a])), [0, 1]);
    }

    #[test]
    fn classes_have_to_be_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let with = |classes: &[&str]| {
            let mut it = shapes(dir.path(), json!([]));
            it["metainfo"] = json!({ "classes": classes });
            it
        };
        let build = |ignore: &[&str], second: serde_json::Value| {
            let config = json!({ "datasets": [with(&["circle", "star"]), second], "ignore_keys": ignore });
            serde_json::from_value::<Config>(config).unwrap().build(()).map(|it| it.len())
        };
        assert_eq!(build(&[], with(&["circle", "star"])).unwrap(), 12);
        let error = build(&[], with(&["star", "circle"])).unwrap_err();
        assert_eq!(error.path, ["datasets", "1"]);
        assert_eq!(error.message, "its classes are star, circle, those of the first data set circle, star");
        assert_eq!(build(&["classes"], with(&["star", "circle"])).unwrap(), 12);
        assert_eq!(build(&["colour"], with(&["star"])).unwrap_err().path, ["ignore_keys"]);
        let none: Config = serde_json::from_value(json!({ "datasets": [] })).unwrap();
        assert_eq!(none.build(()).err().unwrap().path, ["datasets"]);
    }
}
