//! Custom functions in the hands of libtorch's autograd engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mmy_torch::autocast::{State, autocast};
use mmy_torch::autograd::{Graph, backward, grad, is_grad_enabled, no_grad, with_grad};
use mmy_torch::function::{Backward, Forward, Function, apply};
use mmy_torch::{BoxError, Error};
use tch::{Device, Kind, Tensor};

type Tensors = Result<Vec<Tensor>, BoxError>;
type Grads = Result<Vec<Option<Tensor>>, BoxError>;

fn leaf(values: &[f64]) -> Tensor {
    Tensor::from_slice(values).set_requires_grad(true)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double)).unwrap()
}

/// `(x·y, x + y, x < y)`, and a constant third output.
struct Mixed;

impl Function for Mixed {
    fn forward(&mut self, ctx: &mut Forward, inputs: &[&Tensor]) -> Tensors {
        assert!(!is_grad_enabled());
        let [x, y] = inputs else { return Err("two inputs".into()) };
        ctx.save_for_backward(&[x, y]);
        ctx.mark_non_differentiable(2);
        Ok(vec![x.f_mul(y)?, x.f_add(y)?, x.f_less_tensor(y)?])
    }

    fn backward(&self, ctx: &Backward<'_>, grads: &[Option<Tensor>]) -> Grads {
        let saved = ctx.saved()?;
        let of = |other: &Tensor| {
            let product = grads[0].as_ref().map(|g| g * other);
            match (product, &grads[1]) {
                (Some(product), Some(sum)) => Some(product + sum),
                (Some(product), None) => Some(product),
                (None, sum) => sum.as_ref().map(Tensor::shallow_clone),
            }
        };
        assert!(grads[2].is_none());
        Ok((0..2).map(|i| ctx.needs_input_grad(i).then(|| of(&saved[1 - i])).flatten()).collect())
    }
}

#[test]
fn several_inputs_and_outputs() -> Result<(), Error> {
    for kind in [Kind::Double, Kind::Float, Kind::BFloat16] {
        let x = Tensor::from_slice(&[1.0, -3.0]).to_kind(kind).set_requires_grad(true);
        let y = Tensor::from_slice(&[5.0, 7.0]).to_kind(kind).set_requires_grad(true);
        let out = apply(Mixed, &[&x, &y])?;
        assert!(out[0].requires_grad() && out[1].requires_grad() && !out[2].requires_grad());
        backward(&[out[0].sum(kind) + out[1].sum(kind) * 2], &[], Graph::Free)?;
        assert_eq!(numbers(&x.grad()), [7.0, 9.0]);
        assert_eq!(numbers(&y.grad()), [3.0, -1.0]);
        assert_eq!(x.grad().kind(), kind);
    }
    Ok(())
}

#[test]
fn outputs_that_are_not_used_have_no_gradient() -> Result<(), Error> {
    let (x, y) = (leaf(&[1.0, -3.0]), leaf(&[5.0, 7.0]));
    let sum = apply(Mixed, &[&x, &y])?.swap_remove(1);
    backward(&[sum.sum(Kind::Double)], &[], Graph::Free)?;
    assert_eq!(numbers(&x.grad()), [1.0, 1.0]);
    Ok(())
}

#[test]
fn inputs_without_gradient_get_none() -> Result<(), Error> {
    let (x, y) = (leaf(&[1.0, -3.0]), Tensor::from_slice(&[5.0, 7.0]));
    let out = apply(Mixed, &[&x, &y])?;
    backward(&[out[0].sum(Kind::Double)], &[], Graph::Free)?;
    assert_eq!(numbers(&x.grad()), [5.0, 7.0]);
    assert!(!y.grad().defined());
    // Without any gradient to come there is no graph.
    let plain = apply(Mixed, &[&y, &y])?;
    assert!(!plain[0].requires_grad());
    let off = no_grad(|| apply(Mixed, &[&x, &x]))?;
    assert!(!off[0].requires_grad());
    Ok(())
}

#[test]
fn a_retained_graph_runs_twice_and_a_freed_one_does_not() -> Result<(), Error> {
    let (x, y) = (leaf(&[1.0]), leaf(&[5.0]));
    let out = apply(Mixed, &[&x, &y])?;
    backward(&out[..1], &[], Graph::Retain)?;
    backward(&out[..1], &[], Graph::Free)?;
    assert_eq!(numbers(&x.grad()), [10.0]);
    let error = backward(&out[..1], &[], Graph::Free).unwrap_err().to_string();
    assert!(error.contains("a second time"), "{error}");
    Ok(())
}

