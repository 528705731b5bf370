//! Rectangles of whole pixels.

use mmy_structures::Image;

/// A rectangle of whole pixels; right and bottom are exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x0: i32,
    pub(super) y0: i32,
    pub(super) x1: i32,
    pub(super) y1: i32,
}

impl Rect {
    pub(super) fn at(x0: i32, y0: i32, width: i32, height: i32) -> Self {
        Rect { x0, y0, x1: x0 + width, y1: y0 + height }
    }

    pub(super) fn width(self) -> i32 {
        self.x1 - self.x0
    }

    pub(super) fn height(self) -> i32 {
        self.y1 - self.y0
    }

    pub(super) fn intersect(self, other: Rect) -> Self {
        Rect {
            x0: self.x0.max(other.x0),
            y0: self.y0.max(other.y0),
            x1: self.x1.min(other.x1),
            y1: self.y1.min(other.y1),
        }
    }

    /// Pixels that both cover.
    pub(super) fn overlap(self, other: Rect) -> i64 {
        let both = self.intersect(other);
        i64::from(both.width().max(0)) * i64::from(both.height().max(0))
    }

    /// Moved as little as possible to lie inside `bounds`, top left first where it is too large.
    pub(super) fn moved_into(self, bounds: Rect) -> Self {
        let x = self.x0.min(bounds.x1 - self.width()).max(bounds.x0);
        let y = self.y0.min(bounds.y1 - self.height()).max(bounds.y0);
        Rect::at(x, y, self.width(), self.height())
    }

    /// Fills the part that is in the picture.
    pub(super) fn fill(self, image: &mut Image, bgr: [u8; 3]) {
        let it = self.intersect(Rect::at(0, 0, image.width() as i32, image.height() as i32));
        if it.width() <= 0 {
            return;
        }
        for y in it.y0..it.y1 {
            let row = &mut image.row_mut(y as usize)[it.x0 as usize * 3..it.x1 as usize * 3];
            row.as_chunks_mut::<3>().0.fill(bgr);
        }
    }

    /// Draws a line along the inside of its edges.
    pub(super) fn stroke(self, image: &mut Image, line: i32, bgr: [u8; 3]) {
        let (wide, high) = (line.min(self.width()), line.min(self.height()));
        Rect { y1: self.y0 + high, ..self }.fill(image, bgr);
        Rect { y0: self.y1 - high, ..self }.fill(image, bgr);
        Rect { x1: self.x0 + wide, ..self }.fill(image, bgr);
        Rect { x0: self.x1 - wide, ..self }.fill(image, bgr);
    }
}
