//! Blocks that several parts are made of.

mod bottleneck;
mod csp_layer;
mod sppf;

pub use bottleneck::Bottleneck;
pub use csp_layer::{CSPLayer, CspConvs};
pub use sppf::SPPFBottleneck;
