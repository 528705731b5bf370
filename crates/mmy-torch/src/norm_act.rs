//! Batch normalisation by the batch's own statistics (arXiv 1502.03167) and the activation after it, as one operation.
//!
//! As separate operators they read and write the map five times on the way forth and eight on the way back, and keep two
//! maps for the backward pass; as one it is three and five, and one map. Sums are taken over blocks cut by the shape
//! alone and added up in double precision: the same bits for any number of threads, and closer to the truth than
//! libtorch's, which sums channels-last maps in float.

use tch::{Device, Kind, Tensor};

use crate::autograd::is_grad_enabled;
use crate::ffi::Level;
use crate::function::{Backward, Forward, Function, apply, through_plain};
use crate::memory_format::{MemoryFormat, is_contiguous_in};
use crate::{BoxError, Error, ffi};

/// What follows the normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x · sigmoid(x).
    Silu,
}

/// What the normalisation is made with, besides the map.
#[derive(Debug, Clone, Copy)]
pub struct Normalisation<'a> {
    /// Scale of each channel (C), float.
    pub weight: &'a Tensor,
    /// Shift of each channel (C), float.
    pub bias: &'a Tensor,
    /// Running mean and (unbiased) variance (C), float, which take the batch in.
    pub running: Option<(&'a Tensor, &'a Tensor)>,
    /// Weight of the batch in the running values, 0 to 1.
    pub momentum: f64,
    /// Added to the variance.
    pub eps: f64,
}

/// Normalises (B, C, H, W) by the mean and variance of each channel over the batch, then applies `activation`.
///
/// Returns `None`, with nothing done, for a map that the kernel does not take: it takes maps of float or bfloat16 on the
/// CPU, channels-last, of more than one pixel. The result has the map's kind; numbers are float in between and rounded
/// once.
///
/// # Errors
///
/// When a value per channel has another size or kind.
pub fn batch_norm_act(x: &Tensor, norm: Normalisation<'_>, activation: Activation) -> Result<Option<Tensor>, Error> {
    if !is_ours(x)? || !matches!(norm.weight.kind(), Kind::Float) {
        return Ok(None);
    }
    let Normalisation { weight, bias, running, momentum, eps } = norm;
    let running = running.map(|(mean, var)| (mean.shallow_clone(), var.shallow_clone()));
    let function = BatchNormAct { running, momentum, eps, activation, level: Level::Avx512 };
    Ok(apply(function, &[x, weight, bias])?.into_iter().next())
}

fn is_ours(x: &Tensor) -> Result<bool, Error> {
    Ok(x.device() == Device::Cpu
        && matches!(x.f_kind()?, Kind::Float | Kind::BFloat16)
        && x.dim() == 4
        && x.numel() as i64 > x.size()[1]
        && is_contiguous_in(x, MemoryFormat::ChannelsLast)?)
}

struct BatchNormAct {
    running: Option<(Tensor, Tensor)>,
    momentum: f64,
    eps: f64,
    activation: Activation,
    level: Level,
}

impl BatchNormAct {
    /// With libtorch's operators, for a backward pass that is itself differentiated.
    fn plain(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor, Error> {
        let none = None::<Tensor>;
        let y = x.f_batch_norm(Some(weight), Some(bias), none.as_ref(), none.as_ref(), true, 0.0, self.eps, true)?;
        Ok(match self.activation {
            Activation::Identity => y,
            Activation::Relu => y.f_relu()?,
            Activation::Relu6 => y.f_relu6()?,
            Activation::Silu => y.f_silu()?,
        })
    }
}

impl Function for BatchNormAct {
    fn forward(&mut self, ctx: &mut Forward, inputs: &[&Tensor]) -> Result<Vec<Tensor>, BoxError> {
        let [x, weight, bias] = *inputs else { return Ok(vec![]) };
        let (mean, var) = match self.running.take() {
            Some((mean, var)) => (Some(mean), Some(var)),
            None => (None, None),
        };
        let pointer = |it: &Option<Tensor>| it.as_ref().map_or(std::ptr::null_mut(), |it| it.as_ptr().cast_mut());
        let (mut y, mut statistics) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the tensors live through the call, which checks their kinds, sizes and layouts and writes two pointers
        // to our stack.
        unsafe {
            ffi::check(ffi::mmy_norm_act_forward(
                x.as_ptr(),
                weight.as_ptr(),
                bias.as_ptr(),
                pointer(&mean),
                pointer(&var),
                self.momentum,
                self.eps,
                self.activation as i32,
                self.level as i32,
                &mut y,
                &mut statistics,
            ))?;
        }
        // SAFETY: on success both are new tensors that are ours.
        let (y, statistics) = unsafe { (ffi::adopt(y), ffi::adopt(statistics)) };
        ctx.save_for_backward(&[x, weight, bias, &statistics.unwrap_or_default()]);
        Ok(vec![y.unwrap_or_default()])
    }

