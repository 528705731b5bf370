//! Any detector with DSConv's kernels (arXiv 1901.01928).

use mmy_nn::{
    Scope,
    layers::{DsConv, DsKernel},
};
use mmy_registry::{Build, BuildError, Slot, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kinds::{Detector, DetectorModel, in_range};

register!(Detector, "DSConvDetector", Config);

/// Another detector whose convolutions keep their kernels in whole numbers of a few bits (DSConv, arXiv 1901.01928), each
/// block of input channels with a scale of its own.
///
/// Weights of the detector as it is load into it: the whole numbers are then those with the least error. `mmy weights
/// quantize-dsconv` writes a checkpoint of this form, and the config that goes with it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Bits of each number, 2 to 8.
    #[serde(default = "four")]
    pub bits: u8,
    /// Input channels that share a scale.
    #[serde(default = "thirty_two")]
    pub block_size: i64,
    /// What is trained: `fixed` trains the scales of whole numbers that stay, `shadow` trains ordinary weights that are
    /// quantised anew in each step, `plain` leaves the detector as it is.
    #[serde(default = "fixed")]
    pub kernel: DsKernel,
    /// Whether each block has a shift besides its scale; of `fixed` kernels alone.
    #[serde(default)]
    pub kds_shift: bool,
    /// Whether each output channel has a scale and a shift of its own besides.
    #[serde(default = "yes")]
    pub cds: bool,
    /// Kernels that see fewer channels stay as they are, such as the first one and depthwise ones.
    #[serde(default = "sixteen")]
    pub min_channels: i64,
    /// Paths (as in the state dict) at and below which kernels stay as they are.
    #[serde(default)]
    pub skip: Vec<String>,
    /// The detector.
    pub detector: Slot<Detector>,
}

fn four() -> u8 {
    4
}

fn thirty_two() -> i64 {
    32
}

fn sixteen() -> i64 {
    16
}

fn fixed() -> DsKernel {
    DsKernel::Fixed
}

fn yes() -> bool {
    true
}

impl Build<Detector> for Config {
    fn build(&self, scope: &Scope) -> Result<Box<dyn DetectorModel>, BuildError> {
        check_dsconv(self.bits, self.block_size)?;
        in_range("min_channels", self.min_channels, 1..=65_536)?;
        if self.kds_shift && self.kernel != DsKernel::Fixed {
            let error = BuildError::new("a shift of each block is trained with `fixed` kernels alone");
            return Err(error.at("kds_shift").help("set kernel = \"fixed\", or kds_shift = false"));
        }
        let &Config { bits, block_size, kernel, kds_shift, cds, min_channels, .. } = self;
        let form = DsConv { bits, block_size, kernel, kds_shift, cds, min_channels, skip: self.skip.clone() };
        self.detector.build(&scope.dsconv(form))
    }
}

/// An error unless that is a number of bits and a size of blocks.
pub(crate) fn check_dsconv(bits: u8, block_size: i64) -> Result<(), BuildError> {
    in_range("bits", bits, mmy_nn::quantise::BITS)?;
    in_range("block_size", block_size, 1..=65_536)
}
