//! Steps of optimisers through libtorch's fused kernels: one pass over the memory of parameter, gradient and state.
//!
//! A call takes the parameters of one group and their gradients. State lives with the caller, one entry for each
//! parameter, `None` until its first step: what a checkpoint keeps. The numbers are those of `torch.optim`.
//!
//! The kernels walk memory flat, so state must lie in memory as its parameter does: make it with
//! [`Tensor::zeros_like`] and copy into it. Other gradients are converted, other state is refused.

use std::borrow::Borrow;

use tch::{Kind, Tensor};

use crate::{Error, ffi, foreach};

/// The settings of [`sgd_`], with the names and defaults of `torch.optim.SGD`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdOptions {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the momentum buffer; 0 keeps no buffer.
    pub momentum: f64,
    /// Share of the gradient that does not enter the momentum buffer, save in its first step.
    pub dampening: f64,
    /// Multiple of the parameter that is added to the gradient.
    pub weight_decay: f64,
    /// Looks ahead by one step of momentum; needs momentum and no dampening.
    pub nesterov: bool,
    /// Follows the gradient upwards.
    pub maximize: bool,
}

impl Default for SgdOptions {
    fn default() -> Self {
        Self { lr: 1e-3, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false, maximize: false }
    }
}

/// A step of stochastic gradient descent with momentum.
///
/// `buffers` holds the momentum of each parameter. The first step of a parameter sets it to the gradient (weight decay
/// included), later ones to `momentum · buffer + (1 − dampening) · gradient`.
///
/// # Errors
///
/// When lists differ in length, a gradient is missing or misshapen, a buffer does not lie in memory as its parameter,
/// or Nesterov's method has no momentum or has dampening. Nothing is changed then.
pub fn sgd_(
    parameters: &[impl Borrow<Tensor>],
    grads: &[impl Borrow<Tensor>],
    buffers: &mut [Option<Tensor>],
    options: &SgdOptions,
) -> Result<(), Error> {
    let SgdOptions { lr, momentum, dampening, weight_decay, nesterov, maximize } = *options;
    if nesterov && (momentum <= 0.0 || dampening != 0.0) {
        return Err(Error::Argument(format!(
            "Nesterov momentum needs momentum and no dampening, got {momentum} and {dampening}"
        )));
    }
    same_length(parameters.len(), grads.len(), "gradients")?;
    same_length(parameters.len(), buffers.len(), "momentum buffers")?;
    let step = |chosen: &[usize], state: &[Tensor], first: bool| {
        if chosen.is_empty() {
            return Ok(());
        }
        let values: Vec<&Tensor> = chosen.iter().map(|&i| parameters[i].borrow()).collect();
        let grads: Vec<&Tensor> = chosen.iter().map(|&i| grads[i].borrow()).collect();
        let (values, grads) = (ffi::pointers(&values), ffi::pointers(&grads));
        let state = ffi::pointers(state);
        // SAFETY: the lists point to tensors that live through the call; `values` and `grads` are of one length, and
        // the length of `state` is passed and checked.
        unsafe {
            ffi::check(ffi::mmy_fused_sgd(
                values.as_ptr(),
                grads.as_ptr(),
                state.as_ptr(),
                values.len(),
                state.len(),
                weight_decay,
                momentum,
                lr,
                dampening,
                nesterov.into(),
                maximize.into(),
                first.into(),
            ))
        }
    };
    if momentum == 0.0 {
        return step(&Vec::from_iter(0..parameters.len()), &[], false);
    }
    let (later, fresh): (Vec<usize>, Vec<usize>) = (0..parameters.len()).partition(|&i| buffers[i].is_some());
    let state: Vec<_> = buffers.iter().flatten().map(Tensor::shallow_clone).collect();
    step(&later, &state, false)?;
    let mut state = Vec::with_capacity(fresh.len());
    for &i in &fresh {
        state.push(parameters[i].borrow().detach().f_zeros_like()?);
    }
    step(&fresh, &state, true)?;
    for (i, buffer) in fresh.into_iter().zip(state) {
        buffers[i] = Some(buffer);
    }
    Ok(())
}

/// The settings of [`adam_`] and [`adamw_`], with the names of `torch.optim` and the defaults of Adam there (AdamW's
/// weight decay is 0.01).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamOptions {
    /// Learning rate.
    pub lr: f64,
    /// Decays of the averages of the gradient and of its square.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// Multiple of the parameter: added to the gradient in Adam, taken off the parameter (times `lr`) in AdamW.
    pub weight_decay: f64,
    /// Divides by the largest average of squares so far.
    pub amsgrad: bool,
    /// Follows the gradient upwards.
    pub maximize: bool,
}

impl Default for AdamOptions {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, amsgrad: false, maximize: false }
    }
}

