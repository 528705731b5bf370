//! How a run is asked to end from outside.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A switch that a signal handler sets and the loops read after every step. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks the run to finish its step, save and end.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked to.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
