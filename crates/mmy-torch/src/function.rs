//! Differentiable operations whose forward and backward pass are written in Rust.
//!
//! A [`Function`] is the value that both passes see: what the forward pass keeps goes into its fields, tensors that
//! belong to the graph go through [`Forward::save_for_backward`]. The value is dropped once, with the graph that holds
//! it, whether a backward pass ran or not.
//!
//! ```
//! use mmy_torch::function::{Backward, Forward, Function, apply};
//! use mmy_torch::BoxError;
//! use tch::{Kind, Tensor};
//!
//! struct Square;
//! impl Function for Square {
//!     fn forward(&mut self, ctx: &mut Forward, inputs: &[&Tensor]) -> Result<Vec<Tensor>, BoxError> {
//!         ctx.save_for_backward(inputs);
//!         Ok(vec![inputs[0].f_square()?])
//!     }
//!     fn backward(&self, ctx: &Backward<'_>, grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, BoxError> {
//!         let x = &ctx.saved()?[0];
//!         Ok(vec![grads[0].as_ref().map(|grad| grad * x * 2)])
//!     }
//! }
//!
//! let x = Tensor::from_slice(&[1.0, -3.0]).set_requires_grad(true);
//! let y = apply(Square, &[&x])?.remove(0);
//! y.sum(Kind::Double).f_backward()?;
//! assert_eq!(Vec::<f64>::try_from(x.grad())?, [2.0, -6.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the backward pass may do
//!
//! libtorch calls it on the thread that asked for the gradients (one thread for each device other than the CPU). It may
//! run a forward pass of its own under [`autograd::with_grad`](crate::autograd::with_grad) and ask for its gradients
//! with [`autograd::grad`](crate::autograd::grad), as reversible networks do. Autocast is what it was where the gradients
//! were asked for, mostly off: a backward pass that recomputes takes the forward pass's state along
//! ([`autocast::State`](crate::autocast::State)), and the generator's ([`rng`](crate::rng)) if it draws.
//!
//! An error or a panic becomes an error of whoever asked for the gradients; its text is kept.
//!
//! # Tensors changed in place
//!
//! A tensor saved through the context is checked: if it was changed in place before the backward pass, that pass fails
//! instead of computing from wrong numbers. A tensor kept in a field of the function is not checked, and one that is an
//! output of the function must not be kept there: graph and output would keep each other alive for good.
//! A forward pass that changes an input in place is refused.

use std::any::{Any, type_name};
use std::ffi::{CString, c_void};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;

use crate::autograd::{GradMode, Graph, grad, is_grad_enabled, with_grad};
use crate::{BoxError, Error, ffi};

/// A differentiable operation of several inputs and outputs.
pub trait Function: Send + Sized + 'static {
    /// Computes the outputs, at least one. Nothing is recorded while it runs.
    ///
    /// # Errors
    ///
    /// Whatever it returns comes out of [`apply`] as [`Error::Forward`].
    fn forward(&mut self, ctx: &mut Forward, inputs: &[&Tensor]) -> Result<Vec<Tensor>, BoxError>;

    /// Computes the gradients of the inputs from those of the outputs, one for each input.
    ///
    /// `None` among `grads` is an output on which the result does not depend, `None` in the answer an input without
    /// gradient. A gradient has its input's shape, up to broadcasting. It runs once for each backward pass over the
    /// graph, and is recorded when that pass is ([`Graph::Create`](crate::autograd::Graph)).
    ///
    /// # Errors
    ///
    /// Whatever it returns ends the backward pass with an error of that text.
    fn backward(&self, ctx: &Backward<'_>, grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, BoxError>;
}

/// What a forward pass can ask and say.
#[derive(Debug)]
pub struct Forward {
    needs_input_grad: Vec<bool>,
    saved: Vec<Tensor>,
    non_differentiable: Vec<usize>,
}

impl Forward {
    /// Whether a gradient of input `index` can be asked for later: it requires one and the graph is recorded.
    pub fn needs_input_grad(&self, index: usize) -> bool {
        self.needs_input_grad.get(index) == Some(&true)
    }

    /// Keeps tensors for [`Backward::saved`]: inputs, outputs, or anything computed on the way. Calls add up.
    pub fn save_for_backward(&mut self, tensors: &[&Tensor]) {
        self.saved.extend(tensors.iter().map(|tensor| tensor.shallow_clone()));
    }

    /// Declares output `index` a constant, as an index or a mask is: it will require no gradient.
    pub fn mark_non_differentiable(&mut self, index: usize) {
        self.non_differentiable.push(index);
    }
}

