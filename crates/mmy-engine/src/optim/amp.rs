//! In which number format a step runs.

use mmy_registry::BuildError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

/// In which number format convolutions and matrix products run. Weights, losses and statistics stay in float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Precision {
    /// float32 throughout.
    #[default]
    #[serde(rename = "float32")]
    Float32,
    /// bfloat16 under autocast.
    #[serde(rename = "bfloat16")]
    BFloat16,
    /// bfloat16 where this processor computes in it (AMX or AVX512-BF16), else float32.
    #[serde(rename = "auto")]
    Auto,
}

impl Precision {
    /// Settles `auto` on this machine; the result is never [`Precision::Auto`].
    pub fn settle(self) -> Precision {
        match self {
            Precision::Auto if mmy_torch::cpu::has_bf16() => Precision::BFloat16,
            Precision::Auto => Precision::Float32,
            settled => settled,
        }
    }

    /// Runs `body` in this format.
    ///
    /// # Errors
    /// When libtorch has no such format on this device.
    pub fn run<T>(self, body: impl FnOnce() -> T) -> Result<T, mmy_torch::Error> {
        match self.settle() {
            Precision::BFloat16 => mmy_torch::autocast::autocast(Device::Cpu, Kind::BFloat16, body),
            _ => Ok(body()),
        }
    }

    /// The name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Float32 => "float32",
            Precision::BFloat16 => "bfloat16",
            Precision::Auto => "auto",
        }
    }
}

/// The check that `OptimWrapper` and `AmpOptimWrapper` share.
pub(super) fn at_least_one(key: &str, value: usize) -> Result<(), BuildError> {
    if value == 0 { Err(BuildError::new(format!("`{key}` is 0")).at(key).help("use at least 1")) } else { Ok(()) }
}
