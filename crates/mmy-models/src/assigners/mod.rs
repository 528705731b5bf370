//! Which predictions are to learn which boxes.

mod side_ratio;

pub use side_ratio::{Level, Positives, SideRatioAssigner, Target, targets};
