//! Blocks that several parts are made of.

mod csp_layer;
mod sppf;

pub use csp_layer::CSPLayer;
pub use sppf::SPPFBottleneck;
