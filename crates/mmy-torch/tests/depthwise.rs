//! Our depthwise convolution against libtorch's in double precision.

use mmy_torch::Error;
use mmy_torch::autocast::autocast;
use mmy_torch::autograd::{Graph, grad};
use mmy_torch::depthwise::conv2d;
use mmy_torch::memory_format::{MemoryFormat, is_contiguous_in, to_memory_format};
use tch::{Device, Kind, Tensor};

/// Deterministic values in -1..1, exact in bfloat16.
fn values(size: &[i64], seed: f64) -> Tensor {
    let count: i64 = size.iter().product();
    let values = ((Tensor::arange(count, (Kind::Double, Device::Cpu)) + seed) * 1.7 + seed).sin();
    values.reshape(size).to_kind(Kind::BFloat16).to_kind(Kind::Double)
}

fn channels_last(tensor: &Tensor, kind: Kind) -> Tensor {
    to_memory_format(&tensor.to_kind(kind), MemoryFormat::ChannelsLast).unwrap()
}

/// The largest difference, relative to the largest value.
fn distance(found: &Tensor, expect: &Tensor) -> f64 {
    assert_eq!(found.size(), expect.size());
    if expect.numel() == 0 {
        return 0.0;
    }
    let error = (found.to_kind(Kind::Double) - expect).abs().max().double_value(&[]);
    error / expect.abs().max().double_value(&[]).max(1e-30)
}

struct Case {
    size: [i64; 4],
    kernel: i64,
    padding: i64,
    stride: i64,
    bias: bool,
}

/// Output and all gradients of `case` for `x` of `kind` and parameters of `parameters`.
fn check(case: &Case, kind: Kind, parameters: Kind) -> Result<(), Error> {
    let Case { size, kernel, padding, stride, bias } = *case;
    let c = size[1];
    let (x, w, b) = (values(&size, 1.0), values(&[c, 1, kernel, kernel], 2.0), values(&[c], 3.0));
    let leaf = |t: &Tensor, kind| t.to_kind(kind).set_requires_grad(true);
    let (rx, rw, rb) = (leaf(&x, Kind::Double), leaf(&w, Kind::Double), leaf(&b, Kind::Double));
    let reference = rx.f_conv2d(&rw, bias.then_some(&rb), stride, padding, 1, c)?;
    let g = values(&reference.size(), 4.0);
    let mut wanted = vec![&rx, &rw];
    wanted.extend(bias.then_some(&rb));
    let expect = grad(&[&reference], &wanted, &[Some(g.copy())], Graph::Free)?;

    let x = channels_last(&x, kind).set_requires_grad(true);
    let (w, b) = (leaf(&w, parameters), leaf(&b, parameters));
    let y = conv2d(&x, &w, bias.then_some(&b), stride, padding)?;
    assert_eq!(y.kind(), kind);
    assert!(is_contiguous_in(&y, MemoryFormat::ChannelsLast)?);
    let mut wanted = vec![&x, &w];
    wanted.extend(bias.then_some(&b));
    let found = grad(&[&y], &wanted, &[Some(channels_last(&g, kind))], Graph::Free)?;

    let what = format!("{size:?}, kernel {kernel}, padding {padding}, stride {stride}, {kind:?}, {parameters:?}");
    // bfloat16 keeps 8 bits of what libtorch sums in float: half a unit in the last place is 2^-9.
    let rounded = |kind| if kind == Kind::BFloat16 { 1.0 / 256.0 } else { 1e-5 };
    assert!(distance(&y, &reference) < rounded(kind), "{what}: {}", distance(&y, &reference));
    for (i, (found, expect)) in found.iter().flatten().zip(expect.iter().flatten()).enumerate() {
        // The input's gradient is of its kind; the parameters' are of theirs and summed in float.
        let tolerance = rounded(if i == 0 { kind } else { parameters });
        let error = distance(found, expect);
        assert!(error < tolerance, "{what}: gradient {i}: {error}");
        assert_eq!(found.kind(), if i == 0 { kind } else { parameters });
    }
    Ok(())
}

#[test]
fn outputs_and_gradients_are_libtorchs() -> Result<(), Error> {
    // Channels leave every remainder of the vectors; rows are shorter and longer than the kernel.
    for (c, h, w) in [(1, 9, 8), (3, 7, 15), (16, 20, 20), (20, 10, 6), (24, 13, 29), (37, 5, 5), (64, 3, 2), (4, 1, 1)]
    {
        for (kernel, padding) in [(7, 3), (5, 2), (3, 1), (7, 0), (7, 1), (7, 6), (5, 6), (3, 3)] {
            if h.min(w) + 2 * padding < kernel {
                continue;
            }
            let bias = (c + padding) % 2 == 0;
            let case = Case { size: [3, c, h, w], kernel, padding, stride: 1, bias };
            check(&case, Kind::Float, Kind::Float)?;
            check(&case, Kind::BFloat16, Kind::Float)?;
        }
    }
    Ok(())
}

#[test]
fn what_the_kernel_does_not_take_is_libtorchs() -> Result<(), Error> {
    let plain = Case { size: [2, 8, 12, 11], kernel: 7, padding: 3, stride: 1, bias: true };
    check(&Case { stride: 2, ..plain }, Kind::Float, Kind::Float)?;
    check(&Case { kernel: 9, padding: 4, ..plain }, Kind::Float, Kind::Float)?;
    check(&Case { kernel: 4, padding: 1, ..plain }, Kind::Float, Kind::Float)?;
    check(&plain, Kind::Double, Kind::Double)?;
    check(&plain, Kind::BFloat16, Kind::BFloat16)?;
    check(&Case { size: [0, 8, 12, 11], ..plain }, Kind::Float, Kind::Float)?;
    Ok(())
}

