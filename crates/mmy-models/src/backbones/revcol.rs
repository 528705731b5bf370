//! RevCol ("Reversible Column Networks", arXiv 2212.11696): columns of four levels, each column a function that can be
//! undone.
//!
//! Names are those of the reference without its classifiers: `stem.0.weight`, `subnet0.alpha0`,
//! `subnet0.level0.blocks.0.dwconv.weight`.

mod column;
mod reversible;

use std::{array, sync::Mutex};

use mmy_nn::{
    Scope, Start,
    layers::{Conv, Conv2d, DropPath, LayerNorm},
    trace,
};
use mmy_registry::{Build, BuildError, register};
use mmy_torch::autograd::is_grad_enabled;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

pub(crate) use self::column::Maps;
use self::column::{Column, Columns, LEVELS, LevelSizes, locked};
use crate::{
    backbones::check_out_indices,
    kinds::{Backbone, FeatureInfo, Features, in_range},
};

register!(Backbone, "RevCol", Config);

/// RevCol ("Reversible Column Networks", arXiv 2212.11696): a stem of stride 4 and columns of four levels at strides 4,
/// 8, 16, 32. Each column sees the stem's map and what the column before gave at each level; the last column's maps go
/// to the neck. A column can be undone, so that training need not keep its activations.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Channels of the four levels.
    pub channels: Vec<i64>,
    /// ConvNeXt blocks in each level of a column.
    pub layers: Vec<i64>,
    /// Number of columns.
    pub columns: i64,
    /// Probability with which training skips the last block of a column, 0 to below 1; it grows linearly from 0 in the
    /// first block, in every column alike.
    pub drop_path: f64,
    /// Whether the backward pass computes each column's inputs anew from its outputs instead of keeping activations:
    /// memory then hardly grows with the columns, and a step takes about a third longer. Gradients agree to 1e-4.
    pub reversible: bool,
    /// Levels whose maps go to the neck, finest first; level 0 has stride 4, level 3 stride 32.
    pub out_indices: Vec<usize>,
}

impl Default for Config {
    /// RevCol-tiny.
    fn default() -> Self {
        Config {
            channels: vec![64, 128, 256, 512],
            layers: vec![2, 2, 4, 2],
            columns: 4,
            drop_path: 0.1,
            reversible: true,
            out_indices: vec![1, 2, 3],
        }
    }
}

impl Build<Backbone> for Config {
    fn build(&self, scope: &Scope) -> Result<Box<dyn Features>, BuildError> {
        Ok(Box::new(self.net(scope)?))
    }
}

impl Config {
    /// The network, for models that look at more than its last maps.
    pub(crate) fn net(&self, scope: &Scope) -> Result<RevCol, BuildError> {
        let four = |key: &str, values: &[i64], most: i64| {
            let fits = values.len() == LEVELS && values.iter().all(|it| (1..=most).contains(it));
            let message = format!("{values:?} does not give each of the {LEVELS} levels a number from 1 to {most}");
            if fits { Ok(()) } else { Err(BuildError::new(message).at(key)) }
        };
        four("channels", &self.channels, 1 << 14)?;
        four("layers", &self.layers, 100)?;
        in_range("columns", self.columns, 1..=256)?;
        in_range("drop_path", self.drop_path, 0.0..=0.99)?;
        check_out_indices(&self.out_indices, LEVELS)?;

        let scope = scope.starting(Start::Normal { std: 0.02 });
        let stem = &scope / "stem";
        let stem = (
            Conv2d::new(&(&stem / 0), 3, self.channels[0], Conv::new(4, 4).padding(0).with_bias()),
            LayerNorm::new(&(&stem / 1), self.channels[0], 1e-6),
        );
        let total = self.layers.iter().sum::<i64>() as usize;
        let mut rates = DropPath::linear(self.drop_path, total);
        let drop_paths: [Vec<_>; LEVELS] = array::from_fn(|l| rates.by_ref().take(self.layers[l] as usize).collect());
        let sizes = LevelSizes { channels: array::from_fn(|l| self.channels[l]), drop_paths: &drop_paths };
        let column = |i| Mutex::new(Column::new(&(&scope / format_args!("subnet{i}")), i == 0, &sizes));
        Ok(RevCol {
            stem,
            columns: (0..self.columns).map(column).collect(),
            channels: self.channels.clone(),
            draws: self.drop_path > 0.0,
            reversible: self.reversible,
            out_indices: self.out_indices.clone(),
        })
    }
}

/// A built RevCol.
#[derive(Debug)]
pub(crate) struct RevCol {
    stem: (Conv2d, LayerNorm),
    columns: Columns,
    channels: Vec<i64>,
    draws: bool,
    reversible: bool,
    out_indices: Vec<usize>,
}

impl RevCol {
    /// (B, 3, H, W) to the maps of the last column; `visit` sees those of each column.
    pub(crate) fn maps(&self, x: &Tensor, train: bool, visit: &mut dyn FnMut(usize, &Maps)) -> Maps {
        let stem = self.stem.1.forward_maps(&self.stem.0.forward(x));
        if !trace::shapes_only() {
            self.columns.iter().for_each(|it| locked(it).clamp_alphas());
            if self.reversible && is_grad_enabled() {
                match reversible::forward(&self.columns, &stem, train, train && self.draws, visit) {
                    Ok(maps) => return maps,
                    Err(error) => tracing::warn!("RevCol keeps its activations in this step: {error}"),
                }
            }
        }
        let mut maps: Option<Maps> = None;
        for (index, column) in self.columns.iter().enumerate() {
            let next = locked(column).forward(&stem, maps.as_ref(), train, Kind::Float, |_| {});
            visit(index, &next);
            maps = Some(next);
        }
        maps.unwrap_or_default()
    }
}

impl Features for RevCol {
    fn feature_info(&self) -> Vec<FeatureInfo> {
        let info = |&l: &usize| FeatureInfo { channels: self.channels[l], stride: 4 << l };
        self.out_indices.iter().map(info).collect()
    }

    fn forward(&self, x: &Tensor, train: bool) -> Vec<Tensor> {
        let maps = self.maps(x, train, &mut |_, _| {});
        self.out_indices.iter().map(|&l| maps[l].shallow_clone()).collect()
    }
}