/// What Adam keeps of a parameter.
#[derive(Debug)]
pub struct AdamState {
    /// The number of steps taken, a scalar of kind float.
    pub step: Tensor,
    /// The average of the gradient.
    pub exp_avg: Tensor,
    /// The average of its square.
    pub exp_avg_sq: Tensor,
    /// The largest of those averages; with `amsgrad` alone.
    pub max_exp_avg_sq: Option<Tensor>,
}

impl AdamState {
    /// The state before the first step.
    ///
    /// # Errors
    ///
    /// For an undefined tensor; when memory does not suffice.
    pub fn new(parameter: &Tensor, options: &AdamOptions) -> Result<Self, Error> {
        let parameter = parameter.f_detach()?;
        let max_exp_avg_sq = match options.amsgrad {
            true => Some(parameter.f_zeros_like()?),
            false => None,
        };
        Ok(Self {
            step: Tensor::f_zeros([], (Kind::Float, parameter.device()))?,
            exp_avg: parameter.f_zeros_like()?,
            exp_avg_sq: parameter.f_zeros_like()?,
            max_exp_avg_sq,
        })
    }
}

/// A step of Adam (Kingma and Ba 2015); a state that is `None` is made.
///
/// # Errors
///
/// When lists differ in length, a gradient is missing or misshapen, or state does not lie in memory as its parameter.
/// No parameter is changed then.
pub fn adam_(
    parameters: &[impl Borrow<Tensor>],
    grads: &[impl Borrow<Tensor>],
    states: &mut [Option<AdamState>],
    options: &AdamOptions,
) -> Result<(), Error> {
    adam_step(parameters, grads, states, options, false)
}

/// A step of Adam with decoupled weight decay (Loshchilov and Hutter 2019); a state that is `None` is made.
///
/// # Errors
///
/// As [`adam_`].
pub fn adamw_(
    parameters: &[impl Borrow<Tensor>],
    grads: &[impl Borrow<Tensor>],
    states: &mut [Option<AdamState>],
    options: &AdamOptions,
) -> Result<(), Error> {
    adam_step(parameters, grads, states, options, true)
}

fn adam_step(
    parameters: &[impl Borrow<Tensor>],
    grads: &[impl Borrow<Tensor>],
    states: &mut [Option<AdamState>],
    options: &AdamOptions,
    decoupled: bool,
) -> Result<(), Error> {
    same_length(parameters.len(), grads.len(), "gradients")?;
    same_length(parameters.len(), states.len(), "states")?;
    if parameters.is_empty() {
        return Ok(());
    }
    let (mut first, mut second, mut largest, mut steps) = (vec![], vec![], vec![], vec![]);
    for (parameter, state) in parameters.iter().zip(states.iter_mut()) {
        let state = match state {
            Some(state) => state,
            None => state.insert(AdamState::new(parameter.borrow(), options)?),
        };
        first.push(&state.exp_avg);
        second.push(&state.exp_avg_sq);
        steps.push(&state.step);
        if options.amsgrad {
            largest.push(
                state
                    .max_exp_avg_sq
                    .as_ref()
                    .ok_or_else(|| Error::Argument("AMSGrad needs state that was made with it".into()))?,
            );
        }
    }
    let values = ffi::pointers(parameters);
    let grads = ffi::pointers(grads);
    let [first, second, largest, steps] = [first, second, largest, steps].map(|t| ffi::pointers(&t));
    // SAFETY: the lists point to tensors that live through the call, and all are of one length, save that of the
    // largest averages, which is empty when AMSGrad is off and not read then.
    unsafe {
        ffi::check(ffi::mmy_fused_adam(
            values.as_ptr(),
            grads.as_ptr(),
            first.as_ptr(),
            second.as_ptr(),
            largest.as_ptr(),
            steps.as_ptr(),
            values.len(),
            options.lr,
            options.betas.0,
            options.betas.1,
            options.weight_decay,
            options.eps,
            options.amsgrad.into(),
            options.maximize.into(),
            decoupled.into(),
        ))
    }
}

/// Scales gradients down so that their norm as one vector is `max_norm` at most. Returns the norm that they had.
///
/// `order` as in [`foreach::norm`]. As in `torch.nn.utils.clip_grad_norm_` the factor is `max_norm / (norm + 1e-6)`; a
/// norm that is no number makes the gradients so, too.
///
/// # Errors
///
/// For undefined tensors and integers.
pub fn clip_grad_norm_(grads: &[impl Borrow<Tensor>], max_norm: f64, order: f64) -> Result<f64, Error> {
    let norm = foreach::total_norm(grads, order)?;
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 || factor.is_nan() {
        foreach::mul_(grads, factor)?;
    }
    Ok(norm)
}

fn same_length(parameters: usize, others: usize, what: &str) -> Result<(), Error> {
    if parameters == others {
        return Ok(());
    }
    Err(Error::Argument(format!("{parameters} parameters but {others} {what}")))
}
