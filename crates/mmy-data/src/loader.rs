//! Batches from a data set, with worker threads.

mod batches;
mod config;

use std::{
    any::Any,
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use mmy_structures::{Batch, Sample};

pub use batches::Batches;
pub use config::{DataloaderConfig, LoaderArgs, OnBadImage};

use crate::{Buffers, CollateFn, DataError, DatasetSource, Draw, SampleOrder, Watch};

/// Batches from a data set, in the order of a sampler. Cheap to clone; clones share the data set.
#[derive(Clone)]
pub struct Loader {
    inner: Arc<Inner>,
}

/// What the worker threads share.
struct Inner {
    source: Arc<dyn DatasetSource>,
    order: Arc<dyn SampleOrder>,
    collate: Arc<dyn CollateFn>,
    batch_size: usize,
    drop_last: bool,
    num_workers: usize,
    prefetch_factor: usize,
    /// Seconds to wait for a batch of the threads; 0 waits for ever.
    timeout: u64,
    on_bad_image: OnBadImage,
    seed: u64,
    /// Bad pictures that have been reported.
    reported: Mutex<HashSet<PathBuf>>,
}

impl Loader {
    /// A loader of `batch_size` (at least 1) samples a batch, in order, without threads, that redraws bad pictures:
    /// what [`DataloaderConfig::build`] starts from, and what prediction uses.
    pub fn new(
        source: Arc<dyn DatasetSource>,
        order: Arc<dyn SampleOrder>,
        collate: Arc<dyn CollateFn>,
        batch_size: usize,
        seed: u64,
    ) -> Self {
        let inner = Inner {
            source,
            order,
            collate,
            batch_size: batch_size.max(1),
            drop_last: false,
            num_workers: 0,
            prefetch_factor: 2,
            timeout: 0,
            on_bad_image: OnBadImage::Redraw,
            seed,
            reported: Mutex::default(),
        };
        Loader { inner: Arc::new(inner) }
    }

    /// The same with `num_workers` threads, each with up to `prefetch_factor` (at least 1) batches in memory.
    #[must_use]
    pub fn with_workers(&self, num_workers: usize, prefetch_factor: usize) -> Self {
        let it = &*self.inner;
        let inner = Inner {
            source: it.source.clone(),
            order: it.order.clone(),
            collate: it.collate.clone(),
            num_workers,
            prefetch_factor: prefetch_factor.max(1),
            reported: Mutex::default(),
            ..*it
        };
        Loader { inner: Arc::new(inner) }
    }

    /// The same that waits at most so many seconds for a batch of its threads; 0 waits for ever.
    #[must_use]
    pub fn with_timeout(&self, seconds: u64) -> Self {
        let mut loader = self.with_workers(self.inner.num_workers, self.inner.prefetch_factor);
        Arc::get_mut(&mut loader.inner).expect("nobody shares it yet").timeout = seconds;
        loader
    }

    /// The same over the same pictures through another pipeline; nothing where the data set cannot exchange its own.
    pub fn with_pipeline(&self, pipeline: crate::Pipeline) -> Option<Self> {
        let source = self.inner.source.with_pipeline(pipeline)?;
        let mut loader = self.with_workers(self.inner.num_workers, self.inner.prefetch_factor);
        Arc::get_mut(&mut loader.inner).expect("nobody shares it yet").source = source;
        Some(loader)
    }

    /// Batches in an epoch.
    pub fn len(&self) -> usize {
        let Inner { order, batch_size, drop_last, .. } = &*self.inner;
        if *drop_last { order.len() / batch_size } else { order.len().div_ceil(*batch_size) }
    }

    /// Whether the sampler goes on after an epoch without an end.
    pub fn is_endless(&self) -> bool {
        self.inner.order.endless()
    }

    /// Whether an epoch has no batch.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The data set.
    pub fn dataset(&self) -> &Arc<dyn DatasetSource> {
        &self.inner.source
    }

    /// Samples in a batch; the last one of an epoch may have fewer.
    pub fn batch_size(&self) -> usize {
        self.inner.batch_size
    }

    /// Samples in an epoch.
    pub fn samples(&self) -> usize {
        if self.inner.drop_last { self.len() * self.inner.batch_size } else { self.inner.order.len() }
    }

    /// The batches of an epoch (from 0), beginning with number `first_batch`, which takes no longer than beginning with
    /// the first. Worker threads start at once and stop when the iterator is dropped. After an error there is no
    /// further batch.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Batches {
        Batches::start(self.inner.clone(), self.len(), epoch, first_batch)
    }

    /// Sample `index` of an epoch (from 0), with the very bytes that training sees, and the index that it has: that of
    /// another one where it was turned down. `watch` is shown the sample after each step of its pipeline.
    ///
    /// # Errors
    /// As [`Batches`]' items.
    pub fn sample(&self, epoch: u64, index: usize, watch: Watch<'_>) -> Result<(usize, Sample), DataError> {
        let mut buffers = Buffers::default();
        let (found, draw, sample) = self.inner.find(epoch, index, &mut buffers)?;
        let again = self.inner.source.watched(found, draw, &mut buffers, watch)?;
        Ok((found, again.unwrap_or(sample)))
    }

    /// The data set's indices of the samples that batch `number` of an epoch asks for (a redrawn one gives way to
    /// another).
    pub fn indices(&self, epoch: u64, number: usize) -> Vec<usize> {
        self.inner.positions(number).map(|it| self.inner.order.index(epoch, it)).collect()
    }
}

