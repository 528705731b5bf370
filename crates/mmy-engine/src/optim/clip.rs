//! Clipping of gradients.

use mmy_registry::BuildError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::error::Result;

/// Cuts gradients: the length of all together, or each number by itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipGrad {
    /// What is cut.
    #[serde(default, rename = "type")]
    pub kind: ClipKind,
    /// With `norm`: the greatest norm of all gradients as one vector that passes unchanged.
    #[serde(default)]
    pub max_norm: Option<f64>,
    /// With `norm`: the order of the norm; `inf` takes the greatest magnitude.
    #[serde(default = "two")]
    pub norm_type: f64,
    /// With `value`: the greatest magnitude of one number of a gradient.
    #[serde(default)]
    pub clip_value: Option<f64>,
}

fn two() -> f64 {
    2.0
}

/// What clipping cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClipKind {
    /// The length of all gradients as one vector, which keeps its direction. Log lines show it as `grad_norm`.
    #[default]
    Norm,
    /// Each number by itself.
    Value,
}

/// Clipping whose settings make sense.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Clip {
    Norm { max: f64, order: f64 },
    Value(f64),
}

impl ClipGrad {
    pub(super) fn build(&self) -> Result<Clip, BuildError> {
        let (wanted, unwanted, set) = match self.kind {
            ClipKind::Norm => (("max_norm", self.max_norm), "clip_value", self.clip_value.is_some()),
            ClipKind::Value => (("clip_value", self.clip_value), "max_norm", self.max_norm.is_some()),
        };
        let name = format!("{:?}", self.kind).to_lowercase();
        if set {
            let error = BuildError::new(format!("`{unwanted}` has no meaning with `type = \"{name}\"`")).at(unwanted);
            return Err(error.help(format!("use `{}`", wanted.0)));
        }
        let (key, Some(value)) = wanted else {
            return Err(BuildError::new(format!("`type = \"{name}\"` needs `{}`", wanted.0)));
        };
        if !(value.is_finite() && value > 0.0) {
            let error = BuildError::new(format!("`{key}` is {value}")).at(key);
            return Err(error.help("use a number above 0; YOLOv5 cuts the norm to 10.0"));
        }
        if self.norm_type.is_nan() || self.norm_type <= 0.0 {
            let error = BuildError::new(format!("`norm_type` is {}", self.norm_type)).at("norm_type");
            return Err(error.help("use 2.0, or `inf` for the greatest magnitude"));
        }
        Ok(match self.kind {
            ClipKind::Norm => Clip::Norm { max: value, order: self.norm_type },
            ClipKind::Value => Clip::Value(value),
        })
    }
}

impl Clip {
    /// Cuts `grads`; the norm that they had, where it was computed.
    pub(super) fn apply(self, grads: &[Tensor]) -> Result<Option<f64>> {
        match self {
            Clip::Norm { max, order } => Ok(Some(mmy_torch::optim::clip_grad_norm_(grads, max, order)?)),
            Clip::Value(most) => {
                for grad in grads {
                    // A gradient is no part of a graph: nothing is recorded.
                    let _ = grad.shallow_clone().f_clamp_(-most, most)?;
                }
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(json: &str) -> Result<Clip, BuildError> {
        serde_json::from_str::<ClipGrad>(json).unwrap().build()
    }

    #[test]
    fn norm_and_value_cut_what_they_say() {
        let grads = || [Tensor::from_slice(&[3.0f64, -0.5]), Tensor::from_slice(&[-4.0f64])];
        let rows = |it: &[Tensor; 2]| [it[0].double_value(&[0]), it[0].double_value(&[1]), it[1].double_value(&[0])];
        let cut = grads();
        assert_eq!(clip(r#"{"type": "value", "clip_value": 1.0}"#).unwrap().apply(&cut).unwrap(), None);
        assert_eq!(rows(&cut), [1.0, -0.5, -1.0]);
        let cut = grads();
        let most = Clip::Norm { max: 2.0, order: f64::INFINITY };
        assert_eq!(most.apply(&cut).unwrap(), Some(4.0));
        assert!((rows(&cut)[2] + 2.0).abs() < 1e-6);
    }

    #[test]
    fn settings_that_do_not_belong_together_are_refused() {
        let cases = [
            (r#"{"max_norm": -1.0}"#, "max_norm"),
            (r#"{"type": "value", "clip_value": 0.0}"#, "clip_value"),
            (r#"{"type": "value", "max_norm": 1.0}"#, "max_norm"),
            (r#"{"type": "norm"}"#, ""),
            (r#"{"max_norm": 1.0, "norm_type": 0.0}"#, "norm_type"),
        ];
        for (json, key) in cases {
            assert_eq!(clip(json).unwrap_err().path.join("."), key, "{json}");
        }
    }
}
