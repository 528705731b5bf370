//! `ToGray`: no colour.

use mmy_registry::{Build, BuildError, register};
use mmy_structures::Image;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Albumentation, Buffers, PixelStep, Rng, transforms::probability};

/// All channels become the picture's brightness: 0.299 red, 0.587 green, 0.114 blue (ITU-R BT.601).
///
/// MMYOLO hands its pictures over blue first to a library that expects red first, and so weighs blue as red; here red is
/// red.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Probability, 0 to 1.
    pub p: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config { p: 0.5 }
    }
}

register!(Albumentation, "ToGray", Config);

impl Build<Albumentation> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn PixelStep>, BuildError> {
        probability("p", self.p)?;
        Ok(Box::new(self.clone()))
    }
}

impl PixelStep for Config {
    fn prob(&self) -> f64 {
        self.p
    }

    fn apply(&self, mut image: Image, _: &mut Rng, _: &mut Buffers) -> Image {
        for pixel in image.data_mut().chunks_exact_mut(Image::CHANNELS) {
            let [b, g, r] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            // The weights in 14 bits, as OpenCV has them.
            pixel.fill(((b * 1868 + g * 9617 + r * 4899 + (1 << 13)) >> 14) as u8);
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draw;

    #[test]
    fn brightness_of_the_primaries() {
        let check = |bgr: [u8; 3], expect: u8| {
            let image = Image::filled(1, 1, bgr);
            let out = Config::default().apply(image, &mut Draw::new(0, 0, 0).rng(), &mut Buffers::default());
            assert_eq!(out.data(), [expect; 3]);
        };
        check([0, 0, 255], 76);
        check([0, 255, 0], 150);
        check([255, 0, 0], 29);
        check([255, 255, 255], 255);
    }
}
