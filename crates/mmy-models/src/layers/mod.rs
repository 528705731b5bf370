//! Blocks that several parts are made of.

mod bottleneck;
mod branch_sum;
mod convnext;
mod csp_layer;
mod mobileone_block;
pub mod spiking;
mod sppf;
mod squeeze_excite;

pub use bottleneck::Bottleneck;
pub use branch_sum::{BranchNames, BranchSum, Branches};
pub use convnext::ConvNextBlock;
pub use csp_layer::{CSPLayer, CspConvs};
pub use mobileone_block::MobileOneBlock;
pub use sppf::SPPFBottleneck;
pub use squeeze_excite::SqueezeExcite;