/// What a backward pass can ask.
#[derive(Debug)]
pub struct Backward<'a> {
    node: *mut ffi::Node,
    inputs: usize,
    _call: PhantomData<&'a ()>,
}

impl Backward<'_> {
    /// The tensors that the forward pass saved, in its order, as parts of the graph.
    ///
    /// # Errors
    ///
    /// When one of them was changed in place since, or when the graph was freed by an earlier backward pass.
    pub fn saved(&self) -> Result<Vec<Tensor>, Error> {
        // SAFETY: libtorch keeps the node alive while its backward pass runs, and `self` cannot leave that call.
        let count = unsafe { ffi::mmy_function_saved_count(self.node) };
        let mut saved = vec![std::ptr::null_mut(); count];
        // SAFETY: as above; `saved` has room for `count` pointers.
        unsafe {
            ffi::check(ffi::mmy_function_saved(self.node, saved.as_mut_ptr(), count))?;
        }
        // SAFETY: on success each pointer is a new tensor that is ours.
        Ok(saved.into_iter().filter_map(|tensor| unsafe { ffi::adopt(tensor) }).collect())
    }

    /// Whether this pass uses the gradient of input `index`; computing one that it does not use is wasted, not wrong.
    pub fn needs_input_grad(&self, index: usize) -> bool {
        // SAFETY: as in `saved`; the node knows this many inputs.
        index < self.inputs && unsafe { ffi::mmy_function_needs_input_grad(self.node, index) } != 0
    }
}

/// Runs a function's forward pass and ties its outputs to `inputs`.
///
/// Without a recorded graph (no input requires a gradient, or recording is off) this is the forward pass alone. An
/// output that is one of the inputs comes back as a view of it.
///
/// # Errors
///
/// [`Error::Forward`] with what the forward pass returned; [`Error::Argument`] when it changed an input in place,
/// returned nothing, or marked an output that it does not have.
pub fn apply<F: Function>(mut function: F, inputs: &[&Tensor]) -> Result<Vec<Tensor>, Error> {
    let name = type_name::<F>();
    let tracked = is_grad_enabled();
    let mut ctx = Forward {
        needs_input_grad: inputs.iter().map(|input| tracked && input.requires_grad()).collect(),
        saved: Vec::new(),
        non_differentiable: Vec::new(),
    };
    let versions: Vec<_> = inputs.iter().map(|input| version(input)).collect();
    let mut outputs = {
        let _mode = GradMode::disabled();
        let _cache = WithoutCastCache::new();
        function.forward(&mut ctx, inputs).map_err(|source| Error::Forward { name, source })?
    };
    let refuse = |what: String| Err(Error::Argument(format!("the forward pass of {name} {what}")));
    for (index, (input, before)) in inputs.iter().zip(versions).enumerate() {
        if version(input) != before {
            return refuse(format!("changed input {index} in place"));
        }
    }
    if outputs.is_empty() {
        return refuse("returned no output".into());
    }
    if let Some(index) = outputs.iter().position(|output| !output.defined()) {
        return refuse(format!("left output {index} undefined"));
    }
    let mut constant = vec![0u8; outputs.len()];
    for &index in &ctx.non_differentiable {
        match constant.get_mut(index) {
            Some(flag) => *flag = 1,
            None => {
                return refuse(format!("marked output {index} of {} as not differentiable", outputs.len()));
            }
        }
    }
    if !ctx.needs_input_grad.contains(&true) {
        return Ok(outputs);
    }

    let label = CString::new(name).unwrap_or_default();
    let from = ffi::pointers(inputs);
    let to: Vec<_> = outputs.iter_mut().map(Tensor::as_mut_ptr).collect();
    let saved = ffi::pointers(&ctx.saved);
    let context: *mut F = Box::into_raw(Box::new(function));
    // SAFETY: the lists point to tensors that live through the call, `to` to tensors that are ours to replace. The
    // node takes `context` over and hands it to callbacks made for the same `F`.
    unsafe {
        ffi::check(ffi::mmy_function_apply(
            from.as_ptr(),
            from.len(),
            to.as_ptr(),
            to.len(),
            constant.as_ptr(),
            saved.as_ptr(),
            saved.len(),
            label.as_ptr(),
            context.cast(),
            backward::<F>,
            release::<F>,
        ))?;
    }
    Ok(outputs)
}

