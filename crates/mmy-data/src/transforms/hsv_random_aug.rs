//! `YOLOv5HSVRandomAug`: other hue, saturation and brightness.

use mmy_registry::{Build, BuildError, register};
use mmy_structures::Sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Context, DataError, Transform, TransformStep, ops::HsvTables};

/// Multiplies hue, saturation and value by a random gain each, between `1 - delta` and `1 + delta`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Largest change of the hue's gain.
    pub hue_delta: f64,
    /// Largest change of the saturation's gain.
    pub saturation_delta: f64,
    /// Largest change of the value's gain.
    pub value_delta: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config { hue_delta: 0.015, saturation_delta: 0.7, value_delta: 0.4 }
    }
}

register!(Transform, "YOLOv5HSVRandomAug", Config);

impl Build<Transform> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn TransformStep>, BuildError> {
        for (key, value) in [
            ("hue_delta", self.hue_delta),
            ("saturation_delta", self.saturation_delta),
            ("value_delta", self.value_delta),
        ] {
            super::probability(key, value)?;
        }
        Ok(Box::new(self.clone()))
    }
}

impl TransformStep for Config {
    fn apply(&self, mut sample: Sample, context: &mut Context<'_>) -> Result<Option<Sample>, DataError> {
        let mut rng = context.draw.rng();
        let [hue, saturation, value] =
            [self.hue_delta, self.saturation_delta, self.value_delta].map(|it| 1.0 + it * rng.uniform(-1.0, 1.0));
        HsvTables::gains(hue, saturation, value).apply(&mut sample.image);
        Ok(Some(sample))
    }
}
