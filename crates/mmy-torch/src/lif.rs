//! Leaky integrate-and-fire neurons: currents over time to spikes.
//!
//! A neuron's potential is its current plus what is left of the step before: `decay` of the potential then, nothing if
//! it fired. It fires where the potential exceeds the threshold. Time is folded into the batch: a tensor of T steps of B
//! pictures is (T · B, …), step after step.
//!
//! The step at the threshold has no gradient, so one of a box stands for it: 1 / (2 · `width`) where the potential is
//! nearer to the threshold than `width`. No gradient goes through the reset.
//!
//! As separate operators this reads and writes some ten tensors for each step and keeps three; in one pass it reads
//! one and writes one, and keeps the currents alone.

use tch::{Device, Kind, Tensor};

use crate::autograd::is_grad_enabled;
use crate::ffi::Level;
use crate::function::{Backward, Forward, Function, apply, through_plain};
use crate::memory_format::{MemoryFormat, is_contiguous_in, to_memory_format};
use crate::{BoxError, Error, ffi};

/// A kind of neuron.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neuron {
    /// The potential above which it fires.
    pub threshold: f64,
    /// What is left of a potential in the next step.
    pub decay: f64,
    /// How far from the threshold a potential passes a gradient.
    pub width: f64,
}

impl Default for Neuron {
    /// As EMS-YOLO has it.
    fn default() -> Self {
        Neuron { threshold: 0.5, decay: 0.25, width: 0.5 }
    }
}

/// The kernel's limit.
const MOST_STEPS: i64 = 64;

/// Currents (T · B, …) of `steps` = T steps to spikes, 0 or 1, of the same shape and kind.
///
/// The kernel takes up to 64 steps of tensors in float or bfloat16 that are dense on the CPU; anything else goes through
/// libtorch's operators. Potentials are float either way.
///
/// # Errors
///
/// When the first axis is not a multiple of `steps`.
pub fn spikes(x: &Tensor, steps: i64, neuron: Neuron) -> Result<Tensor, Error> {
    let batch = x.size().first().copied().unwrap_or(0);
    if steps < 1 || batch % steps != 0 {
        return Err(Error::Argument(format!("a batch of {batch} is not {steps} steps of anything")));
    }
    if !is_ours(x, steps)? {
        return plain(x, steps, neuron);
    }
    Ok(apply(Spikes { steps, neuron }, &[x])?.into_iter().next().unwrap_or_default())
}

/// 1 where `u` exceeds the threshold, else 0, with the gradient of the neuron's box.
///
/// # Errors
///
/// When libtorch refuses.
pub fn fire(u: &Tensor, neuron: Neuron) -> Result<Tensor, Error> {
    Ok(apply(Fire { neuron }, &[u])?.into_iter().next().unwrap_or_default())
}

fn is_ours(x: &Tensor, steps: i64) -> Result<bool, Error> {
    Ok(matches!(x.f_kind()?, Kind::Float | Kind::BFloat16)
        && x.device() == Device::Cpu
        && steps <= MOST_STEPS
        && (is_contiguous_in(x, MemoryFormat::Contiguous)? || is_contiguous_in(x, MemoryFormat::ChannelsLast)?))
}

/// The same through libtorch's operators.
fn plain(x: &Tensor, steps: i64, neuron: Neuron) -> Result<Tensor, Error> {
    let mut left: Option<Tensor> = None;
    let mut out = Vec::new();
    let kind = x.f_kind()?;
    let wide = if kind == Kind::Double { kind } else { Kind::Float };
    for x in x.f_to_kind(wide)?.f_chunk(steps, 0)? {
        let u = match left {
            Some(left) => left.f_add(&x)?,
            None => x,
        };
        let spikes = fire(&u, neuron)?;
        left = Some((&u * neuron.decay).f_mul(&(1.0 - spikes.f_detach()?))?);
        out.push(spikes);
    }
    Ok(Tensor::f_cat(&out, 0)?.f_to_kind(kind)?)
}

struct Fire {
    neuron: Neuron,
}

impl Function for Fire {
    fn forward(&mut self, ctx: &mut Forward, inputs: &[&Tensor]) -> Result<Vec<Tensor>, BoxError> {
        ctx.save_for_backward(inputs);
        Ok(vec![inputs[0].f_gt(self.neuron.threshold)?.f_to_kind(inputs[0].f_kind()?)?])
    }

    fn backward(&self, ctx: &Backward<'_>, grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, BoxError> {
        let Some(g) = &grads[0] else { return Ok(vec![None]) };
        let near = (&ctx.saved()?[0] - self.neuron.threshold).f_abs()?.f_lt(self.neuron.width)?;
        Ok(vec![Some((g * (0.5 / self.neuron.width)).f_mul(&near.f_to_kind(g.f_kind()?)?)?)])
    }
}

struct Spikes {
    steps: i64,
    neuron: Neuron,
}

impl Function for Spikes {
    fn forward(&mut self, ctx: &mut Forward, inputs: &[&Tensor]) -> Result<Vec<Tensor>, BoxError> {
        ctx.save_for_backward(inputs);
        Ok(vec![forward(inputs[0], self.steps, self.neuron, Level::Avx512)?])
    }