    fn backward(&self, ctx: &Backward<'_>, grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, BoxError> {
        let saved = ctx.saved()?;
        let ([x, weight, bias, statistics], [Some(g)]) = (saved.as_slice(), grads) else {
            return Ok(vec![None, None, None]);
        };
        if is_grad_enabled() {
            let inputs = [x, weight, bias].map(Tensor::shallow_clone);
            return Ok(through_plain(&inputs, g, |it| self.plain(&it[0], &it[1], &it[2]))?);
        }
        let mut found = [std::ptr::null_mut(); 3];
        let [to_x, to_weight, to_bias] = &mut found;
        // SAFETY: the tensors live through the call, which checks their kinds, sizes and layouts and writes three
        // pointers to our stack.
        unsafe {
            ffi::check(ffi::mmy_norm_act_backward(
                x.as_ptr(),
                bias.as_ptr(),
                statistics.as_ptr(),
                g.as_ptr(),
                self.activation as i32,
                self.level as i32,
                to_x,
                to_weight,
                to_bias,
            ))?;
        }
        // SAFETY: on success all are new tensors that are ours.
        Ok(found.into_iter().map(|it| unsafe { ffi::adopt(it) }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{Graph, grad};
    use crate::memory_format::to_memory_format;

    const ALL: [Activation; 4] = [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::Silu];

    /// Values between -1 and 1 that do not repeat soon.
    fn wave(size: &[i64], seed: f64) -> Tensor {
        let count: i64 = size.iter().product();
        (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 0.731 + seed).sin().reshape(size)
    }

    struct Case {
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        g: Tensor,
    }

    /// Channels whose means are far from zero, scales that reach both limits of ReLU6, and a gradient whose sums, which are
    /// the bias's gradient, do not cancel.
    fn case(size: [i64; 4], kind: Kind) -> Result<Case, Error> {
        let leaf = |it: Tensor| it.set_requires_grad(true);
        let far = Tensor::arange(size[1], (Kind::Double, Device::Cpu)).remainder(8.0).view([1, -1, 1, 1]);
        let pixels = |it: Tensor| to_memory_format(&it.to_kind(kind), MemoryFormat::ChannelsLast);
        Ok(Case {
            x: leaf(pixels(wave(&size, 0.3) + far)?),
            weight: leaf((wave(&[size[1]], 0.9) * 5.0).to_kind(Kind::Float)),
            bias: leaf((wave(&[size[1]], 1.7) + 1.0).to_kind(Kind::Float)),
            g: pixels(wave(&size, 2.1) + 0.5)?,
        })
    }

    fn function(activation: Activation, level: Level) -> BatchNormAct {
        BatchNormAct { running: None, momentum: 0.0, eps: 1e-3, activation, level }
    }

    fn gradients(y: &Tensor, case: &Case, g: &Tensor) -> Result<Vec<Tensor>, Error> {
        let inputs = [&case.x, &case.weight, &case.bias];
        Ok(grad(&[y], &inputs, &[Some(g.shallow_clone())], Graph::Retain)?.into_iter().flatten().collect())
    }

    /// Both to double, with a tolerance relative to the largest number.
    fn assert_close(found: &Tensor, expect: &Tensor, tolerance: f64, what: &str) {
        let (found, expect) = (found.to_kind(Kind::Double), expect.to_kind(Kind::Double));
        let off = (&found - &expect).abs().max().double_value(&[]) / expect.abs().max().double_value(&[]).max(1e-3);
        assert!(off <= tolerance, "{what}: off by {off}");
    }

    /// Against libtorch in double precision. Float: 2e-6 of the largest value, some ten roundings and a mean ten times the
    /// deviation. bfloat16: the result is rounded once, and the gradient of x twice, by up to 2^-9 each.
    #[test]
    fn values_and_gradients_are_those_of_the_operators() -> Result<(), Error> {
        for size in [[2, 1, 3, 5], [1, 7, 9, 4], [2, 24, 5, 7], [3, 16, 31, 33], [1, 100, 1, 3]] {
            for activation in ALL {
                for (kind, forth, back) in [(Kind::Float, 2e-6, 4e-6), (Kind::BFloat16, 4e-3, 1e-2)] {
                    let what = format!("{size:?} {activation:?} {kind:?}");
                    let ours = case(size, kind)?;
                    let double = |it: &Tensor| it.detach().to_kind(Kind::Double).set_requires_grad(true);
                    let theirs = Case {
                        x: double(&ours.x),
                        weight: double(&ours.weight),
                        bias: double(&ours.bias),
                        g: ours.g.to_kind(Kind::Double),
                    };
                    let function = function(activation, Level::Avx512);
                    let expect = function.plain(&theirs.x, &theirs.weight, &theirs.bias)?;
                    let y = apply(function, &[&ours.x, &ours.weight, &ours.bias])?.remove(0);
                    assert_eq!((y.kind(), y.stride()), (kind, ours.x.stride()), "{what}");
                    assert_close(&y, &expect, forth, &what);
                    let found = gradients(&y, &ours, &ours.g)?;
                    for (i, (found, expect)) in found.iter().zip(gradients(&expect, &theirs, &theirs.g)?).enumerate() {
                        assert_close(found, &expect, back, &format!("{what}, gradient {i}"));
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_gradient_may_lie_otherwise() -> Result<(), Error> {
        let case = case([2, 8, 3, 5], Kind::Float)?;
        let y = apply(function(Activation::Silu, Level::Avx512), &[&case.x, &case.weight, &case.bias])?.remove(0);
        let expect = gradients(&y, &case, &case.g)?;
        let contiguous = to_memory_format(&case.g, MemoryFormat::Contiguous)?;
        // As the gradient of a concatenation gives it: some of the channels of a wider map.
        let wider = Tensor::cat(&[&case.g, &case.g, &case.g], 1).narrow(1, 8, 8);
        assert!(!is_contiguous_in(&wider, MemoryFormat::ChannelsLast)?);
        for g in [contiguous, wider, case.g.mean(Kind::Float).expand([2, 8, 3, 5], false)] {
            let found = gradients(&y, &case, &g)?;
            let expect = if g.stride()[1] == 0 {
                gradients(&y, &case, &g.contiguous())?
            } else {
                expect.iter().map(Tensor::shallow_clone).collect()
            };
            for (found, expect) in found.iter().zip(&expect) {
                assert_eq!(found, expect);
            }
        }
        Ok(())
    }

    #[test]
    fn bits_are_the_same_for_any_number_of_threads() -> Result<(), Error> {
        let case = case([4, 24, 40, 40], Kind::BFloat16)?;
        let run = || -> Result<Vec<Tensor>, Error> {
            let y = apply(function(Activation::Silu, Level::Avx512), &[&case.x, &case.weight, &case.bias])?.remove(0);
            let mut all = gradients(&y, &case, &case.g)?;
            all.push(y);
            Ok(all)
        };
        let before = tch::get_num_threads();
        tch::set_num_threads(1);
        let one = run()?;
        tch::set_num_threads(3);
        let three = run()?;
        tch::set_num_threads(before);
        assert_eq!(one, three);
        Ok(())
    }

    /// Up to the last bits of float: one instruction set multiplies and adds with one rounding, another with two, and the
    /// weight's gradient is a sum of 70 products that cancel.
    #[test]
    fn instruction_sets_agree() -> Result<(), Error> {
        let case = case([2, 29, 7, 5], Kind::Float)?;
        for activation in ALL {
            let run = |level| -> Result<Vec<Tensor>, Error> {
                let y = apply(function(activation, level), &[&case.x, &case.weight, &case.bias])?.remove(0);
                let mut all = gradients(&y, &case, &case.g)?;
                all.push(y);
                Ok(all)
            };
            let expect = run(Level::Avx512)?;
            for level in [Level::Baseline, Level::Avx2] {
                for (found, expect) in run(level)?.iter().zip(&expect) {
                    assert_close(found, expect, 1e-5, &format!("{activation:?} {level:?}"));
                }
            }
        }
        Ok(())
    }

    #[test]
    fn running_values_take_the_batch_in() -> Result<(), Error> {
        let case = case([2, 8, 3, 5], Kind::Float)?;
        let make = || (Tensor::zeros([8], (Kind::Float, Device::Cpu)), Tensor::ones([8], (Kind::Float, Device::Cpu)));
        let (ours, theirs) = (make(), make());
        let norm = Normalisation {
            weight: &case.weight,
            bias: &case.bias,
            running: Some((&ours.0, &ours.1)),
            momentum: 0.1,
            eps: 1e-3,
        };
        assert!(batch_norm_act(&case.x, norm, Activation::Silu)?.is_some());
        let (weight, bias) = (Some(&case.weight), Some(&case.bias));
        let _ = case.x.f_batch_norm(weight, bias, Some(&theirs.0), Some(&theirs.1), true, 0.1, 1e-3, true)?;
        assert_close(&ours.0, &theirs.0, 1e-6, "mean");
        assert_close(&ours.1, &theirs.1, 1e-6, "variance");
        Ok(())
    }

    #[test]
    fn large_and_broken_numbers_are_as_they_should_be() -> Result<(), Error> {
        // SiLU far out on both sides, through a normalisation that multiplies by 200.
        let x = to_memory_format(&wave(&[1, 16, 8, 8], 0.1).to_kind(Kind::Float), MemoryFormat::ChannelsLast)?;
        let (weight, bias) =
            (Tensor::full([16], 200.0, (Kind::Float, Device::Cpu)), Tensor::zeros([16], (Kind::Float, Device::Cpu)));
        let y = apply(function(Activation::Silu, Level::Avx512), &[&x, &weight, &bias])?.remove(0);
        let expect = function(Activation::Silu, Level::Avx512).plain(&x, &weight, &bias)?;
        assert_close(&y, &expect, 2e-6, "large");
        // One NaN makes its channel NaN and no other.
        let _ = x.narrow(1, 3, 1).narrow(2, 2, 1).narrow(3, 2, 1).fill_(f64::NAN);
        for activation in ALL {
            let y = apply(function(activation, Level::Avx512), &[&x, &weight, &bias])?.remove(0);
            let broken = y.isnan().sum_dim_intlist([0, 2, 3].as_slice(), false, Kind::Int64);
            assert_eq!(Vec::<i64>::try_from(broken).ok(), Some((0..16).map(|c| if c == 3 { 64 } else { 0 }).collect()));
        }
        Ok(())
    }

    #[test]
    fn gradients_are_differentiable() -> Result<(), Error> {
        let case = case([2, 3, 4, 5], Kind::Float)?;
        let second = |y: Tensor| -> Result<Tensor, Error> {
            let first = grad(&[y.square().sum(Kind::Float)], &[&case.x], &[], Graph::Create)?.remove(0).unwrap();
            Ok(grad(&[first.square().sum(Kind::Float)], &[&case.x], &[], Graph::Free)?.remove(0).unwrap())
        };
        let function = || function(Activation::Silu, Level::Avx512);
        let found = second(apply(function(), &[&case.x, &case.weight, &case.bias])?.remove(0))?;
        let expect = second(function().plain(&case.x, &case.weight, &case.bias)?)?;
        assert_close(&found, &expect, 1e-4, "second derivative");
        Ok(())
    }

    #[test]
    fn what_the_kernel_does_not_take_is_said() -> Result<(), Error> {
        let case = case([2, 8, 3, 5], Kind::Float)?;
        let norm = Normalisation { weight: &case.weight, bias: &case.bias, running: None, momentum: 0.1, eps: 1e-3 };
        let contiguous = to_memory_format(&case.x, MemoryFormat::Contiguous)?;
        for x in [contiguous, case.x.to_kind(Kind::Double), case.x.narrow(0, 0, 1).narrow(2, 0, 1).narrow(3, 0, 1)] {
            assert!(batch_norm_act(&x, norm, Activation::Relu)?.is_none(), "{x:?}");
        }
        let short = Tensor::ones([3], (Kind::Float, Device::Cpu));
        assert!(batch_norm_act(&case.x, Normalisation { weight: &short, ..norm }, Activation::Relu).is_err());
        Ok(())
    }
}
