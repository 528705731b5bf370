//! Gradients of chosen inputs, and the mode that decides whether a graph is recorded.

use std::borrow::Borrow;
use std::marker::PhantomData;

use tch::Tensor;

use crate::{Error, ffi};

/// What becomes of the graph once its gradients are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Graph {
    /// Saved tensors are freed on the way: one backward pass only.
    #[default]
    Free,
    /// The graph stays and can be walked again.
    Retain,
    /// The graph stays, and the backward pass is itself recorded, so that gradients can be differentiated.
    Create,
}

impl Graph {
    fn flags(self) -> (i32, i32) {
        match self {
            Graph::Free => (0, 0),
            Graph::Retain => (1, 0),
            Graph::Create => (1, 1),
        }
    }
}

/// The gradients of `inputs`: the sum over `outputs` of `grad_outputs[i]ᵀ · ∂outputs[i]/∂inputs`.
///
/// Unlike [`Tensor::backward`] it accumulates into no leaf. `grad_outputs` has one entry for each output, or none at
/// all; `None` stands for a gradient of one and needs an output of one element. An input that no output depends on gets
/// `None`. It may be called from within a backward pass.
///
/// # Errors
///
/// When an input or all outputs require no gradient, when shapes disagree, or when a node of the graph fails.
pub fn grad(
    outputs: &[impl Borrow<Tensor>],
    inputs: &[impl Borrow<Tensor>],
    grad_outputs: &[Option<Tensor>],
    graph: Graph,
) -> Result<Vec<Option<Tensor>>, Error> {
    let (retain, create) = graph.flags();
    let (out, from) = (ffi::pointers(outputs), ffi::pointers(inputs));
    let seeds = ffi::optional_pointers(grad_outputs);
    let mut grads = vec![std::ptr::null_mut(); inputs.len()];
    // SAFETY: the lists point to tensors borrowed for the call; `grads` has room for one pointer for each input.
    unsafe {
        ffi::check(ffi::mmy_autograd_grad(
            out.as_ptr(),
            out.len(),
            from.as_ptr(),
            from.len(),
            seeds.as_ptr(),
            seeds.len(),
            retain,
            create,
            grads.as_mut_ptr(),
        ))?;
    }
    // SAFETY: on success each pointer is null or a new tensor that is ours.
    Ok(grads.into_iter().map(|grad| unsafe { ffi::adopt(grad) }).collect())
}

/// Accumulates the gradients of `outputs` into the leaves of their graph; `grad_outputs` as in [`grad`].
///
/// # Errors
///
/// When no output requires a gradient, when shapes disagree, or when a node of the graph fails.
pub fn backward(outputs: &[impl Borrow<Tensor>], grad_outputs: &[Option<Tensor>], graph: Graph) -> Result<(), Error> {
    let (retain, create) = graph.flags();
    let out = ffi::pointers(outputs);
    let seeds = ffi::optional_pointers(grad_outputs);
    // SAFETY: the lists point to tensors borrowed for the call.
    unsafe {
        ffi::check(ffi::mmy_autograd_backward(out.as_ptr(), out.len(), seeds.as_ptr(), seeds.len(), retain, create))
    }
}

/// Whether operations of this thread are recorded.
pub fn is_grad_enabled() -> bool {
    // SAFETY: reads a thread-local flag.
    unsafe { ffi::mmy_grad_enabled() != 0 }
}

/// Sets the grad mode of this thread until it is dropped, also when the thread panics.
#[must_use = "the mode lasts as long as the guard"]
#[derive(Debug)]
pub struct GradMode {
    before: bool,
    // The mode belongs to the thread.
    _thread: PhantomData<*const ()>,
}

impl GradMode {
    /// Records operations from here on, as a backward pass needs for a forward pass of its own.
    pub fn enabled() -> Self {
        Self::set(true)
    }

    /// Records nothing from here on.
    pub fn disabled() -> Self {
        Self::set(false)
    }

    fn set(on: bool) -> Self {
        let before = is_grad_enabled();
        // SAFETY: writes a thread-local flag.
        unsafe { ffi::mmy_set_grad_enabled(on.into()) };
        Self { before, _thread: PhantomData }
    }
}

impl Drop for GradMode {
    fn drop(&mut self) {
        // SAFETY: writes a thread-local flag.
        unsafe { ffi::mmy_set_grad_enabled(self.before.into()) };
    }
}

/// Runs `body` with recording on; unlike [`tch::with_grad`] the mode comes back after a panic, too.
pub fn with_grad<T>(body: impl FnOnce() -> T) -> T {
    let _mode = GradMode::enabled();
    body()
}

/// Runs `body` with recording off; unlike [`tch::no_grad`] the mode comes back after a panic, too.
pub fn no_grad<T>(body: impl FnOnce() -> T) -> T {
    let _mode = GradMode::disabled();
    body()
}