    fn backward(&self, ctx: &Backward<'_>, grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, BoxError> {
        let saved = ctx.saved()?;
        let ([x], [Some(g)]) = (saved.as_slice(), grads) else { return Ok(vec![None]) };
        if is_grad_enabled() {
            return Ok(through_plain(&saved, g, |inputs| plain(&inputs[0], self.steps, self.neuron))?);
        }
        // A gradient may lie otherwise, a sum's for one in no memory of its own.
        let format = match is_contiguous_in(x, MemoryFormat::Contiguous)? {
            true => MemoryFormat::Contiguous,
            false => MemoryFormat::ChannelsLast,
        };
        let g = if g.stride() == x.stride() { g.shallow_clone() } else { to_memory_format(g, format)? };
        Ok(vec![Some(backward(x, &g, self.steps, self.neuron, Level::Avx512)?)])
    }
}

fn forward(x: &Tensor, steps: i64, neuron: Neuron, level: Level) -> Result<Tensor, Error> {
    let Neuron { threshold, decay, width } = neuron;
    let mut y = std::ptr::null_mut();
    // SAFETY: the tensor lives through the call, which checks it and writes one pointer to our stack.
    unsafe {
        let (threshold, decay, width) = (threshold as f32, decay as f32, width as f32);
        ffi::check(ffi::mmy_lif_forward(x.as_ptr(), steps, threshold, decay, width, level as i32, &mut y))?;
    }
    // SAFETY: on success `y` is a new tensor that is ours.
    Ok(unsafe { ffi::adopt(y) }.unwrap_or_default())
}

fn backward(x: &Tensor, g: &Tensor, steps: i64, neuron: Neuron, level: Level) -> Result<Tensor, Error> {
    let Neuron { threshold, decay, width } = neuron;
    let mut grad_x = std::ptr::null_mut();
    // SAFETY: both tensors live through the call, which checks them and writes one pointer to our stack.
    unsafe {
        let (threshold, decay, width, level) = (threshold as f32, decay as f32, width as f32, level as i32);
        let (x, g) = (x.as_ptr(), g.as_ptr());
        ffi::check(ffi::mmy_lif_backward(x, g, steps, threshold, decay, width, level, &mut grad_x))?;
    }
    // SAFETY: on success `grad_x` is a new tensor that is ours.
    Ok(unsafe { ffi::adopt(grad_x) }.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{Graph, grad};

    /// Currents on both sides of the threshold and of the box, in steps of 1/16, which no sum here rounds.
    fn currents(size: [i64; 4], kind: Kind, format: MemoryFormat) -> Tensor {
        let count: i64 = size.iter().product();
        let x = ((Tensor::arange(count, (Kind::Double, Device::Cpu)) * 0.7).sin() * 24.0).round() / 16.0;
        to_memory_format(&x.to_kind(kind).reshape(size), format).unwrap()
    }

    #[test]
    fn one_pass_gives_what_the_operators_give() -> Result<(), Error> {
        for (steps, size) in [(1, [3, 2, 5, 7]), (4, [8, 3, 5, 7]), (5, [10, 8, 9, 4])] {
            for kind in [Kind::Float, Kind::BFloat16] {
                for format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
                    let x = currents(size, kind, format);
                    let g = &x.flip([0]) + 1.0;
                    let leaf = || x.detach().set_requires_grad(true);
                    let (a, b) = (leaf(), leaf());
                    let neuron = Neuron::default();
                    let (ours, theirs) = (spikes(&a, steps, neuron)?, plain(&b, steps, neuron)?);
                    assert_eq!(ours, theirs, "{steps} {kind:?} {format:?}");
                    assert_eq!(ours.stride(), x.stride());
                    let rate = ours.to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
                    assert!((0.1..0.9).contains(&rate), "{rate}");
                    let ours = grad(&[ours], &[&a], &[Some(g.shallow_clone())], Graph::Free)?.remove(0).unwrap();
                    let theirs = grad(&[theirs], &[&b], &[Some(g)], Graph::Free)?.remove(0).unwrap();
                    let far = (&ours - &theirs).abs().max().double_value(&[]);
                    // bfloat16 gradients are rounded once here and once a step there.
                    assert!(far <= if kind == Kind::Float { 1e-6 } else { 2e-2 }, "{steps} {kind:?} {format:?}: {far}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn instruction_sets_agree() -> Result<(), Error> {
        for kind in [Kind::Float, Kind::BFloat16] {
            let x = currents([6, 3, 5, 7], kind, MemoryFormat::Contiguous);
            let g = x.flip([1]).contiguous();
            let neuron = Neuron { threshold: 0.4, decay: 0.5, width: 0.7 };
            let want = (forward(&x, 3, neuron, Level::Avx512)?, backward(&x, &g, 3, neuron, Level::Avx512)?);
            for level in [Level::Baseline, Level::Avx2] {
                assert_eq!((forward(&x, 3, neuron, level)?, backward(&x, &g, 3, neuron, level)?), want, "{level:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn what_is_no_whole_number_of_steps_is_refused() {
        assert!(spikes(&Tensor::zeros([3, 1], (Kind::Float, Device::Cpu)), 2, Neuron::default()).is_err());
    }
}
