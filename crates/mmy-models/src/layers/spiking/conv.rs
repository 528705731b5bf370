//! Convolutions that are fed by spikes, or by currents.

use mmy_nn::{
    Scope,
    layers::{Conv, Conv2d},
    trace,
};
use mmy_torch::{
    BoxError,
    function::{Backward, Forward, Function, apply},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::meter;

/// What a convolution multiplies by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kernels {
    /// Its weights as they are.
    #[default]
    Exact,
    /// Their signs, times a power of two for each output channel. The weights themselves are trained, through the
    /// gradient of a tanh in place of the sign's.
    Binary,
}

/// A convolution of each step: `weight`, perhaps `bias`.
#[derive(Debug)]
pub struct SpikingConv2d {
    path: String,
    conv: Conv2d,
    kernels: Kernels,
}

impl SpikingConv2d {
    /// Makes the parameters at `scope`.
    pub fn new(scope: &Scope, (from, to): (i64, i64), conv: Conv, kernels: Kernels) -> Self {
        SpikingConv2d { path: scope.path().to_owned(), conv: Conv2d::new(scope, from, to, conv), kernels }
    }

    /// (T · B, in, H, W) to (T · B, out, H', W').
    pub fn forward(&self, x: &Tensor) -> Tensor {
        meter::input(&self.path, x);
        match self.kernels {
            _ if trace::shapes_only() => self.conv.forward(x),
            Kernels::Exact => self.conv.forward(x),
            Kernels::Binary => self.conv.forward_with(x, &binary(&self.conv.weight())),
        }
    }
}

/// Signs of the weights of each output channel less their mean, times the power of two that is nearest to their mean
/// size in standard deviations.
fn binary(weight: &Tensor) -> Tensor {
    let shape = weight.size();
    let flat = weight.reshape([shape[0], -1]);
    let centred = &flat - flat.mean_dim(1i64, true, Kind::Float);
    let spread = &centred / centred.std_dim(1i64, true, true);
    let scale = (spread.abs().mean_dim(1i64, true, Kind::Float).log2()).round().exp2().detach();
    // The sign of a tensor that libtorch has just made cannot fail.
    let signs = apply(Sign, &[&spread]).ok().and_then(|it| it.into_iter().next()).unwrap_or_else(|| spread.sign());
    (signs * scale).reshape(shape)
}

/// The sign, with the gradient of tanh(x / 10) times 10, whose slope at 0 is 1.
struct Sign;

impl Function for Sign {
    fn forward(&mut self, ctx: &mut Forward, inputs: &[&Tensor]) -> Result<Vec<Tensor>, BoxError> {
        ctx.save_for_backward(inputs);
        Ok(vec![inputs[0].f_sign()?])
    }

    fn backward(&self, ctx: &Backward<'_>, grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, BoxError> {
        let Some(g) = &grads[0] else { return Ok(vec![None]) };
        let slope = 1.0 - (&ctx.saved()?[0] * 0.1).f_tanh()?.f_square()?;
        Ok(vec![Some(g.f_mul(&slope)?)])
    }
}

#[cfg(test)]
mod tests {
    use mmy_nn::{
        ParamStore,
        testing::{assert_close, fill, golden, sfield, value},
    };
    use tch::Device;

    use super::*;

    #[test]
    fn outputs_and_gradients_are_the_originals() {
        let reference = golden("ems_modules");
        for (name, conv, kernels) in [
            ("snn_conv2d_s1", Conv::new(3, 1).with_bias(), Kernels::Exact),
            ("snn_conv2d_s2_g2", Conv::new(3, 2).groups(2), Kernels::Exact),
            ("snn_conv2d_quant", Conv::new(3, 1), Kernels::Binary),
        ] {
            let store = ParamStore::new(Device::Cpu, 0);
            let layer = SpikingConv2d::new(&store.root(), (6, 8), conv, kernels);
            fill(&store, 1.0, "");
            let x = sfield("xt", &[4, 2, 6, 10, 8], 2.0).view([8, 6, 10, 8]).set_requires_grad(true);
            let y = layer.forward(&x);
            let want = &reference[&format!("{name}.y")];
            assert_close(name, &y.contiguous().view(want.size().as_slice()), want, 2e-6);
            y.square().sum(Kind::Float).backward();
            let grad = x.grad().contiguous().view([4, 2, 6, 10, 8]);
            assert_close(name, &grad, &reference[&format!("{name}.grad_x")], 2e-6);
            let grad = store.get("weight").unwrap().grad();
            assert_close(name, &grad, &reference[&format!("{name}.grad.weight")], 1e-5);
        }
    }

    #[test]
    fn kernels_are_signs_times_a_power_of_two() {
        let reference = golden("ems_modules");
        assert_close("binary", &binary(&value("weight", &[8, 6, 3, 3], 1.0)), &reference["quant.weight"], 0.0);
    }

    #[test]
    fn the_signs_gradient_is_that_of_a_tanh() {
        let reference = golden("ems_modules");
        let u = sfield("u", &[64], 3.0).set_requires_grad(true);
        let y = apply(Sign, &[&u]).unwrap().remove(0);
        assert_close("sign", &y, &reference["binaryquantize.y"], 0.0);
        (y * sfield("gu", &[64], 1.0)).sum(Kind::Float).backward();
        assert_close("gradient", &u.grad(), &reference["binaryquantize.grad"], 1e-6);
    }

    #[test]
    fn folding_time_into_the_batch_changes_nothing() {
        let store = ParamStore::new(Device::Cpu, 0);
        let layer = SpikingConv2d::new(&store.root(), (6, 8), Conv::new(3, 2), Kernels::Binary);
        let x = sfield("xt", &[8, 6, 10, 8], 2.0);
        let looped: Vec<_> = x.chunk(4, 0).iter().map(|it| layer.forward(it)).collect();
        assert_close("folded", &layer.forward(&x), &Tensor::cat(&looped, 0), 1e-6);
    }
}
