//! Anti-aliased text in an embedded font.

use std::sync::LazyLock;

use ab_glyph::{Font as _, FontRef, GlyphId, PxScale, ScaleFont, point};
use mmy_structures::Image;

use super::rect::Rect;

/// DejaVu Sans Bold: Latin, Greek, Cyrillic, Hebrew, Arabic and more; other scripts show as empty frames.
static FACE: LazyLock<FontRef<'static>> =
    LazyLock::new(|| FontRef::try_from_slice(dejavu::sans::bold()).expect("the embedded font is whole"));

/// The embedded font at one size.
pub(super) struct Font {
    height: f32,
    /// Space between the text and the edge of its tag, in pixels.
    padding: i32,
}

impl Font {
    /// A font whose lines are `height` pixels high.
    pub(super) fn new(height: f32) -> Self {
        Font { height, padding: (height / 8.0).round() as i32 }
    }

    /// Width and height of a tag around `text`.
    pub(super) fn tag_size(&self, text: &str) -> (i32, i32) {
        let width = self.glyphs(text).last().map_or(0.0, |(_, x, advance)| x + advance);
        (width.ceil() as i32 + 2 * self.padding, self.height.ceil() as i32)
    }

    /// `name` and `score` in one line whose tag fits into `bounds`: the name is cut where it is too long. `None` if
    /// there is no room even for the score, or a tag would hide more than half of the height.
    pub(super) fn fit(&self, name: &str, score: &str, bounds: Rect) -> Option<String> {
        // Line breaks and tabs have no width of their own.
        let name: String = name.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
        let fits = |text: &str| self.tag_size(text).0 <= bounds.width();
        if self.tag_size("").1 * 2 > bounds.height() || !fits(score) {
            return None;
        }
        let whole = format!("{name} {score}").trim_end().to_owned();
        if fits(&whole) {
            return Some(whole);
        }
        let cut =
            |chars: usize| format!("{}… {score}", name.chars().take(chars).collect::<String>()).trim_end().to_owned();
        // The longest start that fits, by bisection: names may be long.
        let (mut low, mut high) = (0, name.chars().count());
        while low < high {
            let middle = (low + high).div_ceil(2);
            if fits(&cut(middle)) { low = middle } else { high = middle - 1 }
        }
        Some(if low > 0 { cut(low) } else { score.to_owned() })
    }

    /// Draws a line of text into a tag.
    pub(super) fn draw(&self, image: &mut Image, tag: Rect, text: &str, bgr: [u8; 3]) {
        let scale = PxScale::from(self.height);
        let baseline = (tag.y0 as f32 + FACE.as_scaled(scale).ascent()).round();
        let left = (tag.x0 + self.padding) as f32;
        for (id, x, _) in self.glyphs(text) {
            let glyph = id.with_scale_and_position(scale, point(left + x, baseline));
            let Some(outline) = FACE.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            let (x0, y0) = (corner.x as i64, corner.y as i64);
            outline.draw(|x, y, cover| {
                let (x, y) = (x0 + i64::from(x), y0 + i64::from(y));
                if (0..image.width() as i64).contains(&x) && (0..image.height() as i64).contains(&y) {
                    let at = x as usize * Image::CHANNELS;
                    let cover = cover.clamp(0.0, 1.0);
                    for (below, ink) in image.row_mut(y as usize)[at..at + Image::CHANNELS].iter_mut().zip(bgr) {
                        *below = (f32::from(*below) + (f32::from(ink) - f32::from(*below)) * cover).round() as u8;
                    }
                }
            });
        }
    }

    /// Glyphs with their places and advances along the line.
    fn glyphs(&self, text: &str) -> impl Iterator<Item = (GlyphId, f32, f32)> {
        let face = FACE.as_scaled(PxScale::from(self.height));
        let mut x = 0.0;
        let mut last = None;
        text.chars().map(move |it| {
            let id = face.glyph_id(it);
            x += last.map_or(0.0, |last| face.kern(last, id));
            last = Some(id);
            let at = x;
            x += face.h_advance(id);
            (id, at, face.h_advance(id))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_to_the_picture() {
        let font = Font::new(16.0);
        let check = |name: &str, width: i32, height: i32, expect: Option<&str>| {
            let fit = font.fit(name, "0.50", Rect::at(0, 0, width, height));
            assert_eq!(fit.as_deref(), expect, "{name} in {width}×{height}");
            assert!(fit.is_none_or(|it| font.tag_size(&it).0 <= width));
        };
        check("person", 200, 100, Some("person 0.50"));
        check("person", 85, 100, Some("per… 0.50"));
        check("персона", 80, 100, Some("пе… 0.50"));
        check("person", 50, 100, Some("0.50"));
        check("person", 20, 100, None);
        check("person", 200, 31, None);
        check("two\nlines", 200, 100, Some("two lines 0.50"));
        assert_eq!(font.fit("person", "", Rect::at(0, 0, 200, 100)).as_deref(), Some("person"));
    }
}
