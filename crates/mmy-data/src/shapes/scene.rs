//! Where objects stand, and what is seen of them.

use super::{
    ShapesConfig,
    outline::{Outline, Point},
    paint::{Canvas, Fill, between, cover, direction},
};
use crate::{Draw, Rng};

/// One object as it is annotated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Object {
    /// Place in the config's classes.
    pub(super) class: usize,
    /// Left, top, width, height of the visible part, in pixels.
    pub(super) bbox: [usize; 4],
    /// Visible pixels.
    pub(super) area: usize,
}

/// Least part of an object that must stay visible; of less nobody could tell the class.
const VISIBLE: f32 = 0.4;

/// Who owns a pixel: nobody, or object number n, or something in front.
const NOBODY: u8 = u8::MAX;
const FRONT: u8 = u8::MAX - 1;

/// A placed outline: turned by `axis`, stretched, moved.
struct Placed {
    outline: Outline,
    centre: Point,
    axis: Point,
    radius: Point,
}

impl Placed {
    /// The outline's own system at a point of the picture.
    fn local(&self, x: i64, y: i64) -> Point {
        let (dx, dy) = (x as f32 + 0.5 - self.centre[0], y as f32 + 0.5 - self.centre[1]);
        let [c, s] = self.axis;
        [(dx * c + dy * s) / self.radius[0], (dy * c - dx * s) / self.radius[1]]
    }

    /// Where it covers a `width` × `height` picture: (place, own point, coverage 0 to 1); and the share of all its
    /// pixels that lies in the picture.
    fn pixels(&self, width: usize, height: usize) -> (Vec<(usize, Point, f32)>, f32) {
        let reach = self.radius[0].max(self.radius[1]) * 1.15 + 2.0;
        let thin = self.radius[0].min(self.radius[1]);
        // Outlines lie within 1 of their origin, and edges are a pixel wide.
        let limit = 1.0 + 1.0 / thin;
        let (mut inside, mut all, mut out) = (0, 0, Vec::new());
        let range = |centre: f32| ((centre - reach).floor() as i64, (centre + reach).ceil() as i64);
        let ((left, right), (top, bottom)) = (range(self.centre[0]), range(self.centre[1]));
        for y in top..=bottom {
            for x in left..=right {
                let seen = (0..width as i64).contains(&x) && (0..height as i64).contains(&y);
                let local = self.local(x, y);
                if local[0].abs() > limit || local[1].abs() > limit {
                    continue;
                }
                let coverage = (0.5 - self.outline.distance(local) * thin).clamp(0.0, 1.0);
                if coverage > 0.0 {
                    all += usize::from(coverage > 0.5);
                    if seen {
                        inside += usize::from(coverage > 0.5);
                        out.push((y as usize * width + x as usize, local, coverage));
                    }
                }
            }
        }
        (out, inside as f32 / all.max(1) as f32)
    }
}

/// Draws picture `draw` of a data set: 8-bit pixels, red first, and the objects.
pub(super) fn draw(config: &ShapesConfig, draw: Draw) -> (Vec<u8>, Vec<Object>) {
    let rng = &mut draw.rng();
    let ([width, height], hard) = (config.image_size, config.difficulty);
    let mut scene = Scene {
        canvas: Canvas::background(width, height, hard, rng),
        owners: vec![NOBODY; width * height],
        whole: Vec::new(),
    };
    for _ in 0..rng.below((hard * 14.0) as usize + 1) {
        let outline = if rng.chance(0.3) { Outline::bar(between(rng, 0.02, 0.08)) } else { Outline::clutter(rng) };
        let placed = scene.place(outline, rng, 0.02, 0.16);
        let (pixels, _) = placed.pixels(width, height);
        scene.paint(&placed, &pixels, 15.0, NOBODY, rng);
    }
    let mut classes = Vec::new();
    for _ in 0..1 + rng.below(config.max_objects) {
        let class = rng.below(config.classes.len());
        // The first object always finds a place: it hides nothing, so only the picture's edge can be in its way.
        for _ in 0..30 {
            let placed = scene.place(config.classes[class].outline(), rng, 0.055 - 0.025 * hard, 0.24);
            let (pixels, share) = placed.pixels(width, height);
            if share > 0.6 && scene.may_cover(&pixels) {
                scene.whole.push(pixels.iter().filter(|it| it.2 > 0.5).count() as f32 / share);
                scene.paint(&placed, &pixels, (90.0 - 60.0 * hard) as f32, classes.len() as u8, rng);
                classes.push(class);
                break;
            }
        }
    }
    for _ in 0..rng.below((hard * 5.0) as usize + 1) {
        let placed = scene.place(Outline::bar(between(rng, 0.01, 0.04)), rng, 0.15, 0.5);
        let (pixels, _) = placed.pixels(width, height);
        if scene.may_cover(&pixels) {
            scene.paint(&placed, &pixels, 15.0, FRONT, rng);
        }
    }
    let objects = scene.objects(&classes);
    (scene.canvas.finish(hard, rng), objects)
}

