//! Layers. Each keeps the path under which it was made, so that [`crate::trace`] can name it.

mod activation;
mod batch_norm;
mod conv2d;
mod conv_module;
mod drop_path;
pub mod dsconv;
mod layer_norm;
mod linear;
mod pool;
mod residual;

pub use activation::Activation;
pub use batch_norm::{BatchNorm2d, Norm, NormType};
pub use conv_module::ConvModule;
pub use conv2d::{Conv, Conv2d};
pub use drop_path::DropPath;
pub use dsconv::{DsConv, DsKernel};
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use pool::{MaxPool2d, upsample_nearest};
pub use residual::add_into;
