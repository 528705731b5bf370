//! The steps of a pipeline, under MMYOLO's names.

mod albu;
mod hsv_random_aug;
mod keep_ratio_resize;
mod letter_resize;
mod load_annotations;
mod load_image;
mod mixup;
mod mosaic;
mod pack;
mod random_affine;
mod random_flip;

use mmy_registry::BuildError;
use mmy_structures::Sample;

use crate::{Context, DataError, Pipeline, Rng};

/// Whether `value` is a probability.
fn probability(key: &str, value: f64) -> Result<(), BuildError> {
    match value {
        0.0..=1.0 => Ok(()),
        _ => Err(BuildError::new(format!("{value} is no probability, which lies between 0 and 1")).at(key)),
    }
}

/// A grey level from a number that may have come with a point (`114.0`).
fn grey_level(key: &str, value: f64) -> Result<u8, BuildError> {
    match value {
        0.0..=255.0 => Ok(value as u8),
        _ => Err(BuildError::new(format!("{value} is no grey level, which lies between 0 and 255")).at(key)),
    }
}

/// Whether both sides of a size are at least 1.
fn size(key: &str, [width, height]: [usize; 2]) -> Result<(), BuildError> {
    if width == 0 || height == 0 || width > 1 << 15 || height > 1 << 15 {
        return Err(BuildError::new(format!("{width}×{height} is no size of a picture")).at(key));
    }
    Ok(())
}

/// Whether `[low, high]` is a range of numbers that are at least `least`.
fn range(key: &str, [low, high]: [f64; 2], least: f64) -> Result<(), BuildError> {
    if !(least <= low && low <= high && high.is_finite()) {
        let message = format!("[{low}, {high}] is no range from low to high of numbers from {least}");
        return Err(BuildError::new(message).at(key));
    }
    Ok(())
}

/// Another picture of the data set, drawn at random and sent through `pipeline`; nothing when the pipeline turned down
/// `tries` of them. `place` keeps several such pictures of one transform apart.
fn mixed(
    pipeline: &Pipeline,
    context: &mut Context<'_>,
    rng: &mut Rng,
    place: u64,
    tries: usize,
) -> Result<Option<Sample>, DataError> {
    for attempt in 0..tries as u64 {
        let index = rng.below(context.source.len());
        if let Some(sample) = pipeline.run_from_start(&mut context.inner(index, place << 32 | attempt))? {
            return Ok(Some(sample));
        }
    }
    Ok(None)
}
