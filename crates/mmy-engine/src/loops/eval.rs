//! Validation and test: predict every picture, compute the metrics.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EvalLoopKind;
use crate::optim::Precision;

register!(EvalLoopKind, "ValLoop", ValLoopConfig);
register!(EvalLoopKind, "TestLoop", TestLoopConfig);

/// Predicts every picture of the validation data and computes the metrics.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ValLoopConfig {
    /// Number format of the forward pass.
    pub dtype: Precision,
}

/// Predicts every picture of the test data and computes the metrics.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TestLoopConfig {
    /// Number format of the forward pass.
    pub dtype: Precision,
}

impl Build<EvalLoopKind> for ValLoopConfig {
    fn build(&self, (): ()) -> Result<EvalLoop, BuildError> {
        Ok(EvalLoop { precision: self.dtype.settle() })
    }
}

impl Build<EvalLoopKind> for TestLoopConfig {
    fn build(&self, (): ()) -> Result<EvalLoop, BuildError> {
        Ok(EvalLoop { precision: self.dtype.settle() })
    }
}

/// How a pass without training runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvalLoop {
    /// Number format of the forward pass, never `auto`.
    pub precision: Precision,
}

#[cfg(test)]
mod tests {
    use mmy_registry::Slot;

    use super::*;

    #[test]
    fn auto_is_settled_and_float32_is_the_default() {
        for name in ["ValLoop", "TestLoop"] {
            let build = |dtype: &str| {
                let json = format!(r#"{{"type": "{name}"{dtype}}}"#);
                serde_json::from_str::<Slot<EvalLoopKind>>(&json).unwrap().build(()).unwrap().precision
            };
            assert_eq!(build(""), Precision::Float32);
            assert_eq!(build(r#", "dtype": "bfloat16""#), Precision::BFloat16);
            assert_ne!(build(r#", "dtype": "auto""#), Precision::Auto);
        }
    }
}
