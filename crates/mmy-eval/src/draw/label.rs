//! Where tags go.

use mmy_structures::Image;

use super::{palette::ink, rect::Rect, text::Font};

/// The tags of a picture.
pub(super) struct Tags {
    picture: Rect,
    line: i32,
    placed: Vec<(Rect, String, [u8; 3])>,
}

impl Tags {
    pub(super) fn new(picture: Rect, line: i32) -> Self {
        Tags { picture, line, placed: Vec::new() }
    }

    /// Finds a place for a tag on the outline `bbox`: the first of eight around its corners that hides no earlier tag,
    /// else the one that hides least. Call it for the most important box first.
    pub(super) fn place(&mut self, bbox: Rect, text: String, ground: [u8; 3], size: (i32, i32)) {
        let (width, height) = size;
        let (left, right) = (bbox.x0, bbox.x1 - width);
        let above = [(left, bbox.y0 - height), (right, bbox.y0 - height)];
        let below = [(left, bbox.y1), (right, bbox.y1)];
        let top = [(left, bbox.y0 + self.line), (right, bbox.y0 + self.line)];
        let bottom = bbox.y1 - self.line - height;
        let bottom = [(left, bottom), (right, bottom)];
        // Inside it is plain whose tag it is, but it would hide a small object.
        let roomy = i64::from(bbox.width()) * i64::from(bbox.height()) >= 6 * i64::from(width) * i64::from(height);
        let places = if roomy { [above, top, below, bottom] } else { [above, below, top, bottom] };
        let cost = |tag: Rect, wanted: Rect| {
            let hidden: i64 = self.placed.iter().map(|(it, ..)| it.overlap(tag)).sum();
            // A tag that had to move into the picture is farther from its corner than the others.
            hidden * 4 + i64::from((tag.x0 - wanted.x0).abs() + (tag.y0 - wanted.y0).abs())
        };
        let best = places
            .into_iter()
            .flatten()
            .map(|(x, y)| {
                let wanted = Rect::at(x, y, width, height);
                let tag = wanted.moved_into(self.picture);
                (cost(tag, wanted), tag)
            })
            .min_by_key(|(cost, _)| *cost);
        if let Some((_, tag)) = best {
            self.placed.push((tag, text, ground));
        }
    }

    /// Draws all tags, the first placed on top.
    pub(super) fn draw(&self, image: &mut Image, font: &Font) {
        for (tag, text, ground) in self.placed.iter().rev() {
            tag.fill(image, *ground);
            font.draw(image, *tag, text, ink(*ground));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(picture: (i32, i32), boxes: &[Rect], size: (i32, i32)) -> Vec<Rect> {
        let mut tags = Tags::new(Rect::at(0, 0, picture.0, picture.1), 2);
        for it in boxes {
            tags.place(*it, String::new(), [0; 3], size);
        }
        tags.placed.iter().map(|it| it.0).collect()
    }

    #[test]
    fn tags_stay_inside_and_make_way() {
        let one = Rect::at(50, 50, 60, 40);
        // Above by default.
        assert_eq!(places((200, 200), &[one], (30, 10)), [Rect::at(50, 40, 30, 10)]);
        // Three boxes in one place: three tags apart.
        let three = places((200, 200), &[one, one, one], (30, 10));
        assert_eq!(three, [Rect::at(50, 40, 30, 10), Rect::at(80, 40, 30, 10), Rect::at(50, 52, 30, 10)]);
        // At the top of the picture it goes inside, for a small box below, and inside where there is no room below.
        assert_eq!(places((200, 200), &[Rect::at(50, 2, 60, 40)], (30, 10)), [Rect::at(50, 4, 30, 10)]);
        assert_eq!(places((200, 200), &[Rect::at(50, 2, 30, 20)], (30, 10)), [Rect::at(50, 22, 30, 10)]);
        assert_eq!(places((200, 30), &[Rect::at(50, 0, 30, 30)], (30, 10)), [Rect::at(50, 2, 30, 10)]);
        // A hundred in one corner are all inside.
        let picture = Rect::at(0, 0, 100, 60);
        let many = places((100, 60), &[Rect::at(95, 55, 5, 5); 100], (40, 10));
        assert_eq!(many.len(), 100);
        assert!(many.iter().all(|it| it.intersect(picture) == *it), "{many:?}");
    }
}