impl Inner {
    fn positions(&self, number: usize) -> std::ops::Range<usize> {
        let first = number.saturating_mul(self.batch_size);
        let end = first.saturating_add(self.batch_size);
        if self.order.endless() { first..end } else { first..end.min(self.order.len()) }
    }

    /// Batch `number` of an epoch; `go_on` is told the index of each sample before it is prepared, and tells whether
    /// anybody still wants it.
    ///
    /// A worker that died would leave the caller waiting for its batch, so no panic goes further than this.
    fn batch(
        &self,
        epoch: u64,
        number: usize,
        buffers: &mut Buffers,
        go_on: impl Fn(usize) -> bool,
    ) -> Option<Result<Batch, DataError>> {
        catch_unwind(AssertUnwindSafe(|| self.assemble(epoch, number, buffers, go_on)))
            .unwrap_or_else(|panic| Some(Err(DataError::Collate(format!("panic: {}", message(&*panic))))))
    }

    fn assemble(
        &self,
        epoch: u64,
        number: usize,
        buffers: &mut Buffers,
        go_on: impl Fn(usize) -> bool,
    ) -> Option<Result<Batch, DataError>> {
        let mut samples = Vec::with_capacity(self.batch_size);
        for position in self.positions(number) {
            let index = self.order.index(epoch, position);
            if !go_on(index) {
                return None;
            }
            match self.sample(epoch, index, buffers) {
                Ok(sample) => samples.push(sample),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(self.collate.collate(samples, &*self.source, buffers))
    }

    /// Sample `index` of an epoch, or the one drawn in its place when it is turned down; with the index it has.
    fn sample(&self, epoch: u64, wanted: usize, buffers: &mut Buffers) -> Result<(usize, Sample), DataError> {
        self.find(epoch, wanted, buffers).map(|(index, _, sample)| (index, sample))
    }

    /// As [`Inner::sample`], with the place of the sample's random choices.
    fn find(&self, epoch: u64, wanted: usize, buffers: &mut Buffers) -> Result<(usize, Draw, Sample), DataError> {
        /// mmengine's `max_refetch`.
        const TRIES: usize = 1000;
        let first = Draw::new(self.seed, epoch, wanted as u64);
        let (mut index, mut draw) = (wanted, first);
        for attempt in 0..TRIES {
            match self.guarded(index, draw, buffers) {
                Ok(Some(sample)) => return Ok((index, draw, sample)),
                Ok(None) if self.source.test_mode() => break,
                Ok(None) => {}
                Err(error) => match error.bad_image() {
                    Some(path) if self.may_redraw() => self.report(path, &error),
                    _ => return Err(error),
                },
            }
            // Far from the places that pipelines number from 0.
            draw = first.place(u64::MAX - attempt as u64);
            index = draw.rng().below(self.source.len());
        }
        let tries = if self.source.test_mode() { 1 } else { TRIES };
        Err(DataError::NoSample { index: wanted, tries, draw: first.to_string() })
    }

    /// A metric over fewer pictures than the data set has would compare with nothing, so testing never redraws.
    fn may_redraw(&self) -> bool {
        self.on_bad_image == OnBadImage::Redraw && !self.source.test_mode()
    }

    /// The sample, with a panic on the way turned into an error that names it.
    fn guarded(&self, index: usize, draw: Draw, buffers: &mut Buffers) -> Result<Option<Sample>, DataError> {
        catch_unwind(AssertUnwindSafe(|| self.source.sample(index, draw, buffers))).unwrap_or_else(|panic| {
            let path = self.source.meta(index).img_path;
            Err(DataError::Panic { index, path, draw: draw.to_string(), message: message(&*panic) })
        })
    }

    fn report(&self, path: &Path, error: &DataError) {
        if self.reported.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned()) {
            tracing::warn!("{error}; another picture is drawn in its place");
        }
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no message)").to_owned()
}