#[test]
fn gradients_are_differentiable() -> Result<(), Error> {
    let (x, y) = (leaf(&[2.0, 3.0]), leaf(&[5.0, 7.0]));
    let product = apply(Mixed, &[&x, &y])?.swap_remove(0);
    let cube = (&product * &product).sum(Kind::Double);
    // d(x²y²)/dx = 2xy², and its derivative by y is 4xy.
    let first = grad(&[&cube], &[&x], &[], Graph::Create)?.swap_remove(0).unwrap();
    assert_eq!(numbers(&first), [100.0, 294.0]);
    let second = grad(&[first.sum(Kind::Double)], &[y], &[], Graph::Free)?.swap_remove(0);
    assert_eq!(numbers(&second.unwrap()), [40.0, 84.0]);
    Ok(())
}

#[test]
fn grad_asks_for_chosen_inputs() -> Result<(), Error> {
    let (x, y, z) = (leaf(&[2.0, 3.0]), leaf(&[5.0, 7.0]), leaf(&[1.0]));
    let out = apply(Mixed, &[&x, &y])?;
    let seeds = [Some(Tensor::from_slice(&[1.0, 10.0])), Some(Tensor::from_slice(&[0.0, 1.0]))];
    let grads = grad(&out[..2], &[&x, &z, &out[0]], &seeds, Graph::Free)?;
    assert_eq!(numbers(grads[0].as_ref().unwrap()), [5.0, 71.0]);
    assert!(grads[1].is_none());
    assert_eq!(numbers(grads[2].as_ref().unwrap()), [1.0, 10.0]);
    assert!(!x.grad().defined(), "nothing is accumulated");
    for (outputs, inputs, seeds) in [
        (&out[2], &x, vec![]),
        (&out[0], &x, vec![]),
        (&out[0], &x, vec![Some(Tensor::from_slice(&[1.0, 2.0, 3.0]))]),
        (&out[0], &Tensor::from_slice(&[1.0]), vec![]),
    ] {
        assert!(grad(&[outputs], &[inputs], &seeds, Graph::Free).is_err());
    }
    Ok(())
}

#[test]
fn a_saved_tensor_that_was_changed_is_an_error() -> Result<(), Error> {
    let (x, y) = (leaf(&[2.0]), Tensor::from_slice(&[5.0]));
    let out = apply(Mixed, &[&x, &y])?;
    let _ = y.shallow_clone().fill_(9.0);
    let error = out[0].f_backward().unwrap_err().to_string();
    assert!(error.contains("modified by an inplace operation"), "{error}");
    Ok(())
}

/// `exp(x)`, which saves its output, and returns its second input as it is.
struct Exp;

impl Function for Exp {
    fn forward(&mut self, ctx: &mut Forward, inputs: &[&Tensor]) -> Tensors {
        let y = inputs[0].f_exp()?;
        ctx.save_for_backward(&[&y]);
        Ok(vec![y, inputs[1].shallow_clone()])
    }

    fn backward(&self, ctx: &Backward<'_>, grads: &[Option<Tensor>]) -> Grads {
        let y = &ctx.saved()?[0];
        let through = grads[1].as_ref().map(|g| g * 3);
        Ok(vec![grads[0].as_ref().map(|g| g * y), through])
    }
}

#[test]
fn outputs_may_be_saved_and_inputs_returned() -> Result<(), Error> {
    let (x, z) = (leaf(&[0.5]), leaf(&[2.0]));
    let out = apply(Exp, &[&x, &z])?;
    let first = grad(&[&out[0], &out[1]], &[&x, &z], &[], Graph::Create)?;
    assert_eq!(numbers(first[0].as_ref().unwrap()), [0.5f64.exp()]);
    assert_eq!(numbers(first[1].as_ref().unwrap()), [3.0]);
    let again = grad(&[first[0].as_ref().unwrap()], &[&x], &[], Graph::Free)?;
    assert_eq!(numbers(again[0].as_ref().unwrap()), [0.5f64.exp()]);
    assert!(z.is_leaf(), "the input itself stays a leaf");
    Ok(())
}

