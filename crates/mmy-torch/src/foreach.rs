//! One operation over a list of tensors, in a single call. Nothing is recorded for a backward pass.
//!
//! Lists that belong together have the same length, and their tensors pairwise the same shape; else libtorch refuses,
//! maybe after it has changed the tensors before.

use std::borrow::Borrow;

use tch::Tensor;

use crate::{Error, ffi};

/// `to += weight · (from − to)`: the step of an exponential moving average.
///
/// # Errors
///
/// When the lists differ in length, shapes or kinds, or hold integers.
pub fn lerp_(to: &[impl Borrow<Tensor>], from: &[impl Borrow<Tensor>], weight: f64) -> Result<(), Error> {
    if to.is_empty() && from.is_empty() {
        return Ok(());
    }
    let (to, from) = (ffi::pointers(to), ffi::pointers(from));
    // SAFETY: the lists point to tensors borrowed for the call.
    unsafe { ffi::check(ffi::mmy_foreach_lerp(to.as_ptr(), to.len(), from.as_ptr(), from.len(), weight)) }
}

/// `to *= factor`.
///
/// # Errors
///
/// When a tensor cannot be multiplied so.
pub fn mul_(to: &[impl Borrow<Tensor>], factor: f64) -> Result<(), Error> {
    if to.is_empty() {
        return Ok(());
    }
    let to = ffi::pointers(to);
    // SAFETY: the list points to tensors borrowed for the call.
    unsafe { ffi::check(ffi::mmy_foreach_mul(to.as_ptr(), to.len(), factor)) }
}

/// `to += alpha · from`.
///
/// # Errors
///
/// When the lists differ in length, shapes or kinds.
pub fn add_(to: &[impl Borrow<Tensor>], from: &[impl Borrow<Tensor>], alpha: f64) -> Result<(), Error> {
    if to.is_empty() && from.is_empty() {
        return Ok(());
    }
    let (to, from) = (ffi::pointers(to), ffi::pointers(from));
    // SAFETY: the lists point to tensors borrowed for the call.
    unsafe { ffi::check(ffi::mmy_foreach_add(to.as_ptr(), to.len(), from.as_ptr(), from.len(), alpha)) }
}

/// Copies the values of `from` into `to`, converting kinds and memory formats.
///
/// # Errors
///
/// When the lists differ in length or shapes.
pub fn copy_(to: &[impl Borrow<Tensor>], from: &[impl Borrow<Tensor>]) -> Result<(), Error> {
    if to.is_empty() && from.is_empty() {
        return Ok(());
    }
    let (to, from) = (ffi::pointers(to), ffi::pointers(from));
    // SAFETY: the lists point to tensors borrowed for the call.
    unsafe { ffi::check(ffi::mmy_foreach_copy(to.as_ptr(), to.len(), from.as_ptr(), from.len())) }
}

/// Sets all elements to zero.
///
/// # Errors
///
/// For an undefined tensor.
pub fn zero_(to: &[impl Borrow<Tensor>]) -> Result<(), Error> {
    if to.is_empty() {
        return Ok(());
    }
    let to = ffi::pointers(to);
    // SAFETY: the list points to tensors borrowed for the call.
    unsafe { ffi::check(ffi::mmy_foreach_zero(to.as_ptr(), to.len())) }
}

/// The vector norm of each tensor, `order` ≥ 0 (2: Euclidean, infinity: the largest magnitude), as scalars.
///
/// Half-precision tensors are summed in single precision and their norms are of that kind.
///
/// # Errors
///
/// For undefined tensors and integers.
pub fn norm(of: &[impl Borrow<Tensor>], order: f64) -> Result<Vec<Tensor>, Error> {
    if of.is_empty() {
        return Ok(Vec::new());
    }
    let of = ffi::pointers(of);
    let mut norms = vec![std::ptr::null_mut(); of.len()];
    // SAFETY: the list points to tensors borrowed for the call; `norms` has room for one pointer for each.
    unsafe {
        ffi::check(ffi::mmy_foreach_norm(of.as_ptr(), of.len(), order, norms.as_mut_ptr()))?;
    }
    // SAFETY: on success each pointer is a new tensor that is ours.
    Ok(norms.into_iter().filter_map(|norm| unsafe { ffi::adopt(norm) }).collect())
}