struct Scene {
    canvas: Canvas,
    /// The topmost object of each pixel.
    owners: Vec<u8>,
    /// How many pixels each object would have if nothing hid any.
    whole: Vec<f32>,
}

impl Scene {
    /// Somewhere, turned and stretched somehow, with a radius between two parts of the picture's shorter side; small
    /// ones are more likely.
    fn place(&self, outline: Outline, rng: &mut Rng, low: f64, high: f64) -> Placed {
        let (width, height) = (self.canvas.width as f64, self.canvas.height as f64);
        let part = rng.unit();
        let radius = ((low + (high - low) * part * part) * width.min(height)).max(5.0) as f32;
        let stretch = between(rng, 0.8, 1.25);
        Placed {
            outline,
            centre: [between(rng, 0.0, width), between(rng, 0.0, height)],
            axis: direction(rng),
            radius: [radius * stretch, radius / stretch],
        }
    }

    /// Whether enough of all objects stays visible under these pixels.
    fn may_cover(&self, pixels: &[(usize, Point, f32)]) -> bool {
        let mut left = vec![0usize; self.whole.len()];
        if left.is_empty() {
            return true;
        }
        self.owners.iter().filter(|it| **it < FRONT).for_each(|it| left[usize::from(*it)] += 1);
        for (at, _, coverage) in pixels {
            let owner = self.owners[*at];
            if *coverage > 0.5 && owner < FRONT {
                left[usize::from(owner)] -= 1;
            }
        }
        left.iter().zip(&self.whole).all(|(left, whole)| *left as f32 >= VISIBLE * whole)
    }

    fn paint(&mut self, placed: &Placed, pixels: &[(usize, Point, f32)], contrast: f32, owner: u8, rng: &mut Rng) {
        let fill = Fill::against(self.canvas.at(placed.centre), contrast, rng);
        for (at, local, coverage) in pixels {
            cover(&mut self.canvas.pixels[*at], fill.at(*local), *coverage);
            if *coverage > 0.5 && owner != NOBODY {
                self.owners[*at] = owner;
            }
        }
    }

    /// What is visible in the end.
    fn objects(&self, classes: &[usize]) -> Vec<Object> {
        let mut ranges = vec![[usize::MAX, usize::MAX, 0, 0, 0]; classes.len()];
        for (at, owner) in self.owners.iter().enumerate().filter(|it| *it.1 < FRONT) {
            let (x, y) = (at % self.canvas.width, at / self.canvas.width);
            let [left, top, right, bottom, area] = &mut ranges[usize::from(*owner)];
            (*left, *top, *right, *bottom) = ((*left).min(x), (*top).min(y), (*right).max(x + 1), (*bottom).max(y + 1));
            *area += 1;
        }
        let object = |(&class, [left, top, right, bottom, area]): (&usize, [usize; 5])| {
            (area > 0).then(|| Object { class, bbox: [left, top, right - left, bottom - top], area })
        };
        classes.iter().zip(ranges).filter_map(object).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::ShapeClass;

    #[test]
    fn boxes_lie_around_what_is_painted() {
        for difficulty in [0.0, 0.5, 1.0] {
            let config = ShapesConfig { image_size: [200, 120], difficulty, ..ShapesConfig::default() };
            let mut classes = [0; 4];
            for number in 0..40 {
                let (rgb, objects) = draw(&config, Draw::new(1, 0, number));
                assert_eq!(rgb.len(), 200 * 120 * 3);
                assert!((1..=config.max_objects).contains(&objects.len()), "{objects:?}");
                for it in objects {
                    let [x, y, w, h] = it.bbox;
                    assert!(x + w <= 200 && y + h <= 120 && it.area <= w * h && w > 2 && h > 2, "{it:?}");
                    classes[it.class] += 1;
                }
            }
            assert!(classes.iter().all(|it| *it > 10), "{classes:?}");
        }
    }

    #[test]
    fn a_square_covers_its_pixels() {
        let placed = Placed {
            outline: ShapeClass::Square.outline(),
            centre: [10.0, 10.0],
            axis: [1.0, 0.0],
            radius: [10.0, 5.0],
        };
        let (pixels, share) = placed.pixels(30, 30);
        // 0.8 of 20 × 10, and around them a rim of which less than half is covered.
        assert_eq!((pixels.iter().filter(|it| it.2 > 0.5).count(), share), (16 * 8, 1.0));
        let half = Placed { centre: [0.0, 10.0], ..placed };
        assert_eq!(half.pixels(30, 30).1, 0.5);
    }
}
