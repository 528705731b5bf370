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
