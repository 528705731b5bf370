//! The entries of the C++ side, and how their messages become errors.
//!
//! An entry that can fail returns null, or a message that the caller frees. `C_tensor` is `at::Tensor` on the other
//! side; lists are arrays of pointers to tensors, where null stands for an undefined one.

use std::borrow::Borrow;
use std::ffi::{CStr, CString, c_char, c_int, c_void};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::Error;

/// The highest instruction set that a kernel may use; the processor may have less.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    #[cfg(test)]
    Baseline = 0,
    #[cfg(test)]
    Avx2 = 1,
    Avx512 = 2,
}

/// A message of the C++ side, null for success.
pub(crate) type Message = *mut c_char;
/// A list of tensors that the C++ side reads or changes.
pub(crate) type List = *const *mut C_tensor;

/// A node of the autograd graph; only ever behind a pointer.
#[repr(C)]
pub(crate) struct Node {
    _private: [u8; 0],
}

/// A count of the bytes of tensors; only ever behind a pointer.
#[repr(C)]
pub(crate) struct Watch {
    _private: [u8; 0],
}

/// Runs the backward pass: context, node, gradients of the outputs, gradients of the inputs to fill.
pub(crate) type Backward = unsafe extern "C" fn(*mut c_void, *mut Node, List, usize, List, usize) -> Message;
/// Drops the context.
pub(crate) type Release = unsafe extern "C" fn(*mut c_void);

unsafe extern "C" {
    pub(crate) fn mmy_message_new(text: *const c_char) -> Message;
    pub(crate) fn mmy_message_free(text: Message);

    pub(crate) fn mmy_grad_enabled() -> c_int;
    pub(crate) fn mmy_set_grad_enabled(on: c_int);
    pub(crate) fn mmy_function_apply(
        inputs: List,
        n_inputs: usize,
        outputs: List,
        n_outputs: usize,
        non_differentiable: *const u8,
        saved: List,
        n_saved: usize,
        name: *const c_char,
        context: *mut c_void,
        backward: Backward,
        release: Release,
    ) -> Message;
    pub(crate) fn mmy_function_saved_count(node: *const Node) -> usize;
    pub(crate) fn mmy_function_saved(node: *mut Node, saved: *mut *mut C_tensor, count: usize) -> Message;
    pub(crate) fn mmy_function_needs_input_grad(node: *const Node, input: usize) -> c_int;
    pub(crate) fn mmy_tensor_assign(to: *mut C_tensor, from: *const C_tensor);
    pub(crate) fn mmy_autograd_grad(
        outputs: List,
        n_outputs: usize,
        inputs: List,
        n_inputs: usize,
        grad_outputs: List,
        n_grad_outputs: usize,
        retain_graph: c_int,
        create_graph: c_int,
        grads: *mut *mut C_tensor,
    ) -> Message;
    pub(crate) fn mmy_autograd_backward(
        outputs: List,
        n_outputs: usize,
        grad_outputs: List,
        n_grad_outputs: usize,
        retain_graph: c_int,
        create_graph: c_int,
    ) -> Message;

    pub(crate) fn mmy_autocast_get(device_type: c_int, enabled: *mut c_int, dtype: *mut c_int) -> Message;
    pub(crate) fn mmy_autocast_set(device_type: c_int, enabled: c_int, dtype: c_int) -> Message;
    pub(crate) fn mmy_autocast_enter() -> Message;
    pub(crate) fn mmy_autocast_leave() -> Message;
    pub(crate) fn mmy_autocast_set_cache_enabled(on: c_int) -> c_int;

    pub(crate) fn mmy_foreach_lerp(to: List, n_to: usize, from: List, n_from: usize, weight: f64) -> Message;
    pub(crate) fn mmy_foreach_mul(to: List, n_to: usize, factor: f64) -> Message;
    pub(crate) fn mmy_foreach_add(to: List, n_to: usize, from: List, n_from: usize, alpha: f64) -> Message;
    pub(crate) fn mmy_foreach_copy(to: List, n_to: usize, from: List, n_from: usize) -> Message;
    pub(crate) fn mmy_foreach_zero(to: List, n_to: usize) -> Message;
    pub(crate) fn mmy_foreach_norm(of: List, n_of: usize, order: f64, norms: *mut *mut C_tensor) -> Message;
    pub(crate) fn mmy_fused_sgd(
        parameters: List,
        grads: List,
        buffers: List,
        count: usize,
        n_buffers: usize,
        weight_decay: f64,
        momentum: f64,
        lr: f64,
        dampening: f64,
        nesterov: c_int,
        maximize: c_int,
        first_step: c_int,
    ) -> Message;
    pub(crate) fn mmy_fused_adam(
        parameters: List,
        grads: List,
        exp_avgs: List,
        exp_avg_sqs: List,
        max_exp_avg_sqs: List,
        steps: List,
        count: usize,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
        amsgrad: c_int,
        maximize: c_int,
        decoupled: c_int,
    ) -> Message;

    pub(crate) fn mmy_to_memory_format(tensor: *const C_tensor, format: c_int, result: *mut *mut C_tensor) -> Message;
    pub(crate) fn mmy_is_contiguous_in(tensor: *const C_tensor, format: c_int, result: *mut c_int) -> Message;

    pub(crate) fn mmy_depthwise_grads(
        input: *const C_tensor,
        grad: *const C_tensor,
        kernel: i64,
        padding: i64,
        limit: c_int,
        weight_grad: *mut *mut C_tensor,
        bias_grad: *mut *mut C_tensor,
    ) -> Message;

    pub(crate) fn mmy_star_forward(
        a: *const C_tensor,
        b: *const C_tensor,
        limit: c_int,
        y: *mut *mut C_tensor,
    ) -> Message;
    pub(crate) fn mmy_star_backward(
        a: *const C_tensor,
        b: *const C_tensor,
        grad: *const C_tensor,
        limit: c_int,
        grad_a: *mut *mut C_tensor,
        grad_b: *mut *mut C_tensor,
    ) -> Message;

    pub(crate) fn mmy_norm_act_forward(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        running_mean: *mut C_tensor,
        running_var: *mut C_tensor,
        momentum: f64,
        eps: f64,
        activation: c_int,
        limit: c_int,
        y: *mut *mut C_tensor,
        statistics: *mut *mut C_tensor,
    ) -> Message;
    pub(crate) fn mmy_norm_act_backward(
        x: *const C_tensor,
        bias: *const C_tensor,
        statistics: *const C_tensor,
        grad: *const C_tensor,
        activation: c_int,
        limit: c_int,
        grad_x: *mut *mut C_tensor,
        grad_weight: *mut *mut C_tensor,
        grad_bias: *mut *mut C_tensor,
    ) -> Message;

    pub(crate) fn mmy_lif_forward(
        x: *const C_tensor,
        steps: i64,
        threshold: f32,
        decay: f32,
        width: f32,
        limit: c_int,
        spikes: *mut *mut C_tensor,
    ) -> Message;
    pub(crate) fn mmy_lif_backward(
        x: *const C_tensor,
        grad: *const C_tensor,
        steps: i64,
        threshold: f32,
        decay: f32,
        width: f32,
        limit: c_int,
        grad_x: *mut *mut C_tensor,
    ) -> Message;

    pub(crate) fn mmy_memory_watch(watch: *mut *mut Watch) -> Message;
    pub(crate) fn mmy_memory_peak(watch: *const Watch) -> i64;
    pub(crate) fn mmy_memory_unwatch(watch: *mut Watch);

    pub(crate) fn mmy_rng_state(state: *mut *mut C_tensor) -> Message;
    pub(crate) fn mmy_rng_set_state(state: *const C_tensor) -> Message;
    pub(crate) fn mmy_rng_initial_seed(seed: *mut u64) -> Message;

    pub(crate) fn mmy_threads_set(count: c_int) -> Message;
    pub(crate) fn mmy_threads_set_interop(count: c_int) -> Message;
    pub(crate) fn mmy_threads_get() -> c_int;
    pub(crate) fn mmy_threads_get_interop() -> c_int;

    pub(crate) fn mmy_cpu_features(
        visit: unsafe extern "C" fn(*mut c_void, *const c_char),
        context: *mut c_void,
    ) -> Message;
}

