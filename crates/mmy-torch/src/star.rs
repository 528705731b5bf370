//! StarNet's star operation, `relu6(a) · b`, in one pass over memory each way.
//!
//! It joins the two widest tensors of each of StarNet's blocks, so the time goes into memory: as separate operators it
//! reads and writes fourteen tensors for both passes and keeps a third one for the backward pass, as one eight and two.

use tch::{Device, Kind, Tensor};

use crate::autograd::is_grad_enabled;
use crate::ffi::Level;
use crate::function::{Backward, Forward, Function, apply, through_plain};
use crate::memory_format::{MemoryFormat, is_contiguous_in};
use crate::{BoxError, Error, ffi};

/// `relu6(a) · b`, differentiable as often as one likes: bit for bit what `a.relu6() * b` gives.
///
/// The kernel takes tensors of one shape and memory format in float or bfloat16 on the CPU; anything else, broadcasting
/// included, is libtorch's.
///
/// # Errors
///
/// When the tensors cannot be multiplied.
pub fn relu6_mul(a: &Tensor, b: &Tensor) -> Result<Tensor, Error> {
    if !is_ours(a, b)? {
        return plain(a, b);
    }
    Ok(apply(Relu6Mul, &[a, b])?.into_iter().next().unwrap_or_default())
}

fn plain(a: &Tensor, b: &Tensor) -> Result<Tensor, Error> {
    Ok(a.f_relu6()?.f_mul(b)?)
}

/// Whether the kernel takes both: float or bfloat16 on the CPU, of one shape, and dense in one memory format.
fn is_ours(a: &Tensor, b: &Tensor) -> Result<bool, Error> {
    if !a.defined() || !b.defined() {
        return Err(Error::Argument("the star of an undefined tensor".into()));
    }
    let kind = a.f_kind()?;
    Ok(matches!(kind, Kind::Float | Kind::BFloat16)
        && b.f_kind()? == kind
        && a.device() == Device::Cpu
        && b.device() == Device::Cpu
        && a.size() == b.size()
        // Of equal strides, which a tensor of one channel can lack and yet lie in either format.
        && a.stride() == b.stride()
        && dense(a)?)
}

fn dense(tensor: &Tensor) -> Result<bool, Error> {
    Ok(is_contiguous_in(tensor, MemoryFormat::Contiguous)? || is_contiguous_in(tensor, MemoryFormat::ChannelsLast)?)
}

struct Relu6Mul;

impl Function for Relu6Mul {
    fn forward(&mut self, ctx: &mut Forward, inputs: &[&Tensor]) -> Result<Vec<Tensor>, BoxError> {
        ctx.save_for_backward(inputs);
        Ok(vec![forward(inputs[0], inputs[1], Level::Avx512)?])
    }

    fn backward(&self, ctx: &Backward<'_>, grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, BoxError> {
        let saved = ctx.saved()?;
        let ([a, b], [Some(g)]) = (saved.as_slice(), grads) else {
            return Ok(vec![None, None]);
        };
        if is_grad_enabled() || g.stride() != a.stride() {
            // A backward pass that is itself differentiated, or a gradient that lies otherwise.
            return Ok(through_plain(&saved, g, |inputs| plain(&inputs[0], &inputs[1]))?);
        }
        let (grad_a, grad_b) = backward(a, b, g, Level::Avx512)?;
        Ok(vec![Some(grad_a), Some(grad_b)])
    }
}

fn forward(a: &Tensor, b: &Tensor, level: Level) -> Result<Tensor, Error> {
    let mut y = std::ptr::null_mut();
    // SAFETY: both tensors live through the call, which checks their kinds and layouts and writes one pointer to our
    // stack.
    unsafe { ffi::check(ffi::mmy_star_forward(a.as_ptr(), b.as_ptr(), level as i32, &mut y))? };
    // SAFETY: on success `y` is a new tensor that is ours.
    Ok(unsafe { ffi::adopt(y) }.unwrap_or_default())
}

