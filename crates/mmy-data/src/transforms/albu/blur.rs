//! `Blur`: the mean over a square.

use mmy_registry::{Build, BuildError, register};
use mmy_structures::Image;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Albumentation, Buffers, PixelStep, Rng, ops, transforms::probability};

/// Each pixel becomes the mean of a square around it, of random odd size from 3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Largest side of the square, in pixels.
    pub blur_limit: usize,
    /// Probability, 0 to 1.
    pub p: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config { blur_limit: 7, p: 0.5 }
    }
}

register!(Albumentation, "Blur", Config);

impl Build<Albumentation> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn PixelStep>, BuildError> {
        super::check_limit(self.blur_limit)?;
        probability("p", self.p)?;
        Ok(Box::new(self.clone()))
    }
}

impl PixelStep for Config {
    fn prob(&self) -> f64 {
        self.p
    }

    fn apply(&self, image: Image, rng: &mut Rng, buffers: &mut Buffers) -> Image {
        ops::box_blur(image, super::window(self.blur_limit, rng), buffers)
    }
}