/// The gradients of a function's inputs through `plain`, which computes its one output with libtorch's operators: for a
/// backward pass that is itself differentiated, or that a kernel does not take.
pub(crate) fn through_plain(
    inputs: &[Tensor],
    grad_output: &Tensor,
    plain: impl FnOnce(&[Tensor]) -> Result<Tensor, Error>,
) -> Result<Vec<Option<Tensor>>, Error> {
    let graph = if is_grad_enabled() { Graph::Create } else { Graph::Free };
    // Partial derivatives: one input may be computed from another, or be the same. Aliases part their ways.
    let mut aliases = Vec::with_capacity(inputs.len());
    for input in inputs {
        aliases.push(match graph {
            Graph::Create => input.f_view_as(input)?,
            _ => input.f_detach()?.set_requires_grad(true),
        });
    }
    let output = with_grad(|| plain(&aliases))?;
    let wanted: Vec<_> = aliases.iter().filter(|alias| alias.requires_grad()).collect();
    let mut found = grad(&[output], &wanted, &[Some(grad_output.shallow_clone())], graph)?.into_iter();
    Ok(aliases.iter().map(|alias| if alias.requires_grad() { found.next().flatten() } else { None }).collect())
}

/// The counter of in-place changes; a tensor made in inference mode has none.
fn version(tensor: &Tensor) -> Option<i64> {
    tensor.f_internal_version().ok()
}

/// Keeps casts made without a graph out of autocast's cache, where a later forward pass that records would find them
/// and lose its gradients.
struct WithoutCastCache(i32);

impl WithoutCastCache {
    fn new() -> Self {
        // SAFETY: writes a thread-local flag.
        Self(unsafe { ffi::mmy_autocast_set_cache_enabled(0) })
    }
}

impl Drop for WithoutCastCache {
    fn drop(&mut self) {
        // SAFETY: writes a thread-local flag.
        unsafe { ffi::mmy_autocast_set_cache_enabled(self.0) };
    }
}

/// What libtorch calls. Returns a message that it frees, or null.
///
/// # Safety
///
/// `context` is the `F` of the node `node`, which lives through the call; the lists hold as many tensors as they say.
unsafe extern "C" fn backward<F: Function>(
    context: *mut c_void,
    node: *mut ffi::Node,
    grad_outputs: ffi::List,
    outputs: usize,
    grad_inputs: ffi::List,
    inputs: usize,
) -> ffi::Message {
    let name = type_name::<F>();
    // What a panic leaves half done is the function's own fields, which it alone sees again.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the node owns an `F` and lets one thread in at a time; nobody holds a unique reference to it.
        let function = unsafe { &*context.cast::<F>() };
        // SAFETY: the engine passes a list of `outputs` tensors.
        let grads: Vec<_> = unsafe { std::slice::from_raw_parts(grad_outputs, outputs) }
            .iter()
            .map(|&grad| {
                // SAFETY: a shallow copy of a tensor that lives through the call.
                let grad = unsafe { Tensor::clone_from_ptr(grad) };
                grad.defined().then_some(grad)
            })
            .collect();
        let ctx = Backward { node, inputs, _call: PhantomData };
        let found = match function.backward(&ctx, &grads) {
            Ok(found) => found,
            Err(error) => return Some(chain(&*error)),
        };
        if found.len() != inputs {
            return Some(format!("it returned {} gradients for {inputs} inputs", found.len()));
        }
        // SAFETY: the list holds `inputs` tensors.
        let to = unsafe { std::slice::from_raw_parts(grad_inputs, inputs) };
        for (&to, grad) in to.iter().zip(&found) {
            if let Some(grad) = grad {
                // SAFETY: `to` is an undefined tensor of the engine's, made for this; assigning shares the storage.
                unsafe { ffi::mmy_tensor_assign(to, grad.as_ptr()) };
            }
        }
        None
    }));
    match outcome {
        Ok(None) => std::ptr::null_mut(),
        Ok(Some(text)) => ffi::message(&format!("in the backward pass of {name}: {text}")),
        Err(payload) => ffi::message(&format!("the backward pass of {name} panicked: {}", panic_text(payload))),
    }
}

/// Drops the function with its node.
///
/// # Safety
///
/// `context` is the boxed `F` of a node that is going away.
unsafe extern "C" fn release<F: Function>(context: *mut c_void) {
    // SAFETY: the node calls this once, last of all.
    let function = unsafe { Box::from_raw(context.cast::<F>()) };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(function))) {
        // There is nobody to tell in a destructor; the panic hook has said it.
        panic_text(payload);
    }
}

/// An error with what caused it.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// What a panic said.
fn panic_text(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => match payload.downcast::<&'static str>() {
            Ok(text) => (*text).to_owned(),
            Err(payload) => {
                // A payload of another type may itself panic when it is dropped.
                std::mem::forget(payload);
                "no message".to_owned()
            }
        },
    }
}
