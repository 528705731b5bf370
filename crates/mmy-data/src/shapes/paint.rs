//! Colours and textures.

use super::outline::Point;
use crate::Rng;

/// Red, green, blue, 0 to 255.
pub(super) type Colour = [f32; 3];

/// A picture in the making.
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<Colour>,
}

pub(super) fn between(rng: &mut Rng, low: f64, high: f64) -> f32 {
    rng.uniform(low, high) as f32
}

pub(super) fn any_colour(rng: &mut Rng) -> Colour {
    [0; 3].map(|_: i32| between(rng, 10.0, 245.0))
}

/// A direction, all equally likely: a point drawn in a disc, moved to its edge.
pub(super) fn direction(rng: &mut Rng) -> Point {
    loop {
        let [x, y] = [0; 2].map(|_: i32| between(rng, -1.0, 1.0));
        let square = x * x + y * y;
        if (0.01..=1.0).contains(&square) {
            let length = square.sqrt();
            return [x / length, y / length];
        }
    }
}

/// Up and down between -1 and 1 with period 1, in straight lines.
fn zigzag(phase: f32) -> f32 {
    4.0 * (phase - phase.floor() - 0.5).abs() - 1.0
}

fn mix(a: Colour, b: Colour, part: f32) -> Colour {
    [0, 1, 2].map(|c| a[c] + (b[c] - a[c]) * part)
}

impl Canvas {
    /// A background: a gradient, stripes or checks on some, noise of several sizes.
    pub(super) fn background(width: usize, height: usize, difficulty: f64, rng: &mut Rng) -> Self {
        let (a, b) = (any_colour(rng), any_colour(rng));
        let part = between(rng, 0.0, 0.4 + 0.6 * difficulty);
        let b = mix(a, b, part);
        let [dx, dy] = direction(rng);
        let size = width.max(height) as f32;
        let mut canvas = Canvas { width, height, pixels: Vec::with_capacity(width * height) };
        for y in 0..height {
            for x in 0..width {
                let along = (x as f32 * dx + y as f32 * dy) / size * 0.5 + 0.5;
                canvas.pixels.push(mix(a, b, along.clamp(0.0, 1.0)));
            }
        }
        if rng.chance(0.3 + 0.5 * difficulty) {
            canvas.stripes(difficulty, rng);
        }
        for cell in [64, 24, 8] {
            let most = (4.0 + 36.0 * difficulty) * (0.4 + cell as f64 / 100.0);
            let amplitude = between(rng, 0.0, most);
            canvas.noise(cell, amplitude, rng);
        }
        canvas
    }

    /// Stripes, or two sets of them across each other.
    fn stripes(&mut self, difficulty: f64, rng: &mut Rng) {
        let amplitude = between(rng, 5.0, 15.0 + 35.0 * difficulty);
        let tint = [0; 3].map(|_: i32| between(rng, -1.0, 1.0));
        let period = between(rng, 8.0, 60.0);
        let first = direction(rng);
        let second = rng.chance(0.4).then_some([-first[1], first[0]]);
        for y in 0..self.height {
            for x in 0..self.width {
                let wave = |[dx, dy]: Point| zigzag((x as f32 * dx + y as f32 * dy) / period);
                let height = (wave(first) * second.map_or(1.0, wave) * 3.0).clamp(-1.0, 1.0) * amplitude;
                let pixel = &mut self.pixels[y * self.width + x];
                *pixel = [0, 1, 2].map(|c| pixel[c] + height * tint[c]);
            }
        }
    }

