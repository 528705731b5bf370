//! Models written as a list of layers, YOLOv5's way: each line names the maps that it reads, a module and its arguments.
//!
//! Maps are numbered in order; −1 is the last one. A module that gives several maps, such as a whole backbone, takes
//! several numbers. A backbone takes five, for the strides 2 to 32, or more if it gives more: where it gives fewer, the
//! first numbers are empty. Weights are named by lines instead, `model.N.…`.

mod anchors;
mod builder;
mod entry;

pub use anchors::Anchors;
use builder::Builder;
pub use entry::{From, LayerEntry, Module};
use mmy_nn::Scope;
use mmy_registry::BuildError;
use serde_json::Value;
use tch::Tensor;

use crate::kinds::{FeatureInfo, Layer, ListSettings, Predictor, Priors};

/// A list of layers as it is written.
#[derive(Debug, Clone)]
pub struct ListSource<'a> {
    /// Key in the config, and lines, of each part of the list.
    pub parts: Vec<(&'static str, &'a [LayerEntry])>,
    /// Factor of the numbers of repeats.
    pub depth_multiple: f64,
    /// What holds for all lines.
    pub settings: &'a ListSettings,
    /// What the first line is handed.
    pub input: FeatureInfo,
    /// The maps that are read when the list has ended, unless it ends with a detecting block, which then names them.
    pub outputs: &'a [i64],
}

/// A built list.
#[derive(Debug)]
pub struct LayerList {
    lines: Vec<Line>,
    about: Vec<LineInfo>,
    /// How many maps are numbered.
    maps: usize,
    outputs: Vec<usize>,
    features: Vec<FeatureInfo>,
}

/// What a detector's list ends with.
#[derive(Debug)]
pub struct Detect {
    /// The layers.
    pub module: Box<dyn Predictor>,
    /// The anchors.
    pub priors: Box<dyn Priors>,
}

#[derive(Debug)]
struct Line {
    inputs: Vec<Source>,
    /// One after the other.
    layers: Vec<Box<dyn Layer>>,
    /// Index of the first map that it gives.
    first: usize,
    /// The maps that nobody reads after this line.
    done: Vec<usize>,
}

/// What a line reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// What the list is handed.
    Input,
    /// The map of that number.
    Map(usize),
}

/// What a line is, for tables and pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct LineInfo {
    /// Key of the part of the list that it stands in.
    pub part: &'static str,
    /// The maps that it reads, as written.
    pub from: Vec<i64>,
    /// The numbers of the maps that it reads; what the list is handed has none.
    pub inputs: Vec<Option<usize>>,
    /// How often its module is repeated.
    pub repeats: i64,
    /// The module.
    pub module: &'static str,
    /// Its arguments by key, defaults spelled out.
    pub arguments: Value,
    /// Its place in the parameter tree.
    pub path: String,
    /// Number of the first map that it gives.
    pub first: usize,
    /// The maps that it gives.
    pub outputs: Vec<FeatureInfo>,
}

impl LayerList {
    /// Builds every line below `scope`; the last one may be a detecting block.
    ///
    /// # Errors
    /// All that is wrong with any line, as one [`BuildError`] with others.
    pub fn build(source: &ListSource<'_>, scope: &Scope) -> Result<(LayerList, Option<Detect>), BuildError> {
        Builder::new(source).run(scope)
    }

    /// What [`LayerList::forward`] gives.
    pub fn feature_info(&self) -> &[FeatureInfo] {
        &self.features
    }

    /// Its lines.
    pub fn lines(&self) -> &[LineInfo] {
        &self.about
    }

    /// (B, C, H, W) to the maps that are read when the list has ended.
    pub fn forward(&self, x: &Tensor, train: bool) -> Vec<Tensor> {
        let mut maps: Vec<Option<Tensor>> = (0..self.maps).map(|_| None).collect();
        let held = |maps: &[Option<Tensor>], at: usize| {
            maps[at].as_ref().expect("a map is kept until its last reader has run").shallow_clone()
        };
        for line in &self.lines {
            let input = |it: &Source| match *it {
                Source::Input => x.shallow_clone(),
                Source::Map(at) => held(&maps, at),
            };
            let inputs = line.inputs.iter().map(input).collect();
            let outputs = line.layers.iter().fold(inputs, |inputs: Vec<Tensor>, it| it.forward(&inputs, train));
            for (at, map) in outputs.into_iter().enumerate() {
                maps[line.first + at] = Some(map);
            }
            for &at in &line.done {
                maps[at] = None;
            }
        }
        self.outputs.iter().map(|&at| held(&maps, at)).collect()
    }
}
