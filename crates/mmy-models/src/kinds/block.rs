//! Modules of layer lists.

use std::{cell::Cell, fmt::Debug};

use mmy_nn::{
    Scope,
    layers::{Activation, Conv, ConvModule, Norm},
};
use mmy_registry::{BuildError, Kind};
use tch::Tensor;

use crate::{
    kinds::{FeatureInfo, Predictor, Priors},
    scaling::make_divisible,
};

/// A module of a layer list.
pub struct Block;
impl Kind for Block {
    const NAME: &'static str = "block";
    type Args<'a> = BlockArgs<'a>;
    type Output = BuiltBlock;
}

/// What a list says once for all its modules.
#[derive(Debug, Clone, PartialEq)]
pub struct ListSettings {
    /// Classes that the model tells apart.
    pub num_classes: i64,
    /// Factor of the channels that modules are told to give; see [`BlockArgs::width`].
    pub width_multiple: f64,
    /// For each level, width and height of its anchors in pixels of the input.
    pub anchors: Vec<Vec<(f32, f32)>>,
    /// The activation of modules that are not told another.
    pub act: Activation,
    /// The normalisation.
    pub norm: Norm,
    /// Time steps of a spiking model, 1 otherwise. Maps then hold time and batch in one axis, time outside: (T · B, C, H, W).
    pub time_steps: i64,
}

impl Default for ListSettings {
    /// Eighty classes, three anchors on each of no levels, nothing scaled, YOLOv5's activation and normalisation.
    fn default() -> Self {
        ListSettings {
            num_classes: 80,
            width_multiple: 1.0,
            anchors: Vec::new(),
            act: Activation::SiLU,
            norm: Norm::default(),
            time_steps: 1,
        }
    }
}

impl ListSettings {
    /// A convolution with this list's normalisation and activation, which is YOLOv5's `Conv`: `conv`, `bn`.
    pub fn conv(&self, scope: &Scope, in_channels: i64, out_channels: i64, conv: Conv) -> ConvModule {
        ConvModule::new(scope, in_channels, out_channels, conv, self.norm, self.act)
    }

    /// Numbers that a detecting module predicts in each cell.
    pub fn predictions_per_cell(&self) -> i64 {
        self.anchors.first().map_or(3, |it| it.len() as i64) * (5 + self.num_classes)
    }
}

/// What a block is built from.
#[derive(Debug, Clone, Copy)]
pub struct BlockArgs<'a> {
    /// Its place in the parameter tree.
    pub scope: &'a Scope,
    /// The maps that it is handed, in the order in which its entry names them.
    pub inputs: &'a [FeatureInfo],
    /// What the list says for all its modules.
    pub list: &'a ListSettings,
    repeats: i64,
    asked: Option<&'a Cell<bool>>,
}

impl<'a> BlockArgs<'a> {
    /// For a block that is not repeated.
    pub fn new(scope: &'a Scope, inputs: &'a [FeatureInfo], list: &'a ListSettings) -> Self {
        BlockArgs { scope, inputs, list, repeats: 1, asked: None }
    }

    /// With a number of repeats; `asked` is set if the block [takes it](Self::repeats).
    #[must_use]
    pub fn with_repeats(self, repeats: i64, asked: &'a Cell<bool>) -> Self {
        BlockArgs { repeats, asked: Some(asked), ..self }
    }

    /// How often to repeat what is inside of the block, at least 1.
    ///
    /// A block that asks is made once and is expected to heed the answer. One that does not ask is made that many times,
    /// in a row.
    pub fn repeats(&self) -> i64 {
        if let Some(asked) = self.asked {
            asked.set(true);
        }
        self.repeats
    }

    /// The one map that the block is handed.
    ///
    /// # Errors
    /// When it is handed several.
    pub fn input(&self) -> Result<FeatureInfo, BuildError> {
        match self.inputs {
            &[input] => Ok(input),
            inputs => Err(BuildError::new(format!("it takes one map, not {}", inputs.len()))
                .help("name one index, or join the maps by a `Concat` first")),
        }
    }

    /// The channels that `channels` become in this list: scaled by its width and rounded up to a multiple of 8, unless they
    /// are just those of a prediction.
    ///
    /// # Errors
    /// At the key `c2`, when the result is no number of channels.
    pub fn width(&self, channels: i64) -> Result<i64, BuildError> {
        let scaled = match channels {
            it if it == self.list.predictions_per_cell() => it,
            it => make_divisible(it, self.list.width_multiple),
        };
        match (1..=MOST_CHANNELS).contains(&channels) && (1..=MOST_CHANNELS).contains(&scaled) {
            true => Ok(scaled),
            false => {
                let message = format!("{channels} is no number of channels");
                Err(BuildError::new(message).at("c2").help(format!("give a value from 1 to {MOST_CHANNELS}")))
            }
        }
    }
}

/// More channels than any model has.
const MOST_CHANNELS: i64 = 65_536;

/// A built block.
#[derive(Debug)]
pub enum BuiltBlock {
    /// One that turns maps into maps.
    Layer {
        /// The layer.
        layer: Box<dyn Layer>,
        /// What it gives. Each map has an index of its own in the list.
        outputs: Vec<FeatureInfo>,
    },
    /// The one that ends a detector's list.
    Detect {
        /// Its layers, a level for each map that it is handed.
        module: Box<dyn Predictor>,
        /// The anchors of its levels.
        priors: Box<dyn Priors>,
    },
}

impl BuiltBlock {
    /// A block that turns one map into one.
    pub fn map(layer: impl MapLayer + 'static, output: FeatureInfo) -> Self {
        BuiltBlock::Layer { layer: Box::new(Mapped(layer)), outputs: vec![output] }
    }
}

/// A layer of a list.
pub trait Layer: Debug + Send {
    /// The maps that its entry names to the maps that it gives.
    fn forward(&self, inputs: &[Tensor], train: bool) -> Vec<Tensor>;
}

/// A layer that turns one map into one, as most do.
pub trait MapLayer: Debug + Send {
    /// (B, C, H, W) to (B, C', H', W').
    fn forward(&self, x: &Tensor, train: bool) -> Tensor;
}

#[derive(Debug)]
struct Mapped<T>(T);

impl<T: MapLayer> Layer for Mapped<T> {
    fn forward(&self, inputs: &[Tensor], train: bool) -> Vec<Tensor> {
        vec![self.0.forward(&inputs[0], train)]
    }
}
