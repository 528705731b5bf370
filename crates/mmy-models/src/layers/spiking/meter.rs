//! How often neurons fire, and what convolutions are fed: counted while somebody [measures](measure).

use std::cell::RefCell;

use tch::{Kind, Tensor};

/// What one layer saw or gave in one forward pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Dotted path of the layer.
    pub path: String,
    /// What was counted.
    pub what: What,
    /// Numbers that are not 0.
    pub active: u64,
    /// Numbers in all: of every step, picture, channel and pixel.
    pub of: u64,
}

/// What a [`Reading`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Spikes that neurons gave, over so many steps.
    Spikes {
        /// Time steps.
        steps: i64,
    },
    /// The input of a convolution, all of it spikes.
    SpikesIn,
    /// The input of a convolution that is fed other numbers.
    CurrentsIn,
}

thread_local! {
    static READINGS: RefCell<Option<Vec<Reading>>> = const { RefCell::new(None) };
}

/// Runs a forward pass and counts on this thread.
pub fn measure<T>(forward: impl FnOnce() -> T) -> (T, Vec<Reading>) {
    /// Restores what was there before, also when the forward pass panics.
    struct Restore(Option<Vec<Reading>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            READINGS.set(self.0.take());
        }
    }
    let _restore = Restore(READINGS.replace(Some(Vec::new())));
    let out = forward();
    (out, READINGS.take().unwrap_or_default())
}

fn count(path: &str, what: impl FnOnce() -> What, x: &Tensor) {
    if READINGS.with_borrow(Option::is_none) {
        return;
    }
    let active = x.count_nonzero(None).int64_value(&[]) as u64;
    let reading = Reading { path: path.to_owned(), what: what(), active, of: x.numel() as u64 };
    READINGS.with_borrow_mut(|it| it.get_or_insert_default().push(reading));
}

/// Counts what neurons gave.
pub(super) fn neurons(path: &str, spikes: &Tensor, steps: i64) {
    count(path, || What::Spikes { steps }, spikes);
}

/// Counts what a convolution is fed.
pub(super) fn input(path: &str, x: &Tensor) {
    let spikes = || x.eq(0.0).logical_or(&x.eq(1.0)).all().to_kind(Kind::Int64).int64_value(&[]) == 1;
    count(path, || if spikes() { What::SpikesIn } else { What::CurrentsIn }, x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spikes_are_told_from_currents_and_counted() {
        let (spikes, currents) = (Tensor::from_slice(&[0f32, 1.0, 1.0]), Tensor::from_slice(&[0f32, 1.0, 0.5]));
        input("nobody", &spikes);
        let ((), found) = measure(|| {
            input("a", &spikes);
            input("b", &currents);
            neurons("c", &spikes, 3);
        });
        let reading = |path: &str, what| Reading { path: path.into(), what, active: 2, of: 3 };
        let want = [("a", What::SpikesIn), ("b", What::CurrentsIn), ("c", What::Spikes { steps: 3 })];
        assert_eq!(found, want.map(|(path, what)| reading(path, what)));
    }
}
