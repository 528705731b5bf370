//! The batches of one epoch, prepared in threads and handed out in order.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use mmy_structures::Batch;

use super::Inner;
use crate::{Buffers, DataError};

/// The batches of one epoch, in order. Dropping it stops the workers and waits for them, at most one sample each.
pub struct Batches {
    inner: Arc<Inner>,
    epoch: u64,
    /// Number of the batch to hand out next.
    next: usize,
    /// One past the last.
    end: usize,
    prepare: Prepare,
}

enum Prepare {
    /// In the caller.
    Here(Buffers),
    Threads(Workers),
}

type Done = (usize, Result<Batch, DataError>);

struct Workers {
    /// Numbers of batches to prepare. One goes in whenever one comes out, so that only so many are in memory.
    todo: Option<Sender<usize>>,
    done: Receiver<Done>,
    /// Batches that came before their turn.
    early: BTreeMap<usize, Result<Batch, DataError>>,
    /// Number of the batch to send out next.
    unsent: usize,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// What each thread is at: the index of a sample, or [`IDLE`].
    at: Vec<Arc<AtomicUsize>>,
}

/// A thread without a sample.
const IDLE: usize = usize::MAX;

impl Batches {
    pub(super) fn start(inner: Arc<Inner>, len: usize, epoch: u64, first: usize) -> Self {
        let end = if inner.order.endless() { usize::MAX } else { len };
        let next = first.min(end);
        let threads = inner.num_workers.min(end - next);
        let prepare = match Workers::start(&inner, threads, epoch, next, end) {
            Some(workers) => Prepare::Threads(workers),
            None => Prepare::Here(Buffers::default()),
        };
        Batches { inner, epoch, next, end, prepare }
    }

    /// Number in the epoch of the batch that comes next.
    pub fn next_number(&self) -> usize {
        self.next
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let batch = match &mut self.prepare {
            Prepare::Here(buffers) => self.inner.batch(self.epoch, self.next, buffers, |_| true)?,
            Prepare::Threads(workers) => workers.take(&self.inner, self.next, self.end),
        };
        self.next = if batch.is_ok() { self.next + 1 } else { self.end };
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.end - self.next))
    }
}

impl Workers {
    /// Nothing when `count` is 0, or when the system gives no thread.
    fn start(inner: &Arc<Inner>, count: usize, epoch: u64, first: usize, end: usize) -> Option<Self> {
        let (todo, jobs) = unbounded();
        let (results, done) = unbounded();
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::with_capacity(count);
        let at: Vec<_> = (0..count).map(|_| Arc::new(AtomicUsize::new(IDLE))).collect();
        for (number, at) in at.iter().enumerate() {
            let work = Worker {
                inner: inner.clone(),
                epoch,
                jobs: jobs.clone(),
                results: results.clone(),
                stop: stop.clone(),
                at: at.clone(),
            };
            // The batches are the same with fewer threads.
            match std::thread::Builder::new().name(format!("loader {number}")).spawn(move || work.run()) {
                Ok(thread) => threads.push(thread),
                Err(error) => tracing::warn!("loader thread {number} does not start: {error}"),
            }
        }
        if threads.is_empty() {
            return None;
        }
        let mut workers = Workers { todo: Some(todo), done, early: BTreeMap::new(), unsent: first, stop, threads, at };
        for _ in 0..count * inner.prefetch_factor {
            workers.send(end);
        }
        Some(workers)
    }

    fn send(&mut self, end: usize) {
        if self.unsent < end
            && let Some(todo) = &self.todo
            && todo.send(self.unsent).is_ok()
        {
            self.unsent += 1;
        }
    }

    fn take(&mut self, inner: &Inner, number: usize, end: usize) -> Result<Batch, DataError> {
        let patience = match inner.timeout {
            0 => Duration::MAX,
            seconds => Duration::from_secs(seconds),
        };
        loop {
            if let Some(batch) = self.early.remove(&number) {
                self.send(end);
                return batch;
            }
            match self.done.recv_timeout(patience) {
                Ok((number, batch)) => self.early.insert(number, batch),
                Err(RecvTimeoutError::Timeout) => return Err(self.give_up(inner)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(DataError::Collate("all threads of the loader have ended".into()));
                }
            };
        }
    }

    /// Leaves the threads to themselves: one that hangs cannot be waited for.
    fn give_up(&mut self, inner: &Inner) -> DataError {
        self.threads.clear();
        let busy = self.at.iter().map(|it| it.load(Ordering::Relaxed)).filter(|it| *it != IDLE);
        let samples = busy.map(|index| format!("sample {index} ({})", inner.source.meta(index).img_path.display()));
        DataError::Hangs { seconds: inner.timeout, samples: samples.collect() }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.todo = None;
        for thread in self.threads.drain(..) {
            // A worker turns panics into errors itself; were one to slip through, the receiver has noticed.
            let _ = thread.join();
        }
    }
}

struct Worker {
    inner: Arc<Inner>,
    epoch: u64,
    jobs: Receiver<usize>,
    results: Sender<Done>,
    stop: Arc<AtomicBool>,
    at: Arc<AtomicUsize>,
}

impl Worker {
    fn run(self) {
        mmy_torch::threads::give_way();
        let mut buffers = Buffers::default();
        for number in &self.jobs {
            let wanted = |index| {
                self.at.store(index, Ordering::Relaxed);
                !self.stop.load(Ordering::Relaxed)
            };
            let Some(batch) = self.inner.batch(self.epoch, number, &mut buffers, wanted) else { return };
            self.at.store(IDLE, Ordering::Relaxed);
            if self.results.send((number, batch)).is_err() {
                return;
            }
        }
    }
}