    /// Noise with cells of `cell` pixels, smooth in between.
    fn noise(&mut self, cell: usize, amplitude: f32, rng: &mut Rng) {
        let columns = self.width / cell + 2;
        let smooth = |at: usize| {
            let t = (at % cell) as f32 / cell as f32;
            t * t * (3.0 - 2.0 * t)
        };
        let mut row = || -> Vec<Colour> {
            let point = |rng: &mut Rng| {
                // Mostly light and dark, a little colour.
                let light = between(rng, -1.0, 1.0);
                [0; 3].map(|_: i32| (light + 0.5 * between(rng, -1.0, 1.0)) * amplitude)
            };
            (0..columns).map(|_| point(rng)).collect()
        };
        let (mut above, mut below) = (row(), row());
        for y in 0..self.height {
            if y > 0 && y % cell == 0 {
                above = std::mem::replace(&mut below, row());
            }
            let down = smooth(y);
            let nodes: Vec<_> = above.iter().zip(&below).map(|(a, b)| mix(*a, *b, down)).collect();
            for (x, pixel) in self.pixels[y * self.width..][..self.width].iter_mut().enumerate() {
                let added = mix(nodes[x / cell], nodes[x / cell + 1], smooth(x));
                *pixel = [0, 1, 2].map(|c| pixel[c] + added[c]);
            }
        }
    }

    /// The colour at a point, the nearest inside.
    pub(super) fn at(&self, [x, y]: Point) -> Colour {
        let x = (x.max(0.0) as usize).min(self.width - 1);
        let y = (y.max(0.0) as usize).min(self.height - 1);
        self.pixels[y * self.width + x]
    }

    /// 8-bit pixels, red first, with a camera's noise.
    pub(super) fn finish(self, difficulty: f64, rng: &mut Rng) -> Vec<u8> {
        let sigma = between(rng, 0.5, 2.0 + 8.0 * difficulty);
        let mut out = Vec::with_capacity(self.pixels.len() * 3);
        for pixel in self.pixels {
            // Eight random bytes: the sum of four, less its mean of 510, has a deviation of 148.
            let bytes = rng.next_u64().to_le_bytes();
            let sum = |at: usize| bytes[at..at + 4].iter().map(|it| i32::from(*it)).sum::<i32>() - 510;
            let [light, tint] = [sum(0), sum(4)].map(|it| it as f32 / 148.0 * sigma);
            for (c, value) in pixel.into_iter().enumerate() {
                let noise = light + [0.5, 0.0, -0.5][c] * tint;
                out.push((value + noise + 0.5).clamp(0.0, 255.0) as u8);
            }
        }
        out
    }
}

/// How an object is filled: one colour towards another, by a gradient or by stripes.
pub(super) struct Fill {
    from: Colour,
    to: Colour,
    direction: Point,
    /// Stripes across the object; 0 is a gradient.
    stripes: f32,
}

impl Fill {
    /// A fill whose first colour differs from `ground` by at least `contrast` in one channel.
    pub(super) fn against(ground: Colour, contrast: f32, rng: &mut Rng) -> Self {
        let differs = |it: &Colour| (0..3).any(|c| (it[c] - ground[c]).abs() >= contrast);
        let from = (0..20).map(|_| any_colour(rng)).find(differs).unwrap_or(ground.map(|it| 255.0 - it));
        let other = any_colour(rng);
        let to = mix(from, other, between(rng, 0.0, 0.35));
        let stripes = if rng.chance(0.3) { between(rng, 1.5, 4.0) } else { 0.0 };
        Fill { from, to, direction: direction(rng), stripes }
    }

    /// The colour at a point of the outline's own system.
    pub(super) fn at(&self, p: Point) -> Colour {
        let along = p[0] * self.direction[0] + p[1] * self.direction[1];
        let part = if self.stripes > 0.0 { (zigzag(along * self.stripes) * 3.0).clamp(-1.0, 1.0) } else { along };
        mix(self.from, self.to, (part * 0.5 + 0.5).clamp(0.0, 1.0))
    }
}

/// Lays `colour` over `pixel`, `part` of it.
pub(super) fn cover(pixel: &mut Colour, colour: Colour, part: f32) {
    *pixel = mix(*pixel, colour, part);
}
