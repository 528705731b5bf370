//! YOLOv5's name for the same.

use mmy_registry::{Build, BuildError, Outline, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    data_preprocessors::{PadOutline, det},
    kinds::{DataPreprocessor, Preprocess},
};

register!(DataPreprocessor, "YOLOv5DetDataPreprocessor", Config);

/// Swaps blue and red, subtracts the mean and divides by the standard deviation of each channel. What MMYOLO's part of
/// this name adds, a table of all targets of a batch, every batch has here.
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
        let det::Config { mean, std, bgr_to_rgb, pad_size_divisor, pad_value } = det::Config::default();
        Config { mean, std, bgr_to_rgb, pad_size_divisor, pad_value }
    }
}

impl Build<DataPreprocessor> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Preprocess>, BuildError> {
        let Config { mean, std, bgr_to_rgb, pad_size_divisor, pad_value } = *self;
        det::Config { mean, std, bgr_to_rgb, pad_size_divisor, pad_value }.build(())
    }

    fn outline(&self) -> Outline {
        Outline::default().fact(PadOutline { size_divisor: self.pad_size_divisor })
    }
}

#[cfg(test)]
mod tests {
    use mmy_registry::Slot;
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn both_names_mean_the_same() {
        let x = Tensor::arange(2 * 3 * 4 * 5, (Kind::Uint8, Device::Cpu)).reshape([2, 3, 4, 5]);
        let run = |name: &str| {
            let json = format!(r#"{{"type": "{name}", "mean": [1, 2, 3], "std": [2, 4, 8], "pad_size_divisor": 8}}"#);
            let slot: Slot<DataPreprocessor> = serde_json::from_str(&json).unwrap();
            slot.build(()).unwrap().forward(&x)
        };
        let (ours, theirs) = (run("YOLOv5DetDataPreprocessor"), run("DetDataPreprocessor"));
        assert_eq!(ours.size(), [2, 3, 8, 8]);
        assert_eq!(ours, theirs);
    }
}
