//! Data sets, transforms, samplers and the loader.
//!
//! A [`DatasetSource`] knows its pictures by index; a [`Pipeline`] of transforms makes a
//! [`Sample`](mmy_structures::Sample) of one; a [`Loader`] puts samples together into batches, in the order of a sampler,
//! with worker threads.
//!
//! What a sample looks like depends on (seed, epoch, index) alone: every random choice comes from a [`Draw`], never from
//! a thread or from what was drawn before. So the bytes are the same with any number of threads, and a run may start in
//! the middle of an epoch without drawing what came before.

pub mod anchors;
mod batch_shapes;
pub mod check;
pub mod collate;
mod context;
pub mod convert;
mod datasets;
mod error;
mod kinds;
mod loader;
pub mod ops;
mod outline;
mod random;
mod samplers;
mod shapes;
pub mod stats;
mod transforms;

pub use context::{Buffers, Context, Pipeline};
pub use datasets::{FileDataset, FilterConfig, MetaInfo, Record};
pub use error::DataError;
pub use kinds::{
    Albumentation, BatchShaper, BatchShapes, Collate, CollateFn, Dataset, DatasetSource, PixelStep, SampleOrder,
    Sampler, SamplerArgs, Transform, TransformStep, Watch,
};
pub use loader::{Batches, DataloaderConfig, Loader, LoaderArgs, OnBadImage};
pub use outline::{Annotations, BatchShapeOutline, DatasetOutline, Peek, SizeStep};
pub use random::{Draw, Permutation, Rng};
pub use shapes::{ShapeClass, ShapesConfig, ShapesOutcome, make_shapes};
