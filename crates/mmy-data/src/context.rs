//! What a transform sees besides its sample, and the pipeline that runs transforms one after the other.

use mmy_registry::{BuildError, Slot};
use mmy_structures::{Image, Sample};

use crate::{DataError, DatasetSource, Draw, Transform, TransformStep, Watch};

/// What a transform sees besides its sample.
pub struct Context<'a> {
    /// The data set, for annotations and for transforms of several pictures.
    pub source: &'a dyn DatasetSource,
    /// Index in `source` of the picture at hand.
    pub index: usize,
    /// The place of this step's random choices.
    pub draw: Draw,
    /// Memory to be used again.
    pub buffers: &'a mut Buffers,
}

impl Context<'_> {
    /// The context of another picture of the same data set, or of a step inside this one.
    pub fn inner(&mut self, index: usize, place: u64) -> Context<'_> {
        Context { source: self.source, index, draw: self.draw.place(place), buffers: self.buffers }
    }
}

/// Memory of pictures that are done with, kept by each thread so that a step need not ask the system for more: a fresh
/// 640×640 picture costs 300 page faults.
#[derive(Debug, Default)]
pub struct Buffers {
    free: Vec<Vec<u8>>,
}

impl Buffers {
    /// As many as a pipeline has in use at once: four pictures of a mosaic, its canvas, and a result.
    const KEPT: usize = 8;

    /// `len` bytes of any content.
    pub fn take(&mut self, len: usize) -> Vec<u8> {
        // The smallest that is large enough, else the largest, which then grows.
        let best = (0..self.free.len()).min_by_key(|&it| {
            let capacity = self.free[it].capacity();
            if capacity >= len { (false, capacity) } else { (true, usize::MAX - capacity) }
        });
        let mut buffer = best.map(|it| self.free.swap_remove(it)).unwrap_or_default();
        if buffer.capacity() < len {
            // Without the copy of old content that growing in place would make.
            buffer = Vec::new();
        }
        buffer.resize(len, 0);
        buffer
    }

    /// A picture of any content.
    pub fn image(&mut self, height: usize, width: usize) -> Image {
        let data = self.take(height * width * Image::CHANNELS);
        Image::new(height, width, data).expect("taken with that very length")
    }

    /// Hands memory back.
    pub fn give(&mut self, buffer: Vec<u8>) {
        if self.free.len() < Self::KEPT {
            self.free.push(buffer);
        }
    }

    /// Hands a picture's memory back.
    pub fn give_image(&mut self, image: Image) {
        self.give(image.into_data());
    }
}

/// Transforms, one after the other, with their names.
pub struct Pipeline {
    steps: Vec<(&'static str, Box<dyn TransformStep>)>,
}

impl Pipeline {
    /// Builds the transforms that a config lists.
    ///
    /// # Errors
    /// When one of them cannot be built.
    pub fn build(slots: &[Slot<Transform>]) -> Result<Self, BuildError> {
        let step = |it: &Slot<Transform>| Ok((it.name(), it.build(())?));
        Ok(Pipeline { steps: slots.iter().map(step).collect::<Result<_, _>>()? })
    }

    /// Runs all steps; the n-th makes its random choices in place n of `context.draw`.
    ///
    /// # Errors
    /// As [`DatasetSource::sample`].
    pub fn run(&self, sample: Sample, context: &mut Context<'_>) -> Result<Option<Sample>, DataError> {
        self.watched(sample, context, &mut |_, _| ())
    }

    /// As [`Pipeline::run`], which shows `watch` the sample after each step.
    ///
    /// # Errors
    /// As [`DatasetSource::sample`].
    pub fn watched(
        &self,
        mut sample: Sample,
        context: &mut Context<'_>,
        watch: Watch<'_>,
    ) -> Result<Option<Sample>, DataError> {
        let index = context.index;
        for (place, (name, step)) in self.steps.iter().enumerate() {
            match step.apply(sample, &mut context.inner(index, place as u64))? {
                Some(next) => sample = next,
                None => return Ok(None),
            }
            watch(name, &sample);
        }
        Ok(Some(sample))
    }

    /// Runs all steps on picture `context.index` of `context.source`, from the start.
    ///
    /// # Errors
    /// As [`DatasetSource::sample`].
    pub fn run_from_start(&self, context: &mut Context<'_>) -> Result<Option<Sample>, DataError> {
        // A place of its own, far from those of the steps.
        let draw = context.draw.place(START);
        match context.source.start(context.index, draw, context.buffers)? {
            Some(sample) => self.run(sample, context),
            None => Ok(None),
        }
    }
}

/// The place of what happens before the first step.
pub(crate) const START: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_and_fit() {
        let mut buffers = Buffers::default();
        let big = buffers.take(1000);
        let at = big.as_ptr();
        buffers.give(vec![0; 10]);
        buffers.give(big);
        let again = buffers.take(900);
        assert_eq!((again.as_ptr(), again.len()), (at, 900));
        assert_eq!(buffers.take(5).capacity(), 10);
        assert_eq!(buffers.image(2, 3).shape(), (2, 3));
    }
}
