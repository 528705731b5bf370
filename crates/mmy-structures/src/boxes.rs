//! Axis-aligned boxes.

use serde::{Deserialize, Serialize};

/// An axis-aligned box in pixels: left, top, right, bottom; right and bottom are exclusive edges, so that the width is
/// `x2 - x1`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct BBox {
    /// Left edge.
    pub x1: f32,
    /// Top edge.
    pub y1: f32,
    /// Right edge.
    pub x2: f32,
    /// Bottom edge.
    pub y2: f32,
}

impl BBox {
    /// A box from its four edges.
    pub const fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Self {
        BBox { x1, y1, x2, y2 }
    }

    /// A box from left, top, width, height, as COCO writes it.
    pub fn from_xywh(x: f32, y: f32, w: f32, h: f32) -> Self {
        BBox::new(x, y, x + w, y + h)
    }

    /// `[left, top, width, height]`.
    pub fn xywh(self) -> [f32; 4] {
        [self.x1, self.y1, self.width(), self.height()]
    }

    /// `[left, top, right, bottom]`.
    pub fn xyxy(self) -> [f32; 4] {
        [self.x1, self.y1, self.x2, self.y2]
    }

    /// Width in pixels; negative for an inverted box.
    pub fn width(self) -> f32 {
        self.x2 - self.x1
    }

    /// Height in pixels; negative for an inverted box.
    pub fn height(self) -> f32 {
        self.y2 - self.y1
    }

    /// Width times height; 0 for an inverted box.
    pub fn area(self) -> f32 {
        self.width().max(0.0) * self.height().max(0.0)
    }

    /// Scaled by `sx`, `sy`, then moved by `dx`, `dy`.
    pub fn scale_shift(self, sx: f32, sy: f32, dx: f32, dy: f32) -> Self {
        BBox::new(self.x1 * sx + dx, self.y1 * sy + dy, self.x2 * sx + dx, self.y2 * sy + dy)
    }

    /// Cut to a picture of `width` × `height`.
    pub fn clip(self, width: f32, height: f32) -> Self {
        BBox::new(
            self.x1.clamp(0.0, width),
            self.y1.clamp(0.0, height),
            self.x2.clamp(0.0, width),
            self.y2.clamp(0.0, height),
        )
    }

    /// Intersection over union; 0 when either box is empty.
    pub fn iou(self, other: BBox) -> f32 {
        let w = self.x2.min(other.x2) - self.x1.max(other.x1);
        let h = self.y2.min(other.y2) - self.y1.max(other.y1);
        let inter = w.max(0.0) * h.max(0.0);
        let union = self.area() + other.area() - inter;
        if union > 0.0 { inter / union } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_of_halves_and_of_nothing() {
        let a = BBox::new(0.0, 0.0, 2.0, 2.0);
        assert_eq!(a.iou(BBox::new(0.0, 0.0, 1.0, 2.0)), 0.5);
        assert_eq!(a.iou(BBox::new(5.0, 5.0, 4.0, 4.0)), 0.0);
        assert_eq!(BBox::default().iou(BBox::default()), 0.0);
    }

    #[test]
    fn xywh_round_trip() {
        assert_eq!(BBox::from_xywh(3.0, 4.0, 5.0, 6.0).xywh(), [3.0, 4.0, 5.0, 6.0]);
    }
}
