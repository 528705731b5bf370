//! Activation functions.

use std::fmt::Display;

use mmy_torch::autograd::is_grad_enabled;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeStruct};
use tch::Tensor;

use crate::trace;

/// An activation function; MMYOLO's `act_cfg`, written `{ type = "SiLU" }`.
///
/// `inplace` is taken and has no effect: a layer works in place whenever that is safe and gains something.
#[derive(Debug, Clone, Copy, PartialEq, Default, JsonSchema)]
#[schemars(with = "ActCfg")]
pub enum Activation {
    /// x · σ(x).
    #[default]
    SiLU,
    /// max(x, 0).
    ReLU,
    /// x clamped to 0 … 6.
    ReLU6,
    /// x · relu6(x + 3) / 6.
    Hardswish,
    /// x, or `negative_slope` · x where x is negative.
    LeakyReLU {
        /// Slope left of zero.
        negative_slope: f64,
    },
    /// x · tanh(softplus(x)).
    Mish,
    /// x · Φ(x), Φ the normal distribution function.
    GELU,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// x.
    Identity,
}

/// How an [`Activation`] is written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Activation")]
struct ActCfg {
    /// The function.
    #[serde(rename = "type")]
    kind: ActType,
    /// Taken and without effect: a layer works in place whenever that is safe and gains something.
    #[serde(default)]
    #[serde(rename = "inplace")]
    _inplace: bool,
    /// Slope left of zero, of `LeakyReLU` alone.
    #[serde(default)]
    negative_slope: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::upper_case_acronyms, reason = "PyTorch's own names")]
enum ActType {
    SiLU,
    ReLU,
    ReLU6,
    #[serde(alias = "HSwish")]
    Hardswish,
    LeakyReLU,
    Mish,
    GELU,
    Sigmoid,
    Identity,
}

impl<'de> Deserialize<'de> for Activation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let cfg = ActCfg::deserialize(deserializer)?;
        if cfg.negative_slope.is_some() && cfg.kind != ActType::LeakyReLU {
            return Err(serde::de::Error::custom("`negative_slope` belongs to `LeakyReLU` alone"));
        }
        Ok(match cfg.kind {
            ActType::SiLU => Activation::SiLU,
            ActType::ReLU => Activation::ReLU,
            ActType::ReLU6 => Activation::ReLU6,
            ActType::Hardswish => Activation::Hardswish,
            ActType::LeakyReLU => Activation::LeakyReLU { negative_slope: cfg.negative_slope.unwrap_or(0.01) },
            ActType::Mish => Activation::Mish,
            ActType::GELU => Activation::GELU,
            ActType::Sigmoid => Activation::Sigmoid,
            ActType::Identity => Activation::Identity,
        })
    }
}

impl Serialize for Activation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let slope = match self {
            Activation::LeakyReLU { negative_slope } => Some(negative_slope),
            _ => None,
        };
        let mut out = serializer.serialize_struct("Activation", 1 + usize::from(slope.is_some()))?;
        out.serialize_field("type", self.name())?;
        if let Some(slope) = slope {
            out.serialize_field("negative_slope", slope)?;
        }
        out.end()
    }
}

impl Activation {
    /// PyTorch's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Activation::SiLU => "SiLU",
            Activation::ReLU => "ReLU",
            Activation::ReLU6 => "ReLU6",
            Activation::Hardswish => "Hardswish",
            Activation::LeakyReLU { .. } => "LeakyReLU",
            Activation::Mish => "Mish",
            Activation::GELU => "GELU",
            Activation::Sigmoid => "Sigmoid",
            Activation::Identity => "Identity",
        }
    }

    /// Applies it to a tensor that nobody else holds, at the place called `path`.
    pub fn forward(self, mut x: Tensor, path: impl Display) -> Tensor {
        if self == Activation::Identity {
            return x;
        }
        // A tensor of zeros that takes no memory cannot be written to, and need not be.
        let y = if trace::shapes_only() { x } else { self.apply(&mut x) };
        trace::report(self.name(), path, &y, 0, 0);
        y
    }

    fn apply(self, x: &mut Tensor) -> Tensor {
        match self {
            // Their gradients follow from the result alone, so that the input's memory can be used again.
            Activation::ReLU => x.relu_(),
            Activation::ReLU6 => x.relu6_(),
            Activation::Sigmoid => x.sigmoid_(),
            // The gradients of these need the input: in place they would have to copy it first.
            Activation::SiLU if is_grad_enabled() => x.silu(),
            Activation::SiLU => x.silu_(),
            Activation::Hardswish if is_grad_enabled() => x.hardswish(),
            Activation::Hardswish => x.hardswish_(),
            Activation::Mish if is_grad_enabled() => x.mish(),
            Activation::Mish => x.mish_(),
            Activation::GELU => x.gelu("none"),
            // tch's leaky_relu has no slope; with one weight for all channels PReLU is the same function.
            Activation::LeakyReLU { negative_slope } => {
                x.prelu(&Tensor::from(negative_slope).to_kind(x.kind()).to_device(x.device()))
            }
            Activation::Identity => x.shallow_clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    const ALL: [Activation; 9] = [
        Activation::SiLU,
        Activation::ReLU,
        Activation::ReLU6,
        Activation::Hardswish,
        Activation::LeakyReLU { negative_slope: 0.1 },
        Activation::Mish,
        Activation::GELU,
        Activation::Sigmoid,
        Activation::Identity,
    ];

    /// The function itself, in f64, from its definition; no error function is at hand, so GELU is left to libtorch.
    fn reference(of: Activation, x: f64) -> Option<f64> {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        Some(match of {
            Activation::SiLU => x * sigmoid(x),
            Activation::ReLU => x.max(0.0),
            Activation::ReLU6 => x.clamp(0.0, 6.0),
            Activation::Hardswish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::LeakyReLU { negative_slope } => {
                if x < 0.0 {
                    negative_slope * x
                } else {
                    x
                }
            }
            Activation::Mish => x * x.exp().ln_1p().tanh(),
            Activation::Sigmoid => sigmoid(x),
            Activation::Identity => x,
            Activation::GELU => return None,
        })
    }

    #[test]
    fn values_with_and_without_gradients_are_those_of_the_definition() {
        let points = Tensor::linspace(-8.0, 8.0, 33, (Kind::Double, Device::Cpu));
        for act in ALL {
            let x = points.shallow_clone().set_requires_grad(true);
            let tracked = act.forward(&x * 1.0, "act");
            let free = tch::no_grad(|| act.forward(&x * 1.0, "act"));
            assert_eq!(tracked.detach(), free, "{act:?}");
            tracked.sum(Kind::Double).backward();
            for i in 0..33 {
                let Some(want) = reference(act, points.double_value(&[i])) else { continue };
                assert!((free.double_value(&[i]) - want).abs() < 1e-12, "{act:?} at {i}");
            }
        }
    }

    #[test]
    fn mmyolo_ways_of_writing_are_read() {
        let read = |it| serde_json::from_value::<Activation>(it).map_err(|e| e.to_string());
        assert_eq!(read(serde_json::json!({"type": "SiLU", "inplace": true})), Ok(Activation::SiLU));
        assert_eq!(read(serde_json::json!({"type": "HSwish"})), Ok(Activation::Hardswish));
        for act in ALL {
            assert_eq!(read(serde_json::to_value(act).unwrap()), Ok(act));
        }
        assert!(read(serde_json::json!({"type": "SiLU", "negative_slope": 0.1})).is_err());
        assert!(read(serde_json::json!({"type": "Silu"})).unwrap_err().contains("SiLU"));
    }
}
