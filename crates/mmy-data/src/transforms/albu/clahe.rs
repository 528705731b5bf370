//! `CLAHE`: more contrast where there is little.

use mmy_registry::{Build, BuildError, register};
use mmy_structures::Image;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Albumentation, Buffers, PixelStep, Rng, ops, transforms::probability};

/// Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) of the lightness in CIELAB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Largest limit of the contrast; the limit is drawn between 1 and this.
    pub clip_limit: f64,
    /// Tiles with a histogram of their own: columns and rows.
    pub tile_grid_size: [usize; 2],
    /// Probability, 0 to 1.
    pub p: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config { clip_limit: 4.0, tile_grid_size: [8, 8], p: 0.5 }
    }
}

register!(Albumentation, "CLAHE", Config);

impl Build<Albumentation> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn PixelStep>, BuildError> {
        if !(1.0..1e6).contains(&self.clip_limit) {
            return Err(BuildError::new("must be at least 1").at("clip_limit"));
        }
        if self.tile_grid_size.iter().any(|it| !(1..=256).contains(it)) {
            return Err(BuildError::new("must lie between 1 and 256 each way").at("tile_grid_size"));
        }
        probability("p", self.p)?;
        Ok(Box::new(self.clone()))
    }
}

impl PixelStep for Config {
    fn prob(&self) -> f64 {
        self.p
    }

    fn apply(&self, mut image: Image, rng: &mut Rng, _: &mut Buffers) -> Image {
        ops::clahe(&mut image, rng.uniform(1.0, self.clip_limit), self.tile_grid_size);
        image
    }
}
