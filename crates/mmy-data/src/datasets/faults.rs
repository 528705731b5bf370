//! Annotations that are left out, counted by reason and told in one message.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use mmy_structures::BBox;

/// Annotations that are left out, by reason, with the first few places of each.
#[derive(Debug, Default)]
pub(super) struct Faults {
    by_reason: BTreeMap<&'static str, (usize, Vec<String>)>,
}

impl Faults {
    /// Places named for each reason.
    const NAMED: usize = 3;

    pub(super) fn add(&mut self, reason: &'static str, place: impl ToString) {
        let (count, places) = self.by_reason.entry(reason).or_default();
        *count += 1;
        if places.len() < Self::NAMED {
            places.push(place.to_string());
        }
    }

    /// `3 boxes of …: 2 without area (annotation 5, annotation 9), 1 …`; nothing when there is no fault.
    pub(super) fn message(&self, path: &Path) -> Option<String> {
        let total: usize = self.by_reason.values().map(|(count, _)| count).sum();
        let mut out = match total {
            0 => return None,
            1 => format!("{}: 1 annotation is left out:", path.display()),
            _ => format!("{}: {total} annotations are left out:", path.display()),
        };
        for (n, (reason, (count, places))) in self.by_reason.iter().enumerate() {
            let dots = if places.len() < *count { ", …" } else { "" };
            let comma = if n > 0 { "," } else { "" };
            let _ = write!(out, "{comma} {count} {reason} ({}{dots})", places.join(", "));
        }
        Some(out)
    }

    /// Tells the user, if there is anything to tell.
    pub(super) fn report(&self, path: &Path) {
        if let Some(message) = self.message(path) {
            tracing::warn!("{message}");
        }
    }
}

/// Why a box cannot be learnt from, if it cannot; `shape` is `(height, width)` of its picture, zeros when not known.
pub(crate) fn box_fault(bbox: BBox, shape: (usize, usize)) -> Option<&'static str> {
    let (height, width) = (shape.0 as f32, shape.1 as f32);
    if bbox.xyxy().iter().any(|it| !it.is_finite()) {
        Some("with a coordinate that is no number")
    } else if bbox.width() <= 0.0 || bbox.height() <= 0.0 {
        Some("without area")
    } else if bbox.width() < 1.0 || bbox.height() < 1.0 {
        Some("smaller than a pixel")
    } else if shape != (0, 0) && bbox.clip(width, height).area() <= 0.0 {
        Some("outside of the picture")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_the_first_places_named() {
        let mut faults = Faults::default();
        assert_eq!(faults.message(Path::new("a.json")), None);
        for id in 1..=5 {
            faults.add("without area", format_args!("annotation {id}"));
        }
        faults.add("outside of the picture", "annotation 9");
        assert_eq!(
            faults.message(Path::new("a.json")).unwrap(),
            "a.json: 6 annotations are left out: 1 outside of the picture (annotation 9), \
             5 without area (annotation 1, annotation 2, annotation 3, …)"
        );
    }

    #[test]
    fn boxes_that_cannot_be_learnt_from() {
        let fault = |x: f32, y, w, h| box_fault(BBox::from_xywh(x, y, w, h), (100, 200));
        assert_eq!(fault(0.0, 0.0, 10.0, 10.0), None);
        assert_eq!(fault(-5.0, 0.0, 10.0, 10.0), None);
        assert_eq!(fault(5.0, 5.0, 0.0, 10.0), Some("without area"));
        assert_eq!(fault(5.0, 5.0, 10.0, -1.0), Some("without area"));
        assert_eq!(fault(5.0, 5.0, 10.0, 0.5), Some("smaller than a pixel"));
        assert_eq!(fault(200.0, 5.0, 10.0, 10.0), Some("outside of the picture"));
        assert_eq!(fault(f32::NAN, 5.0, 10.0, 10.0), Some("with a coordinate that is no number"));
    }
}
