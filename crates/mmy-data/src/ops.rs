//! What the transforms do to pixels, held against OpenCV's numbers.

mod blur;
mod clahe;
mod decode;
mod flip;
mod hsv;
mod lab;
mod resize;
mod warp;

pub use blur::{box_blur, median_blur};
pub use clahe::clahe;
pub use decode::{ExifOrientation, decode};
pub use flip::{flip_columns, flip_rows};
pub use hsv::HsvTables;
pub use resize::{Interpolation, resize};
pub use warp::warp_affine;

#[cfg(test)]
pub(crate) mod golden;
