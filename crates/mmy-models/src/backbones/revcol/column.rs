//! One column: four levels, each of which joins the level below with the level above of the column before.

use std::{
    array,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mmy_nn::{
    Init, Role, Scope,
    layers::{Conv, Conv2d, DropPath, LayerNorm, Linear, upsample_nearest},
    trace,
};
use tch::{Kind, Tensor};

use crate::layers::ConvNextBlock;

/// Levels of a column, from stride 4 to stride 32.
pub(super) const LEVELS: usize = 4;

/// The maps of a column, finest first.
pub(crate) type Maps = [Tensor; LEVELS];

/// A factor is kept at least this far from 0, since the reversible pass divides by it.
const LEAST_FACTOR: f64 = 1e-3;

/// A column: `alpha0` … `alpha3` (1, C, 1, 1), `level0` … `level3`.
#[derive(Debug)]
pub(super) struct Column {
    first: bool,
    alphas: Maps,
    levels: [Level; LEVELS],
}

/// The columns of a network. A graph that is still to be walked holds them too, perhaps on another thread.
pub(super) type Columns = Arc<[Mutex<Column>]>;

/// A column of [`Columns`].
pub(super) fn locked(column: &Mutex<Column>) -> MutexGuard<'_, Column> {
    column.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a level is made of.
pub(super) struct LevelSizes<'a> {
    /// Channels of each level.
    pub(super) channels: [i64; LEVELS],
    /// For each level one entry a block.
    pub(super) drop_paths: &'a [Vec<DropPath>; LEVELS],
}

impl Column {
    pub(super) fn new(scope: &Scope, first: bool, sizes: &LevelSizes<'_>) -> Self {
        let alpha =
            |l: usize| scope.param(&format!("alpha{l}"), &[1, sizes.channels[l], 1, 1], Init::Const(0.5), Role::Weight);
        Column {
            first,
            alphas: array::from_fn(alpha),
            levels: array::from_fn(|l| Level::new(&(scope / format_args!("level{l}")), l, first, sizes)),
        }
    }

    /// Whether there is no column before it.
    pub(super) fn is_first(&self) -> bool {
        self.first
    }

    pub(super) fn alphas(&self) -> &Maps {
        &self.alphas
    }

    pub(super) fn levels(&self) -> &[Level; LEVELS] {
        &self.levels
    }

    /// The trainable parameters of its levels, level by level, and all of its factors.
    pub(super) fn params(&self) -> Vec<Tensor> {
        let params = self.levels.iter().flat_map(Level::params).chain(&self.alphas);
        params.map(Tensor::shallow_clone).collect()
    }

    /// Brings factors that training has moved too near to 0 back to where one can divide by them; 0 counts as positive.
    pub(super) fn clamp_alphas(&self) {
        tch::no_grad(|| {
            for alpha in &self.alphas {
                let size = alpha.abs();
                // A tensor that is written to invalidates graphs that hold it: only where it has to be.
                if size.min().double_value(&[]) < LEAST_FACTOR {
                    let sign = alpha.ge(0.0).to_kind(Kind::Float) * 2.0 - 1.0;
                    alpha.shallow_clone().copy_(&(sign * size.clamp_min(LEAST_FACTOR)));
                }
            }
        });
    }

    /// The stem's map and the maps of the column before, which the first column does not look at, to this column's.
    /// Levels compute in float32; what they add up to is kept in `kind`. `before_level` is called before each level.
    pub(super) fn forward(
        &self,
        stem: &Tensor,
        old: Option<&Maps>,
        train: bool,
        kind: Kind,
        mut before_level: impl FnMut(usize),
    ) -> Maps {
        let mut new: [Option<Tensor>; LEVELS] = Default::default();
        for l in 0..LEVELS {
            before_level(l);
            let below = match l.checked_sub(1).and_then(|it| new[it].as_ref()) {
                Some(below) => below.to_kind(Kind::Float),
                None => stem.shallow_clone(),
            };
            let above = old.and_then(|it| it.get(l + 1)).map(|it| it.to_kind(Kind::Float));
            let y = self.levels[l].forward(&below, above.as_ref(), train).to_kind(kind);
            new[l] = Some(match old {
                _ if trace::shapes_only() => y,
                Some(old) => y + &old[l] * &self.alphas[l],
                // Nothing is there to be multiplied; the gradient of the factor is 0, as the original has it.
                None => y + &self.alphas[l] * 0.0,
            });
            let last = new[l].as_ref().unwrap_or(stem);
            let path = &self.levels[l].path;
            trace::report("Reversible", format_args!("{path}.alpha"), last, self.alphas[l].numel() as u64, 0);
        }
        new.map(Option::unwrap_or_default)
    }
}

/// One level: `fusion`, `blocks.J`.
#[derive(Debug)]
pub(super) struct Level {
    path: String,
    down: Option<(Conv2d, LayerNorm)>,
    up: Option<UpSample>,
    blocks: Vec<ConvNextBlock>,
    params: Vec<Tensor>,
}

impl Level {
    fn new(scope: &Scope, l: usize, first: bool, sizes: &LevelSizes<'_>) -> Self {
        let channels = sizes.channels[l];
        let fusion = scope / "fusion";
        let down = l.checked_sub(1).map(|below| {
            let scope = &fusion / "down";
            let conv = Conv::new(2, 2).padding(0).with_bias();
            (
                Conv2d::new(&(&scope / 0), sizes.channels[below], channels, conv),
                LayerNorm::new(&(&scope / 1), channels, 1e-6),
            )
        });
        let above = sizes.channels.get(l + 1).filter(|_| !first);
        let up = above.map(|&above| UpSample::new(&(&fusion / "up"), above, channels));
        let blocks = sizes.drop_paths[l]
            .iter()
            .enumerate()
            .map(|(j, &drop_path)| ConvNextBlock::new(&(scope / "blocks" / j), channels, 4 * channels, 3, drop_path));
        let blocks = blocks.collect();
        Level { path: scope.path().to_owned(), down, up, blocks, params: scope.trainable() }
    }

    /// Its trainable parameters.
    pub(super) fn params(&self) -> &[Tensor] {
        &self.params
    }

    /// The level below of this column, and the level above of the column before where there is one, to the sum that
    /// the blocks make of them.
    pub(super) fn forward(&self, below: &Tensor, above: Option<&Tensor>, train: bool) -> Tensor {
        let below = match &self.down {
            Some((conv, norm)) => norm.forward_maps(&conv.forward(below)),
            None => below.shallow_clone(),
        };
        let fused = match (&self.up, above) {
            _ if trace::shapes_only() => {
                if let (Some(up), Some(above)) = (&self.up, above) {
                    let _ = up.forward(above);
                }
                below
            }
            (Some(up), Some(above)) => up.forward(above) + below,
            _ => below,
        };
        self.blocks.iter().fold(fused, |x, it| it.forward(&x, train))
    }
}

/// Fewer channels, then twice the size: `channel_reschedule.0` and `.1`.
#[derive(Debug)]
struct UpSample {
    linear: Linear,
    norm: LayerNorm,
}

impl UpSample {
    fn new(scope: &Scope, from: i64, to: i64) -> Self {
        let scope = scope / "channel_reschedule";
        UpSample { linear: Linear::new(&(&scope / 0), from, to), norm: LayerNorm::new(&(&scope / 1), to, 1e-6) }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let y = self.norm.forward(&self.linear.forward(&x.permute([0, 2, 3, 1])));
        upsample_nearest(&y.permute([0, 3, 1, 2]), 2)
    }
}