/// What goes wrong, and when.
#[derive(Clone, Copy)]
enum Fault {
    None,
    ForwardError,
    InPlace,
    NoOutput,
    Mark,
    BackwardError,
    Panic,
    TensorPanic,
    OddPanic,
    Count,
    Shape,
}

/// Counts how often it is dropped.
struct Faulty(Fault, Arc<AtomicUsize>);

impl Drop for Faulty {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Debug, thiserror::Error)]
#[error("outer")]
struct Outer(#[source] std::io::Error);

impl Function for Faulty {
    fn forward(&mut self, ctx: &mut Forward, inputs: &[&Tensor]) -> Tensors {
        match self.0 {
            Fault::ForwardError => Err("no forward".into()),
            Fault::InPlace => Ok(vec![inputs[0].shallow_clone().f_add_scalar_(1.0)?]),
            Fault::NoOutput => Ok(vec![]),
            Fault::Mark => {
                ctx.mark_non_differentiable(1);
                Ok(vec![inputs[0].copy()])
            }
            _ => Ok(vec![inputs[0].copy()]),
        }
    }

    fn backward(&self, _: &Backward<'_>, grads: &[Option<Tensor>]) -> Grads {
        let grad = || grads[0].as_ref().map(Tensor::shallow_clone);
        match self.0 {
            Fault::BackwardError => Err(Box::new(Outer(std::io::Error::other("inner")))),
            Fault::Panic => panic!("boom\0 at {}", 3),
            Fault::TensorPanic => Ok(vec![Some(
                Tensor::zeros([2], (Kind::Double, Device::Cpu)) + Tensor::zeros([3], (Kind::Double, Device::Cpu)),
            )]),
            Fault::OddPanic => std::panic::panic_any(17),
            Fault::Count => Ok(vec![grad(), grad()]),
            Fault::Shape => Ok(vec![Some(Tensor::zeros([5], (Kind::Double, Device::Cpu)))]),
            _ => Ok(vec![grad()]),
        }
    }
}

/// Runs both passes; the value must be dropped once, whatever happened.
fn run(fault: Fault) -> Result<(), BoxError> {
    let drops = Arc::new(AtomicUsize::new(0));
    let x = leaf(&[1.0, 2.0]);
    let result = (|| {
        let out = apply(Faulty(fault, drops.clone()), &[&x])?.remove(0);
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        out.sum(Kind::Double).f_backward()?;
        Ok(())
    })();
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    // The engine is in order afterwards.
    assert!(is_grad_enabled());
    (&x * &x).sum(Kind::Double).f_backward()?;
    result
}

#[test]
fn faults_are_errors_with_their_text() {
    let check = |fault, expect: &str| {
        let error = run(fault).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    run(Fault::None).unwrap();
    check(Fault::ForwardError, "in the forward pass of function::Faulty: no forward");
    check(Fault::InPlace, "changed input 0 in place");
    check(Fault::NoOutput, "returned no output");
    check(Fault::Mark, "marked output 1 of 1");
    check(Fault::BackwardError, "in the backward pass of function::Faulty: outer: inner");
    check(Fault::Panic, "the backward pass of function::Faulty panicked: boom\u{fffd} at 3");
    check(Fault::TensorPanic, "must match the size of tensor b (3)");
    check(Fault::OddPanic, "panicked: no message");
    check(Fault::Count, "it returned 2 gradients for 1 inputs");
    check(Fault::Shape, "invalid gradient");
}

#[test]
fn a_graph_freed_without_a_backward_pass_drops_its_functions() -> Result<(), Error> {
    let drops = Arc::new(AtomicUsize::new(0));
    let x = leaf(&[1.0]);
    let mut y = x.shallow_clone();
    // Deep enough that a recursive destructor would run out of stack.
    for _ in 0..100_000 {
        y = apply(Faulty(Fault::None, drops.clone()), &[&y])?.remove(0);
    }
    drop(y);
    assert_eq!(drops.load(Ordering::SeqCst), 100_000);
    no_grad(|| apply(Faulty(Fault::None, drops.clone()), &[&x]))?;
    assert_eq!(drops.load(Ordering::SeqCst), 100_001);
    Ok(())
}

/// `w·sin(x)` in the reversible manner: the graph is thrown away and built again within the backward pass.
struct Recompute(State);

fn inner(x: &Tensor, w: &Tensor) -> Tensor {
    x.sin().matmul(w)
}

impl Function for Recompute {
    fn forward(&mut self, ctx: &mut Forward, inputs: &[&Tensor]) -> Tensors {
        ctx.save_for_backward(inputs);
        Ok(vec![inner(inputs[0], inputs[1])])
    }

    fn backward(&self, ctx: &Backward<'_>, grads: &[Option<Tensor>]) -> Grads {
        assert!(!is_grad_enabled());
        let inputs: Vec<_> = ctx.saved()?.iter().map(|tensor| tensor.detach().set_requires_grad(true)).collect();
        let out = {
            let _region = self.0.enter()?;
            with_grad(|| inner(&inputs[0], &inputs[1]))
        };
        // Both routes of nested gradients: asked for, and accumulated.
        let found = grad(&[&out], &inputs, grads, Graph::Retain)?;
        backward(&[&out], grads, Graph::Free)?;
        for (input, found) in inputs.iter().zip(&found) {
            assert_eq!(input.grad(), *found.as_ref().unwrap());
        }
        assert!(!is_grad_enabled());
        Ok(found)
    }
}

#[test]
fn a_backward_pass_may_run_a_graph_of_its_own() -> Result<(), Error> {
    for (kind, cast) in [(Kind::Double, false), (Kind::Float, true)] {
        let x = leaf(&[0.3, -0.4, 0.5, 2.0]).reshape([2, 2]).to_kind(kind).detach();
        let w = (&x * 0.7 + 0.1).set_requires_grad(true);
        let x = x.set_requires_grad(true);
        let region = |body: &dyn Fn() -> Result<Tensor, Error>| match cast {
            true => autocast(Device::Cpu, Kind::BFloat16, body)?,
            false => body(),
        };
        // Three in a row, so that nested passes nest within the engine's queue.
        let ours = region(&|| {
            let mut y = x.shallow_clone();
            for _ in 0..3 {
                y = apply(Recompute(State::current(Device::Cpu)?), &[&y, &w])?.remove(0);
            }
            Ok(y.sum(Kind::Float))
        })?;
        let plain = region(&|| Ok((0..3).fold(x.shallow_clone(), |y, _| inner(&y, &w)).sum(Kind::Float)))?;
        assert_eq!(ours, plain);
        let found = grad(&[ours], &[&x, &w], &[], Graph::Free)?;
        let expect = grad(&[plain], &[&x, &w], &[], Graph::Free)?;
        for (found, expect) in found.iter().flatten().zip(expect.iter().flatten()) {
            // The plain graph sums the gradients of the three uses of `w` in bfloat16 (8 bits), ours in float.
            let tolerance = if cast { 1e-2 } else { 1e-14 };
            assert!(found.allclose(expect, tolerance, tolerance, false), "{found:?} {expect:?}");
        }
    }
    Ok(())
}

/// A fault in a nested graph comes out through both engines.
struct Nested;

impl Function for Nested {
    fn forward(&mut self, _: &mut Forward, inputs: &[&Tensor]) -> Tensors {
        Ok(vec![inputs[0].copy()])
    }

    fn backward(&self, _: &Backward<'_>, _: &[Option<Tensor>]) -> Grads {
        with_grad(|| run(Fault::Panic))?;
        Ok(vec![None])
    }
}

#[test]
fn a_fault_within_a_nested_pass_is_an_error() -> Result<(), Error> {
    let x = leaf(&[1.0]);
    let error = apply(Nested, &[&x])?[0].f_backward().unwrap_err().to_string();
    assert!(error.contains("boom"), "{error}");
    assert!(is_grad_enabled());
    Ok(())
}

#[test]
fn threads_may_share_a_graph() -> Result<(), Error> {
    let (x, y) = (leaf(&[1.0, -3.0]), leaf(&[5.0, 7.0]));
    let out = apply(Mixed, &[&x, &y])?.swap_remove(0).sum(Kind::Double);
    let roots: Vec<_> = (0..4).map(|_| (out.shallow_clone(), x.shallow_clone())).collect();
    let threads: Vec<_> = roots
        .into_iter()
        .map(|(out, x)| {
            std::thread::spawn(move || {
                for _ in 0..50 {
                    let found = grad(&[&out], &[&x], &[], Graph::Retain).unwrap();
                    assert_eq!(numbers(found[0].as_ref().unwrap()), [5.0, 7.0]);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    Ok(())
}
