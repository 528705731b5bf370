//! What may be wrong with a box.

use std::path::Path;

use mmy_structures::BBox;

use super::{Level, Survey};
use crate::datasets::box_fault;

/// Rounding and conventions put edges up to that far outside, in pixels.
const SLACK: f32 = 1.5;

/// Tells what is wrong with the box of an object in a picture of `shape`; says whether it can be learnt from.
pub(super) fn look(survey: &mut Survey, bbox: BBox, shape: (usize, usize), at: (&Path, usize), what: &str) -> bool {
    let [x1, y1, x2, y2] = bbox.xyxy();
    if let Some(reason) = box_fault(bbox, shape) {
        let code = match reason.split(' ').next() {
            Some("with") => "box-no-number",
            Some("outside") => "box-outside",
            Some("smaller") => "box-tiny",
            _ => "box-without-area",
        };
        let text = format!("{what}: a box {reason}, {x1}, {y1}, {x2}, {y2}, is left out");
        survey.find(Level::Warning, code, at.0, at.1, text);
        return false;
    }
    let (height, width) = (shape.0 as f32, shape.1 as f32);
    let beyond = (-x1).max(-y1).max(x2 - width).max(y2 - height);
    if shape != (0, 0) && beyond > SLACK {
        let text = format!("{what}: the box {x1}, {y1}, {x2}, {y2} reaches beyond its picture of {width}×{height}");
        survey.find(Level::Warning, "box-beyond", at.0, at.1, text);
    }
    true
}
