//! The fused optimiser steps against the formulas, written with plain tensors in double precision.

use mmy_torch::memory_format::{MemoryFormat, to_memory_format};
use mmy_torch::optim::{AdamOptions, AdamState, SgdOptions, adam_, adamw_, clip_grad_norm_, sgd_};
use tch::{Device, Kind, Tensor};

const DOUBLE: (Kind, Device) = (Kind::Double, Device::Cpu);

/// Deterministic values in -1..1 of a shape.
fn values(size: &[i64], seed: f64) -> Tensor {
    let count: i64 = size.iter().product();
    ((Tensor::arange(count, DOUBLE) + seed) * 1.7 + seed).sin().reshape(size)
}

/// A vector, a matrix whose size is no multiple of a SIMD register, a channels-last kernel and a scalar.
fn parameters(kind: Kind) -> Vec<Tensor> {
    let kernel = to_memory_format(&values(&[6, 5, 3, 3], 3.0), MemoryFormat::ChannelsLast).unwrap();
    [values(&[37], 1.0), values(&[19, 23], 2.0), kernel, values(&[], 4.0)]
        .into_iter()
        .map(|tensor| tensor.to_kind(kind).set_requires_grad(true))
        .collect()
}

/// Gradients of step `step`; the kernel's lies in the other memory format.
fn gradients(kind: Kind, step: i64) -> Vec<Tensor> {
    let size: [&[i64]; 4] = [&[37], &[19, 23], &[6, 5, 3, 3], &[]];
    (0..4).map(|i| values(size[i], (10 * step + i as i64) as f64).to_kind(kind)).collect()
}

fn assert_near(found: &[Tensor], expect: &[Tensor], kind: Kind, what: &str) {
    // One unit in the last place of float is 6e-8 relative; a few steps add up to a few of them.
    let tolerance = if kind == Kind::Double { 1e-12 } else { 3e-7 };
    for (found, expect) in found.iter().zip(expect) {
        let error = (found.to_kind(Kind::Double) - expect).abs().max().double_value(&[]);
        assert!(error <= tolerance, "{what} {kind:?}: {error}");
    }
}

fn plain_sgd(w: &Tensor, g: &Tensor, buffer: &mut Option<Tensor>, o: &SgdOptions) -> Tensor {
    let mut g = if o.maximize { -g } else { g.copy() };
    g += w * o.weight_decay;
    if o.momentum != 0.0 {
        let m = match buffer {
            None => g.copy(),
            Some(m) => &*m * o.momentum + &g * (1.0 - o.dampening),
        };
        g = if o.nesterov { g + &m * o.momentum } else { m.copy() };
        *buffer = Some(m);
    }
    w - g * o.lr
}

fn check_sgd(options: SgdOptions, what: &str) {
    for kind in [Kind::Double, Kind::Float] {
        let fused = parameters(kind);
        let mut buffers: Vec<Option<Tensor>> = (0..4).map(|_| None).collect();
        let mut plain: Vec<_> = parameters(Kind::Double).iter().map(Tensor::detach).collect();
        let mut plain_buffers: Vec<Option<Tensor>> = (0..4).map(|_| None).collect();
        for step in 0..4 {
            // The last parameter joins one step later, so that first and later steps mix.
            let n = if step == 0 { 3 } else { 4 };
            let grads = gradients(kind, step);
            sgd_(&fused[..n], &grads[..n], &mut buffers[..n], &options).unwrap();
            for (i, g) in grads.iter().enumerate().take(n) {
                let g = g.to_kind(Kind::Double);
                plain[i] = plain_sgd(&plain[i], &g, &mut plain_buffers[i], &options);
            }
        }
        assert_near(&fused, &plain, kind, what);
        let found: Vec<_> = buffers.into_iter().flatten().collect();
        let expect: Vec<_> = plain_buffers.into_iter().flatten().collect();
        assert_eq!(found.len(), expect.len(), "{what}");
        assert_near(&found, &expect, kind, what);
    }
}

#[test]
fn sgd_follows_the_formulas() {
    let plain = SgdOptions { lr: 0.1, ..Default::default() };
    let momentum = SgdOptions { momentum: 0.937, weight_decay: 5e-4, ..plain };
    check_sgd(plain, "plain");
    check_sgd(SgdOptions { weight_decay: 0.01, ..plain }, "weight decay");
    check_sgd(momentum, "momentum");
    check_sgd(SgdOptions { dampening: 0.3, ..momentum }, "dampening");
    check_sgd(SgdOptions { nesterov: true, ..momentum }, "nesterov");
    check_sgd(SgdOptions { maximize: true, ..momentum }, "maximize");
    check_sgd(SgdOptions { maximize: true, nesterov: true, ..momentum }, "maximize nesterov");
}

struct PlainAdam {
    first: Tensor,
    second: Tensor,
    largest: Tensor,
}