#[test]
fn a_contiguous_input_and_gradient_do() -> Result<(), Error> {
    let (x, w) = (values(&[2, 8, 9, 9], 1.0).to_kind(Kind::Float), values(&[8, 1, 7, 7], 2.0).to_kind(Kind::Float));
    let w = w.set_requires_grad(true);
    let g = values(&[2, 8, 9, 9], 3.0).to_kind(Kind::Float);
    let gradient = |x: &Tensor| -> Result<Tensor, Error> {
        let y = conv2d(x, &w, None, 1, 3)?;
        Ok(grad(&[y], &[&w], &[Some(g.copy())], Graph::Free)?.remove(0).unwrap())
    };
    let found = gradient(&channels_last(&x, Kind::Float))?;
    assert!(distance(&found, &gradient(&x)?.to_kind(Kind::Double)) < 1e-5);
    Ok(())
}

#[test]
fn autocast_casts_the_input_and_keeps_float_gradients() -> Result<(), Error> {
    let x = channels_last(&values(&[2, 24, 10, 10], 1.0), Kind::Float).set_requires_grad(true);
    let w = values(&[24, 1, 7, 7], 2.0).to_kind(Kind::Float).set_requires_grad(true);
    let b = values(&[24], 3.0).to_kind(Kind::Float).set_requires_grad(true);
    for pass in 0..2 {
        let y = autocast(Device::Cpu, Kind::BFloat16, || conv2d(&x, &w, Some(&b), 1, 3))??;
        assert_eq!(y.kind(), Kind::BFloat16, "{pass}");
        y.to_kind(Kind::Float).sum(Kind::Float).f_backward()?;
    }
    for leaf in [&x, &w, &b] {
        assert_eq!(leaf.grad().kind(), Kind::Float);
    }
    // Each of two passes adds a gradient of one for each of the 200 pixels.
    assert_eq!(b.grad(), b.full_like(400.0));
    Ok(())
}

#[test]
fn gradients_are_differentiable() -> Result<(), Error> {
    let w = values(&[3, 1, 3, 3], 2.0);
    let x = values(&[2, 3, 5, 4], 1.0);
    let second = |kind: Kind, plain: bool| -> Result<Vec<Option<Tensor>>, Error> {
        let (x, w) = (channels_last(&x, kind).set_requires_grad(true), w.to_kind(kind).set_requires_grad(true));
        let conv = |x: &Tensor| match plain {
            true => Ok(x.f_conv2d(&w, None::<&Tensor>, 1, 1, 1, 3)?),
            false => conv2d(x, &w, None, 1, 1),
        };
        // Twice with one weight, so that the second input depends on it, too.
        let y = conv(&conv(&x)?)?;
        let first = grad(&[y.square().sum(kind)], &[&x, &w], &[], Graph::Create)?;
        let norm: Tensor = first.iter().flatten().map(|g| g.square().sum(kind)).sum();
        grad(&[norm], &[&x, &w], &[], Graph::Free)
    };
    for (found, expect) in second(Kind::Float, false)?.iter().zip(&second(Kind::Double, true)?) {
        assert!(distance(found.as_ref().unwrap(), expect.as_ref().unwrap()) < 1e-5);
    }
    Ok(())
}

#[test]
fn sums_do_not_depend_on_threads() -> Result<(), Error> {
    let x = channels_last(&values(&[5, 24, 17, 19], 1.0), Kind::BFloat16);
    let g = channels_last(&values(&[5, 24, 17, 19], 3.0), Kind::BFloat16);
    let w = values(&[24, 1, 7, 7], 2.0).to_kind(Kind::Float).set_requires_grad(true);
    let before = mmy_torch::threads::intra_op();
    let mut found = Vec::new();
    for threads in [1, 2, 3] {
        mmy_torch::threads::set_intra_op(threads)?;
        let y = conv2d(&x, &w, None, 1, 3)?;
        found.push(grad(&[y], &[&w], &[Some(g.copy())], Graph::Free)?.remove(0).unwrap());
    }
    mmy_torch::threads::set_intra_op(before)?;
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0], found[2]);
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error() {
    let x = channels_last(&values(&[1, 8, 9, 9], 1.0), Kind::Float);
    let w = |size: &[i64]| values(size, 1.0).to_kind(Kind::Float).set_requires_grad(true);
    assert!(conv2d(&x, &w(&[4, 1, 7, 7]), None, 1, 3).is_err());
    assert!(conv2d(&x, &w(&[8, 2, 7, 7]), None, 1, 3).is_err());
    assert!(conv2d(&x, &w(&[8, 1, 7, 7]), Some(&w(&[7])), 1, 3).is_err());
    assert!(conv2d(&x, &w(&[8, 1, 7, 7]), None, 0, 3).is_err());
    assert!(conv2d(&x, &w(&[8, 1, 7, 7]), None, 1, -1).is_err());
    assert!(conv2d(&x.get(0), &w(&[8, 1, 7, 7]), None, 1, 0).is_ok(), "three axes are one picture");
    assert!(conv2d(&Tensor::new(), &w(&[8, 1, 7, 7]), None, 1, 3).is_err());
    assert!(conv2d(&x, &Tensor::new(), None, 1, 3).is_err());
}