/// Turns an entry's message into a result and frees it.
///
/// # Safety
///
/// `message` is null, or came from an entry of the C++ side and was not freed.
pub(crate) unsafe fn check(message: Message) -> Result<(), Error> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: the C++ side returns NUL-terminated text that lives until it is freed, which happens once, right here.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        mmy_message_free(message);
        text
    };
    Err(Error::Torch(text))
}

/// A message for the C++ side, which frees it.
pub(crate) fn message(text: &str) -> Message {
    let text = CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default();
    // SAFETY: `text` is NUL-terminated and outlives the call, which copies it.
    unsafe { mmy_message_new(text.as_ptr()) }
}

/// The addresses of tensors; they must not outlive `tensors`.
pub(crate) fn pointers(tensors: &[impl Borrow<Tensor>]) -> Vec<*mut C_tensor> {
    tensors.iter().map(|tensor| tensor.borrow().as_ptr().cast_mut()).collect()
}

/// As [`pointers`], with null for `None`.
pub(crate) fn optional_pointers(tensors: &[Option<Tensor>]) -> Vec<*mut C_tensor> {
    tensors
        .iter()
        .map(|tensor| match tensor {
            Some(tensor) => tensor.as_ptr().cast_mut(),
            None => std::ptr::null_mut(),
        })
        .collect()
}

/// Takes over a new tensor that an entry made.
///
/// # Safety
///
/// `tensor` is null, or points to a tensor made with `new` that nobody else owns.
pub(crate) unsafe fn adopt(tensor: *mut C_tensor) -> Option<Tensor> {
    // SAFETY: the caller passes ownership on; `Tensor` deletes the tensor when it is dropped.
    (!tensor.is_null()).then(|| unsafe { Tensor::from_ptr(tensor) })
}