/// The norm of all elements of all tensors as one vector; 0 for an empty list.
///
/// # Errors
///
/// As [`norm`].
pub fn total_norm(of: &[impl Borrow<Tensor>], order: f64) -> Result<f64, Error> {
    let mut norms = Vec::with_capacity(of.len());
    for norm in norm(of, order)? {
        norms.push(norm.f_double_value(&[])?);
    }
    Ok(if order == f64::INFINITY {
        // A NaN must not vanish in a comparison.
        norms.into_iter().fold(0.0, |most: f64, norm| if norm.is_nan() || norm > most { norm } else { most })
    } else if order == 0.0 {
        norms.into_iter().sum()
    } else {
        let sum: f64 = norms.into_iter().map(|norm| norm.powf(order)).sum();
        sum.powf(order.recip())
    })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    /// Tensors of odd shapes and both memory formats, and a copy that shares nothing.
    fn tensors(kind: Kind, offset: f64) -> Vec<Tensor> {
        [vec![3, 2, 5, 5], vec![7], vec![1, 1, 1, 1], vec![33, 4]]
            .iter()
            .map(|size| {
                let count: i64 = size.iter().product();
                let values = (Tensor::arange(count, (Kind::Double, Device::Cpu)) + offset).sin();
                values.reshape(size).to_kind(kind)
            })
            .collect()
    }

    fn check(kind: Kind, apply: impl Fn(&[Tensor], &[Tensor]), plain: impl Fn(&Tensor, &Tensor) -> Tensor) {
        let (to, from) = (tensors(kind, 0.0), tensors(kind, 0.5));
        let expect: Vec<_> = to.iter().zip(&from).map(|(a, b)| plain(a, b)).collect();
        let to: Vec<_> = to.into_iter().map(|t| t.set_requires_grad(true)).collect();
        apply(&to, &from);
        for (to, expect) in to.iter().zip(&expect) {
            assert!(to.allclose(expect, 1e-7, 1e-7, false), "{to:?}");
        }
    }

    #[test]
    fn lists_change_as_their_tensors_would() {
        for kind in [Kind::Float, Kind::Double] {
            check(kind, |a, b| lerp_(a, b, 0.3).unwrap(), |a, b| a + (b - a) * 0.3);
            check(kind, |a, _| mul_(a, -1.5).unwrap(), |a, _| a * -1.5);
            check(kind, |a, b| add_(a, b, 0.25).unwrap(), |a, b| a + b * 0.25);
            check(kind, |a, b| copy_(a, b).unwrap(), |_, b| b.copy());
            check(kind, |a, _| zero_(a).unwrap(), |a, _| a.zeros_like());
        }
    }

    #[test]
    fn norms_are_those_of_one_long_vector() -> Result<(), Error> {
        let list = tensors(Kind::Double, 0.1);
        let flat: Vec<_> = list.iter().map(|t| t.reshape([-1])).collect();
        let flat = Tensor::cat(&flat, 0);
        for order in [1.0, 2.0, 3.0, f64::INFINITY] {
            let expect = flat.norm_scalaropt_dtype(order, Kind::Double).double_value(&[]);
            let found = total_norm(&list, order)?;
            assert!((found / expect - 1.0).abs() < 1e-12, "{order}: {found} {expect}");
        }
        assert_eq!(total_norm(&[] as &[Tensor], 2.0)?, 0.0);
        // 10,000 ones in bfloat16, whose own sums would stop at 256.
        let many = Tensor::ones([10_000], (Kind::BFloat16, Device::Cpu));
        assert_eq!(total_norm(&[many], 2.0)?, 100.0);
        Ok(())
    }

    #[test]
    fn lists_that_do_not_fit_are_refused() {
        let (a, b) = (tensors(Kind::Float, 0.0), tensors(Kind::Float, 0.0));
        assert!(lerp_(&a, &b[1..], 0.5).is_err());
        assert!(add_(&a[..2], &[&b[1], &b[0]], 1.0).is_err());
        assert!(copy_(&a, &b[..1]).is_err());
        assert!(norm(&[Tensor::new()], 2.0).is_err());
        assert!(zero_(&[Tensor::new()]).is_err());
    }
}
