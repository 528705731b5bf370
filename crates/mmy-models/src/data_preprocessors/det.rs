//! Normalisation, swap of channels, padding.

use mmy_registry::{Build, BuildError, Outline, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::PadOutline;
use crate::kinds::{DataPreprocessor, Preprocess, in_range};

register!(DataPreprocessor, "DetDataPreprocessor", Config);

/// Swaps blue and red, subtracts the mean and divides by the standard deviation of each channel, pads at right and
/// bottom.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Subtracted from each channel, in the order that the channels have after the swap.
    pub mean: [f64; 3],
    /// What each channel is divided by.
    pub std: [f64; 3],
    /// Whether blue and red are swapped, so that the model sees red first.
    pub bgr_to_rgb: bool,
    /// Height and width are padded to multiples of it.
    pub pad_size_divisor: i64,
    /// What is padded with, after normalisation.
    pub pad_value: f64,
}

impl Default for Config {
    /// Red first, 0 to 1.
    fn default() -> Self {
        Config { mean: [0.0; 3], std: [255.0; 3], bgr_to_rgb: true, pad_size_divisor: 1, pad_value: 0.0 }
    }
}

impl Build<DataPreprocessor> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Preprocess>, BuildError> {
        in_range("pad_size_divisor", self.pad_size_divisor, 1..=4096)?;
        if self.std.iter().any(|it| !it.is_normal()) {
            return Err(BuildError::new(format!("{:?} cannot be divided by", self.std)).at("std"));
        }
        Ok(Box::new(Normalize(self.clone())))
    }

    fn outline(&self) -> Outline {
        Outline::default().fact(PadOutline { size_divisor: self.pad_size_divisor })
    }
}

#[derive(Debug)]
struct Normalize(Config);

impl Preprocess for Normalize {
    fn forward(&self, inputs: &Tensor) -> Tensor {
        let Config { mean, std, bgr_to_rgb, .. } = self.0;
        let x = if bgr_to_rgb { inputs.flip([1]) } else { inputs.shallow_clone() };
        let channels =
            |it: [f64; 3]| Tensor::from_slice(&it).to_kind(Kind::Float).to_device(inputs.device()).view([1, 3, 1, 1]);
        // A division of integers by floats casts as it goes: one pass where nothing is subtracted.
        let x = match (mean == [0.0; 3], std == [std[0]; 3]) {
            (true, true) => x.g_div_scalar(std[0]),
            (true, false) => x.g_div(&channels(std)),
            (false, _) => (x - channels(mean)).g_div_(&channels(std)),
        };
        let (size, divisor) = (x.size(), self.0.pad_size_divisor);
        let missing = |n: i64| (divisor - n % divisor) % divisor;
        let (bottom, right) = (missing(size[2]), missing(size[3]));
        if bottom == 0 && right == 0 { x } else { x.pad([0, right, 0, bottom], "constant", self.0.pad_value) }
    }
}

#[cfg(test)]
mod tests {
    use mmy_nn::MemoryFormat;
    use mmy_torch::memory_format::is_contiguous_in;

    use super::*;

    /// Two pixels in one row, blue first, channels-last in memory.
    fn pixels() -> Tensor {
        Tensor::from_slice(&[10u8, 20, 30, 40, 50, 60]).view([1, 1, 2, 3]).permute([0, 3, 1, 2])
    }

    fn check(config: Config, want: &[f32]) {
        let x = config.build(()).unwrap().forward(&pixels());
        assert_eq!(x.kind(), Kind::Float);
        assert!(is_contiguous_in(&x, MemoryFormat::ChannelsLast).unwrap());
        assert_eq!(Vec::<f32>::try_from(x.permute([0, 2, 3, 1]).contiguous().view([-1])).unwrap(), want);
    }

    #[test]
    fn normalises_swaps_and_pads() {
        check(Config::default(), &[30.0, 20.0, 10.0, 60.0, 50.0, 40.0].map(|it: f32| it / 255.0));
        let plain = Config { bgr_to_rgb: false, mean: [10.0, 20.0, 30.0], std: [2.0, 3.0, 4.0], ..Config::default() };
        check(plain, &[0.0, 0.0, 0.0, 15.0, 10.0, 7.5]);
        let own = Config { bgr_to_rgb: false, std: [1.0, 2.0, 3.0], ..Config::default() };
        check(own, &[10.0, 10.0, 10.0, 40.0, 25.0, 20.0]);
        let padded = Config { std: [1.0; 3], pad_size_divisor: 2, pad_value: 7.0, ..Config::default() };
        let want = [[30.0, 20.0, 10.0], [60.0, 50.0, 40.0], [7.0; 3], [7.0; 3]].concat();
        check(padded, &want);
    }

    #[test]
    fn a_zero_deviation_is_an_error() {
        let error = Config { std: [1.0, 0.0, 1.0], ..Config::default() }.build(()).unwrap_err();
        assert_eq!(error.path, ["std"]);
    }
}