fn check_adam(options: AdamOptions, decoupled: bool, what: &str) {
    let AdamOptions { lr, betas: (b1, b2), eps, weight_decay, amsgrad, maximize } = options;
    for kind in [Kind::Double, Kind::Float] {
        let fused = parameters(kind);
        let mut states: Vec<Option<AdamState>> = (0..4).map(|_| None).collect();
        let mut plain: Vec<_> = parameters(Kind::Double).iter().map(Tensor::detach).collect();
        let zeros = || plain.iter().map(Tensor::zeros_like).collect::<Vec<_>>();
        let mut state: Vec<_> = zeros()
            .into_iter()
            .zip(zeros())
            .zip(zeros())
            .map(|((first, second), largest)| PlainAdam { first, second, largest })
            .collect();
        for step in 1..=4 {
            let grads = gradients(kind, i64::from(step));
            let apply = if decoupled { adamw_ } else { adam_ };
            apply(&fused, &grads, &mut states, &options).unwrap();
            for ((w, s), g) in plain.iter_mut().zip(&mut state).zip(&grads) {
                let mut g = g.to_kind(Kind::Double) * if maximize { -1.0 } else { 1.0 };
                if decoupled {
                    *w *= 1.0 - lr * weight_decay;
                } else {
                    g += &*w * weight_decay;
                }
                s.first = &s.first * b1 + &g * (1.0 - b1);
                s.second = &s.second * b2 + &g * &g * (1.0 - b2);
                s.largest = s.largest.maximum(&s.second);
                let square = if amsgrad { &s.largest } else { &s.second };
                let scale = lr / (1.0 - b1.powi(step));
                let denominator = square.sqrt() / (1.0 - b2.powi(step)).sqrt() + eps;
                *w -= &s.first / denominator * scale;
            }
        }
        assert_near(&fused, &plain, kind, what);
        assert_eq!(states[0].as_ref().unwrap().step.double_value(&[]), 4.0);
    }
}

#[test]
fn adam_follows_the_formulas() {
    let plain = AdamOptions { lr: 0.01, ..Default::default() };
    check_adam(plain, false, "adam");
    check_adam(AdamOptions { weight_decay: 0.05, ..plain }, false, "adam, decay");
    check_adam(AdamOptions { weight_decay: 0.05, ..plain }, true, "adamw");
    check_adam(AdamOptions { amsgrad: true, betas: (0.8, 0.5), ..plain }, false, "amsgrad");
    check_adam(AdamOptions { amsgrad: true, betas: (0.8, 0.5), ..plain }, true, "amsgrad, adamw");
    check_adam(AdamOptions { maximize: true, ..plain }, true, "maximize");
}

/// What a step refuses, and that the parameters stay as they were.
fn check_refused(expect: &str, step: impl FnOnce(&[Tensor], Vec<Tensor>) -> Result<(), mmy_torch::Error>) {
    let parameters = parameters(Kind::Float);
    let before: Vec<_> = parameters.iter().map(Tensor::copy).collect();
    let error = step(&parameters, gradients(Kind::Float, 1)).unwrap_err().to_string();
    assert!(error.contains(expect), "{error}");
    assert_eq!(parameters, before);
}

#[test]
fn what_does_not_fit_is_refused() {
    let options = SgdOptions { momentum: 0.9, ..Default::default() };
    let none = || (0..4).map(|_| None).collect::<Vec<Option<Tensor>>>();
    check_refused("4 parameters but 3 gradients", |p, g| sgd_(p, &g[..3], &mut none(), &options));
    check_refused("4 parameters but 2 momentum buffers", |p, g| sgd_(p, &g, &mut none()[..2], &options));
    check_refused("gradient 1 is Float [23, 19]", |p, mut g| {
        g[1] = g[1].transpose(0, 1);
        sgd_(p, &g, &mut none(), &options)
    });
    check_refused("gradient 0 is Double", |p, mut g| {
        g[0] = g[0].to_kind(Kind::Double);
        sgd_(p, &g, &mut none(), &options)
    });
    check_refused("parameter 0 has no gradient", |p, mut g| {
        g[0] = Tensor::new();
        sgd_(p, &g, &mut none(), &options)
    });
    check_refused("momentum buffer 0 (Float [6, 5, 3, 3]", |p, g| {
        // Contiguous state for a channels-last parameter would be walked in the wrong order.
        let mut buffers = [Some(Tensor::zeros([6, 5, 3, 3], (Kind::Float, Device::Cpu)))];
        sgd_(&p[2..3], &g[2..3], &mut buffers, &options)
    });
    check_refused("Nesterov momentum needs", |p, g| {
        sgd_(p, &g, &mut none(), &SgdOptions { nesterov: true, ..Default::default() })
    });
    check_refused("AMSGrad needs state", |p, g| {
        let plain = AdamOptions::default();
        let mut states: Vec<_> = p.iter().map(|p| AdamState::new(p, &plain).ok()).collect();
        adam_(p, &g, &mut states, &AdamOptions { amsgrad: true, ..plain })
    });
}

#[test]
fn clipping_keeps_the_direction() {
    let grads = [values(&[5, 3], 1.0), values(&[7], 2.0)];
    let before: Vec<_> = grads.iter().map(Tensor::copy).collect();
    let sum: f64 = before.iter().map(|g| (g * g).sum(Kind::Double).double_value(&[])).sum();
    let norm = clip_grad_norm_(&grads, 10.0, 2.0).unwrap();
    assert!((norm - sum.sqrt()).abs() < 1e-12);
    assert_eq!(grads.as_slice(), before, "within the limit nothing changes");
    clip_grad_norm_(&grads, 0.5, 2.0).unwrap();
    for (grad, before) in grads.iter().zip(&before) {
        let expect = before * (0.5 / (norm + 1e-6));
        assert!(grad.allclose(&expect, 0.0, 1e-12, false));
    }
    let broken = [Tensor::from_slice(&[f64::NAN, 1.0])];
    assert!(clip_grad_norm_(&broken, 1.0, 2.0).unwrap().is_nan());
    assert!(clip_grad_norm_(&broken, 1.0, f64::INFINITY).unwrap().is_nan());
}
