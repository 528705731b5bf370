//! Modules of layer lists, one file each, with YOLOv5's names for parameters and arguments.

pub mod acmix;
mod args;
pub mod bottleneck;
pub mod bottleneck_csp;
pub mod bottleneck_dsconv2d;
pub mod c2f;
pub mod c3;
pub mod c3_ghost;
pub mod c3_spp;
pub mod c3x;
pub mod ca;
pub mod concat;
pub mod contract;
pub mod conv;
pub mod cross_conv;
pub mod detect;
pub mod dsconv2d;
pub mod dsconv2d_c3;
pub mod dsconv2d_c3_as_published;
pub mod dw_conv;
pub mod expand;
pub mod focus;
pub mod ghost_bottleneck;
pub mod ghost_conv;
pub mod max_pool2d;
pub mod mix_conv2d;
pub mod mobileone;
pub mod mobileone_as_published;
pub mod space_to_depth;
pub mod spiking;
pub mod spp;
pub mod sppf;
pub mod upsample;
pub mod zero_pad2d;

pub use args::Act;
