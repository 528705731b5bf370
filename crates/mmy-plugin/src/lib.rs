//! What a crate with parts of its own needs of mmy: one dependency, one `use`.
//!
//! A *part* is anything that a config names by `type`: a backbone, a block of a layer list, a loss, a transform, a hook.
//! It is one file with a `Config`, whose doc comments are the part's manual, and one `register!` line. A part from a plugin
//! crate can do all that one of the core can: its keys are checked, `mmy registry show` documents it, `mmy config explain`
//! and the schema know it.
//!
//! ```
//! use mmy_plugin::prelude::*;
//!
//! register!(Loss, "SmoothedBCE", Config);
//!
//! /// Binary cross entropy with smoothed targets.
//! #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields, default)]
//! pub struct Config {
//!     /// How far targets move from 0 and 1 towards each other, 0 to below 1.
//!     pub smoothing: f64,
//!     /// Factor.
//!     pub loss_weight: f64,
//! }
//!
//! impl Default for Config {
//!     fn default() -> Self {
//!         Config { smoothing: 0.1, loss_weight: 1.0 }
//!     }
//! }
//!
//! impl Build<Loss> for Config {
//!     fn build(&self, (): ()) -> Result<Box<dyn ScoreLoss>, BuildError> {
//!         in_range("smoothing", self.smoothing, 0.0..=0.99)?;
//!         Ok(Box::new(SmoothedBce(self.clone())))
//!     }
//! }
//!
//! #[derive(Debug)]
//! struct SmoothedBce(Config);
//!
//! impl ScoreLoss for SmoothedBce {
//!     fn forward(&self, logits: &Tensor, targets: &Tensor) -> Tensor {
//!         let targets = targets * (1.0 - self.0.smoothing) + self.0.smoothing / 2.0;
//!         let none = None::<Tensor>;
//!         let loss = logits.binary_cross_entropy_with_logits(&targets, none.as_ref(), none.as_ref(), Reduction::Mean);
//!         loss * self.0.loss_weight
//!     }
//! }
//!
//! # fn main() {
//! let slot: Slot<Loss> = serde_json::from_str(r#"{ "type": "SmoothedBCE", "smoothing": 0.2 }"#).unwrap();
//! let loss = slot.build(()).unwrap();
//! let value = loss.forward(&Tensor::from_slice(&[0f32]), &Tensor::from_slice(&[1f32]));
//! assert!((value.double_value(&[]) - 0.6931).abs() < 1e-4);
//! # }
//! ```
//!
//! `mmy new plugin my_blocks` makes a crate with one part of several kinds, their tests and a config;
//! `mmy build --plugin ./my_blocks -o my-mmy` makes a binary that has them.
//!
//! # Kinds
//!
//! | kind | trait | built from |
//! |---|---|---|
//! | [`Backbone`](prelude::Backbone) | [`Features`](prelude::Features) | its place in the parameter tree |
//! | [`Neck`](prelude::Neck) | [`FeatureMixer`](prelude::FeatureMixer) | that, and the backbone's maps |
//! | [`BBoxHead`](prelude::BBoxHead) | [`DenseHead`](prelude::DenseHead) | that, the neck's maps, the test settings |
//! | [`Loss`](prelude::Loss) | [`ScoreLoss`](prelude::ScoreLoss) | nothing |
//! | [`BoxLoss`](prelude::BoxLoss) | [`BoxDistance`](prelude::BoxDistance) | nothing |
//! | [`Transform`](prelude::Transform) | [`TransformStep`](prelude::TransformStep) | nothing |
//! | [`HookKind`](prelude::HookKind) | [`Hook`](prelude::Hook) | nothing |
//!
//! Every other kind of the core can be named through its crate: [`models`], [`data`], [`engine`].
//!
//! # What stays
//!
//! This crate and what its [`prelude`] names follow semantic versioning from 1.0 on; before that a change of the second
//! number may break. A method that a trait gains has a default. The crates below it ([`models`], [`data`], …) may change
//! with every version: what a plugin uses of them has to be looked after. A checkpoint records name, version and source
//! hash of each plugin crate that was linked into the program that wrote it.

pub use mmy_data as data;
pub use mmy_engine as engine;
pub use mmy_models as models;
pub use mmy_nn as nn;
pub use mmy_structures as structures;
pub use mmy_torch as torch;
pub use {mmy_registry as registry, tch};

/// What most parts need.
pub mod prelude {
    pub use mmy_data::{Context, DataError, Dataset, DatasetSource, Draw, Transform, TransformStep};
    pub use mmy_engine::{
        EngineError, MessageHub, Model, Priority, Progress,
        hooks::{
            EvalContext, EvalEpochContext, EvalIterContext, Hook, HookKind, LoadContext, Request, RunContext,
            SaveContext, Stage, TrainContext, TrainIterContext, TrainStepContext,
        },
    };
    pub use mmy_models::kinds::{
        BBoxHead, Backbone, BoxDistance, BoxLoss, DenseHead, FeatureInfo, FeatureMixer, Features, Loss, Neck, NeckArgs,
        ScoreLoss, in_range,
    };
    pub use mmy_nn::{
        Init, ParamStore, Role, Scope,
        layers::{Activation, Conv, Conv2d, ConvModule, Norm},
    };
    pub use mmy_registry::{Build, BuildError, Kind, Slot, register};
    pub use mmy_structures::{BBox, Batch, Detections, Image, Instance, Sample};
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::Value;
    pub use tch::{Reduction, Tensor};
}
