//! In which number format a step runs.

use mmy_registry::BuildError;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
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

/// What mmengine's `loss_scale` takes: `"dynamic"`, a number, or a table of a scaler's settings.
///
/// Scaling keeps small float16 gradients from vanishing. bfloat16 has the exponents of float32, so nothing vanishes and
/// nothing is scaled here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LossScale(Option<serde_json::Value>);

impl LossScale {
    /// Whether the config says something.
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }
}

impl Serialize for LossScale {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LossScale {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde_json::Value;
        let wrong =
            || de::Error::custom("a loss scale is \"dynamic\", a number above 0, or a table of a scaler's settings");
        let value = Value::deserialize(deserializer)?;
        let known = match &value {
            Value::Null => return Ok(LossScale(None)),
            Value::String(text) => text == "dynamic",
            Value::Number(number) => number.as_f64().is_some_and(|it| it > 0.0),
            Value::Object(_) => true,
            Value::Bool(_) | Value::Array(_) => false,
        };
        if known { Ok(LossScale(Some(value))) } else { Err(wrong()) }
    }
}

impl JsonSchema for LossScale {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LossScale".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "oneOf": [{ "const": "dynamic" }, { "type": "number", "exclusiveMinimum": 0 }, { "type": "object" }]
        })
    }
}

/// The check that `OptimWrapper` and `AmpOptimWrapper` share.
pub(super) fn at_least_one(key: &str, value: usize) -> Result<(), BuildError> {
    if value == 0 { Err(BuildError::new(format!("`{key}` is 0")).at(key).help("use at least 1")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_scales_of_mmengine_are_taken_and_others_are_not() {
        let read = |json: &str| serde_json::from_str::<LossScale>(json);
        for json in ["\"dynamic\"", "512.0", r#"{"init_scale": 65536.0, "growth_interval": 100}"#] {
            assert!(read(json).unwrap().is_set(), "{json}");
        }
        assert!(!read("null").unwrap().is_set());
        for json in ["\"static\"", "-1", "true"] {
            assert!(read(json).unwrap_err().to_string().contains("\"dynamic\""), "{json}");
        }
    }
}
