//! A table of the layers that a forward pass went through.
//!
//! Layers report themselves through [`report`]; it costs one thread-local look when nobody listens.

use std::{cell::RefCell, fmt::Display, mem};

use tch::Tensor;

/// One layer as it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRow {
    /// The layer's class: `Conv2d`, `BatchNorm2d`, `SiLU`.
    pub module: &'static str,
    /// Dotted path from the model's root.
    pub path: String,
    /// Shape of what it gave out.
    pub output: Vec<i64>,
    /// Numbers in its parameters.
    pub params: u64,
    /// Multiply-adds of convolutions and matrix products; 0 for other layers.
    pub macs: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Off,
    Record,
    Shapes,
    /// Only the first layer whose output is not finite.
    Watch,
}

struct Recorder {
    mode: Mode,
    rows: Vec<LayerRow>,
}

thread_local! {
    static RECORDER: RefCell<Recorder> = const { RefCell::new(Recorder { mode: Mode::Off, rows: Vec::new() }) };
}

/// Runs a forward pass and lists the layers that it went through on this thread, in order.
pub fn record<T>(forward: impl FnOnce() -> T) -> (T, Vec<LayerRow>) {
    run(Mode::Record, forward)
}

/// As [`record`], but convolutions give out zeros of the right shape instead of computing: for models of a
/// [dry](crate::ParamStore::dry) store and for tables in no time.
pub fn shapes<T>(forward: impl FnOnce() -> T) -> (T, Vec<LayerRow>) {
    run(Mode::Shapes, || tch::no_grad(forward))
}

/// Runs a forward pass and tells the first layer, on this thread, that gave out a number that is not finite.
pub fn first_not_finite<T>(forward: impl FnOnce() -> T) -> (T, Option<LayerRow>) {
    let (out, rows) = run(Mode::Watch, forward);
    (out, rows.into_iter().next())
}

/// Restores what was there before, also when the forward pass panics.
struct Restore(Option<Recorder>);

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            RECORDER.set(before);
        }
    }
}

fn run<T>(mode: Mode, forward: impl FnOnce() -> T) -> (T, Vec<LayerRow>) {
    let _restore = Restore(Some(RECORDER.replace(Recorder { mode, rows: Vec::new() })));
    let out = forward();
    (out, RECORDER.with_borrow_mut(|it| mem::take(&mut it.rows)))
}

/// Whether somebody lists layers.
pub(crate) fn is_on() -> bool {
    RECORDER.with_borrow(|it| it.mode != Mode::Off)
}

/// Whether layers should only give out the right shapes, as zeros that take no memory.
pub fn shapes_only() -> bool {
    RECORDER.with_borrow(|it| it.mode == Mode::Shapes)
}

/// Tells whoever records that `module` at `path` gave out `output`. `path` is formatted only then.
pub fn report(module: &'static str, path: impl Display, output: &Tensor, params: u64, macs: u64) {
    RECORDER.with_borrow_mut(|it| {
        let wanted = match it.mode {
            Mode::Off => false,
            Mode::Record | Mode::Shapes => true,
            Mode::Watch => it.rows.is_empty() && output.isfinite().all().int64_value(&[]) == 0,
        };
        if wanted {
            it.rows.push(LayerRow { module, path: path.to_string(), output: output.size(), params, macs });
        }
    });
}
