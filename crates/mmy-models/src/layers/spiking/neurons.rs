//! Leaky integrate-and-fire neurons.

use mmy_nn::{Init, Role, Scope, trace};
use mmy_torch::{
    Error,
    lif::{Neuron, fire, spikes},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::meter;

/// What neurons give out and carry from step to step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Membrane {
    /// Spikes of 0 and 1; the potential is carried as it is.
    #[default]
    Exact,
    /// Spikes of 0 and 1; the potential is carried in two bits, −α, 0 or α, where α is learned.
    Quantised,
    /// SiLU of the potential instead of spikes: what the published `Conv` does. The potential is carried as it is.
    Silu,
}

/// Neurons over time, without parameters save for `alpha` (1) of a quantised membrane.
#[derive(Debug)]
pub struct Neurons {
    path: String,
    steps: i64,
    neuron: Neuron,
    membrane: Membrane,
    alpha: Option<Tensor>,
}

impl Neurons {
    /// Neurons that run for `steps` steps.
    pub fn new(scope: &Scope, steps: i64, membrane: Membrane) -> Self {
        let quantised = membrane == Membrane::Quantised;
        Neurons {
            path: scope.path().to_owned(),
            steps,
            neuron: Neuron::default(),
            membrane,
            alpha: quantised.then(|| scope.param("alpha", &[1], Init::Const(1.0), Role::Weight)),
        }
    }

    /// Currents (T · B, …) to spikes of the same shape.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let y = match (&self.alpha, self.membrane) {
            _ if trace::shapes_only() => x.shallow_clone(),
            (Some(alpha), _) => self.walk(x, |u| fire(u, self.neuron), |u| quantise(u, 2, alpha)),
            (None, Membrane::Silu) => self.walk(x, |u| Ok(u.silu()), Tensor::shallow_clone),
            // The batch was put together from whole steps.
            (None, _) => spikes(x, self.steps, self.neuron)
                .unwrap_or_else(|_| self.walk(x, |u| fire(u, self.neuron), Tensor::shallow_clone)),
        };
        if self.membrane != Membrane::Silu {
            meter::neurons(&self.path, &y, self.steps);
        }
        trace::report("Neurons", &self.path, &y, self.alpha.as_ref().map_or(0, Tensor::numel) as u64, 0);
        y
    }

    /// Step by step, with libtorch's operators: what leaves a potential, and what is carried of it.
    fn walk(
        &self,
        x: &Tensor,
        give: impl Fn(&Tensor) -> Result<Tensor, Error>,
        carry: impl Fn(&Tensor) -> Tensor,
    ) -> Tensor {
        let mut left: Option<Tensor> = None;
        let mut out = Vec::new();
        for x in x.to_kind(Kind::Float).chunk(self.steps, 0) {
            let u = match left {
                Some(left) => left + x,
                None => x,
            };
            // A comparison does not fail on a tensor that a sum has just made.
            let given = give(&u).unwrap_or_else(|_| u.gt(self.neuron.threshold).to_kind(Kind::Float));
            // No gradient goes through the reset.
            left = Some(carry(&u) * self.neuron.decay * (1.0 - given.detach()));
            out.push(given);
        }
        Tensor::cat(&out, 0).to_kind(x.kind())
    }
}

/// Brings tanh(u) to 2^`bits` − 1 levels in ±`alpha`; the gradient passes the rounding as if it were not there.
pub fn quantise(u: &Tensor, bits: u32, alpha: &Tensor) -> Tensor {
    let levels = f64::from((1 << (bits - 1)) - 1);
    let v = (u.tanh() / alpha).clamp(-1.0, 1.0) * levels;
    let rounded = &v + (v.round() - &v).detach();
    rounded * alpha / levels
}

#[cfg(test)]
mod tests {
    use mmy_nn::{
        ParamStore,
        testing::{assert_close, fill, golden, sfield},
    };
    use tch::Device;

    use super::*;

    #[test]
    fn spikes_and_their_gradients_are_the_originals() {
        let reference = golden("ems_modules");
        for (name, membrane) in [
            ("mem_update.spike", Membrane::Exact),
            ("mem_update.silu", Membrane::Silu),
            ("mem_update_quant", Membrane::Quantised),
        ] {
            let store = ParamStore::new(Device::Cpu, 0);
            let neurons = Neurons::new(&store.root(), 4, membrane);
            fill(&store, 1.0, "");
            let x = sfield("xt", &[4, 2, 6, 10, 8], 2.0).view([8, 6, 10, 8]).set_requires_grad(true);
            let y = neurons.forward(&x);
            let shaped = |t: &Tensor| t.view([4, 2, 6, 10, 8]);
            assert_close(name, &shaped(&y), &reference[&format!("{name}.y")], 1e-6);
            let loss = match membrane {
                Membrane::Silu => y.square().sum(Kind::Float),
                _ => (shaped(&y) * sfield("g", &[4, 2, 6, 10, 8], 1.0)).sum(Kind::Float),
            };
            assert_close(name, &loss.view([1]), &reference[&format!("{name}.loss")], 1e-6);
            loss.backward();
            assert_close(name, &shaped(&x.grad()), &reference[&format!("{name}.grad_x")], 1e-6);
            if let Some(alpha) = &neurons.alpha {
                assert_close(name, &alpha.grad(), &reference[&format!("{name}.grad.alpha")], 1e-5);
            }
        }
    }

    #[test]
    fn the_surrogate_is_the_originals() {
        let reference = golden("ems_modules");
        let u = sfield("u", &[64], 3.0).set_requires_grad(true);
        assert_close("u", &u, &reference["u"], 0.0);
        let y = fire(&u, Neuron::default()).unwrap();
        assert_close("actfun", &y, &reference["actfun.y"], 0.0);
        (y * sfield("gu", &[64], 1.0)).sum(Kind::Float).backward();
        assert_close("actfun.grad", &u.grad(), &reference["actfun.grad"], 1e-6);
    }

    #[test]
    fn membranes_are_quantised_as_in_the_original() {
        let reference = golden("ems_modules");
        for bits in [2, 4] {
            for alpha in [0.5f32, 1.0] {
                let key = format!("u_q.b{bits}.a{alpha:.1}");
                let u = sfield("u", &[64], 3.0).set_requires_grad(true);
                let factor = Tensor::from_slice(&[alpha]).set_requires_grad(true);
                let y = quantise(&u, bits, &factor);
                assert_close(&key, &y, &reference[&format!("{key}.y")], 1e-6);
                (y * sfield("gu", &[64], 1.0)).sum(Kind::Float).backward();
                assert_close(&key, &u.grad(), &reference[&format!("{key}.grad_u")], 1e-6);
                assert_close(&key, &factor.grad(), &reference[&format!("{key}.grad_alpha")], 1e-5);
            }
        }
    }
}