fn backward(a: &Tensor, b: &Tensor, g: &Tensor, level: Level) -> Result<(Tensor, Tensor), Error> {
    let (mut grad_a, mut grad_b) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the tensors live through the call, which checks their kinds and layouts and writes two pointers to our
    // stack.
    unsafe {
        let level = level as i32;
        ffi::check(ffi::mmy_star_backward(a.as_ptr(), b.as_ptr(), g.as_ptr(), level, &mut grad_a, &mut grad_b))?;
    }
    // SAFETY: on success both are new tensors that are ours.
    let (grad_a, grad_b) = unsafe { (ffi::adopt(grad_a), ffi::adopt(grad_b)) };
    Ok((grad_a.unwrap_or_default(), grad_b.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{Graph, grad};
    use crate::memory_format::to_memory_format;

    /// Values around both limits, the limits themselves, and infinities.
    fn values(size: [i64; 4], seed: f64) -> Tensor {
        let count: i64 = size.iter().product();
        let x = (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 0.7 + seed).sin() * 9.0;
        for (i, value) in [0.0, 6.0, -0.0, f64::INFINITY, f64::NEG_INFINITY].into_iter().enumerate() {
            let _ = x.get((i as i64 * 5 + 1) % count).fill_(value);
        }
        x.reshape(size)
    }

    /// Same bits, save that one NaN is as good as another.
    fn assert_same(found: &Tensor, expect: &Tensor, what: &str) {
        assert_eq!((found.kind(), found.stride()), (expect.kind(), expect.stride()), "{what}");
        let (found, expect) = (found.to_kind(Kind::Double), expect.to_kind(Kind::Double));
        let far = (&found - &expect).abs().gt(0.0).nonzero();
        assert!(found.allclose(&expect, 0.0, 0.0, true), "{what}: at {:?}", Vec::<Vec<i64>>::try_from(far));
    }

    fn check(a: &Tensor, b: &Tensor, g: &Tensor, what: &str) -> Result<(), Error> {
        let leaf = |t: &Tensor| t.detach().set_requires_grad(true);
        let (a, b) = (leaf(a), leaf(b));
        let (ours, theirs) = (relu6_mul(&a, &b)?, plain(&a, &b)?);
        assert_same(&ours, &theirs, what);
        let seeds = [Some(g.shallow_clone())];
        let found = grad(&[ours], &[&a, &b], &seeds, Graph::Free)?;
        let expect = grad(&[theirs], &[&a, &b], &seeds, Graph::Free)?;
        for (found, expect) in found.iter().flatten().zip(expect.iter().flatten()) {
            assert_same(found, expect, what);
        }
        Ok(())
    }

    #[test]
    fn numbers_are_libtorchs() -> Result<(), Error> {
        use MemoryFormat::{ChannelsLast, Contiguous};
        for size in [[1, 1, 1, 1], [2, 3, 5, 7], [3, 8, 33, 65]] {
            for kind in [Kind::Float, Kind::BFloat16, Kind::Double] {
                for (format, other) in
                    [(Contiguous, Contiguous), (ChannelsLast, ChannelsLast), (ChannelsLast, Contiguous)]
                {
                    let make = |seed, format| to_memory_format(&values(size, seed).to_kind(kind), format);
                    let (a, b) = (make(0.1, format)?, make(0.2, format)?);
                    let what = format!("{size:?} {kind:?} {format:?} {other:?}");
                    check(&a, &b, &make(0.3, format)?, &what)?;
                    if size[0] == 1 {
                        continue;
                    }
                    // A gradient and then a factor that lie otherwise.
                    check(&a, &b, &make(0.3, other)?, &what)?;
                    let mixed = relu6_mul(&a, &make(0.2, other)?)?;
                    assert!(mixed.allclose(&plain(&a, &b)?, 0.0, 0.0, true));
                }
            }
        }
        Ok(())
    }

    #[test]
    fn what_is_no_number_stays_so() -> Result<(), Error> {
        let a = Tensor::full([20], f64::NAN, (Kind::BFloat16, Device::Cpu));
        let b = Tensor::zeros([20], (Kind::BFloat16, Device::Cpu));
        assert!(bool::try_from(relu6_mul(&a, &b)?.isnan().all())?);
        assert!(bool::try_from(relu6_mul(&b, &a)?.isnan().all())?);
        Ok(())
    }

    #[test]
    fn instruction_sets_agree() -> Result<(), Error> {
        for kind in [Kind::Float, Kind::BFloat16] {
            let make = |seed| values([2, 3, 5, 7], seed).to_kind(kind);
            let (a, b, g) = (make(0.1), make(0.2), make(0.3));
            let (y, (grad_a, grad_b)) = (forward(&a, &b, Level::Avx512)?, backward(&a, &b, &g, Level::Avx512)?);
            for level in [Level::Baseline, Level::Avx2] {
                let what = format!("{level:?} {kind:?}");
                assert_same(&forward(&a, &b, level)?, &y, &what);
                let found = backward(&a, &b, &g, level)?;
                assert_same(&found.0, &grad_a, &what);
                assert_same(&found.1, &grad_b, &what);
            }
        }
        Ok(())
    }

    #[test]
    fn gradients_are_differentiable() -> Result<(), Error> {
        let x = (Tensor::arange(12, (Kind::Float, Device::Cpu)) - 3.0).set_requires_grad(true);
        let second = |y: Tensor| -> Result<Tensor, Error> {
            let first = grad(&[y.square().sum(Kind::Float)], &[&x], &[], Graph::Create)?.remove(0).unwrap();
            Ok(grad(&[first.square().sum(Kind::Float)], &[&x], &[], Graph::Free)?.remove(0).unwrap())
        };
        // The same tensor twice, a constant, and one that is computed from the other.
        for b in [Tensor::shallow_clone, Tensor::ones_like, Tensor::square] {
            let (found, expect) = (second(relu6_mul(&x, &b(&x))?)?, second(plain(&x, &b(&x))?)?);
            assert!(found.allclose(&expect, 1e-6, 1e-6, false), "{found} {expect}");
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_libtorchs() {
        let make = |size: &[i64]| Tensor::ones(size, (Kind::Float, Device::Cpu));
        assert_eq!(relu6_mul(&make(&[2, 3]), &make(&[3])).unwrap(), make(&[2, 3]));
        assert!(relu6_mul(&make(&[2, 3]), &make(&[2])).is_err());
        assert!(relu6_mul(&make(&[2, 3]), &Tensor::new()).is_err());
    }
}
