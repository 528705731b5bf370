//! Hue, saturation and value of 8-bit pictures, as OpenCV's `cvtColor` makes them: hue in 0 to 179.
//!
//! The arithmetic is written without branches, tables or saturating casts, over planes of a few hundred pixels, so that
//! compilers turn it into vector instructions.

use mmy_structures::Image;

/// Pixels at a time: what fits the first cache several times over.
const BLOCK: usize = 256;

/// Fractions have 12 bits.
const SHIFT: u32 = 12;
const HALF: i32 = 1 << (SHIFT - 1);

/// The nearest whole number, halves to even, of a float whose size is below 2²²: adding 1.5 · 2²³ leaves it in the low
/// bits.
#[inline(always)]
fn round(it: f32) -> i32 {
    const MAGIC: f32 = 12_582_912.0;
    (it + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32
}

/// The whole part of a float in 0 to 255, as a byte.
#[inline(always)]
fn byte(it: f32) -> u8 {
    (it.floor() + 8_388_608.0).to_bits() as u8
}

/// One pixel, `[blue, green, red]`, as `[hue, saturation, value]`.
#[inline(always)]
fn to_hsv(b: u8, g: u8, r: u8) -> [u8; 3] {
    let [b, g, r] = [b, g, r].map(i32::from);
    let value = b.max(g).max(r);
    let range = value - b.min(g).min(r);
    // OpenCV looks these two up: range of the result / n with 12 bits behind the point. At n = 0 the range is 0 too.
    let over = |whole: f32, n: i32| round(whole * (1 << SHIFT) as f32 / n.max(1) as f32);
    let saturation = (range * over(255.0, value) + HALF) >> SHIFT;
    let hue = if value == r {
        g - b
    } else if value == g {
        b - r + 2 * range
    } else {
        r - g + 4 * range
    };
    let hue = (hue * over(30.0, range) + HALF) >> SHIFT;
    [(if hue < 0 { hue + 180 } else { hue }) as u8, saturation as u8, value as u8]
}

/// Hue in sixths of a turn, saturation and value in 0 to 1, as `[blue, green, red]`; fractions of a level are cut off,
/// as OpenCV does, and products are added without rounding in between, as its compiler chose.
#[inline(always)]
fn to_bgr(hue: f32, s: f32, v: f32) -> [u8; 3] {
    let sector = hue.floor();
    let f = hue - sector;
    let (p, q, t) = (v * (1.0 - s), v * s.mul_add(-f, 1.0), v * s.mul_add(f - 1.0, 1.0));
    let pick = |of: [f32; 6]| {
        let mut out = of[5];
        for (n, it) in of.into_iter().enumerate().take(5).rev() {
            out = if sector <= n as f32 { it } else { out };
        }
        byte(out * 255.0)
    };
    [pick([p, p, t, v, v, q]), pick([t, v, v, q, p, p]), pick([v, q, p, p, t, v])]
}

/// Interleaved pixels, blue first, in three planes.
#[derive(Clone)]
struct Planes([[u8; BLOCK]; 3]);

impl Planes {
    #[inline(always)]
    fn read(&mut self, pixels: &[u8]) {
        let [a, b, c] = &mut self.0;
        for (((pixel, a), b), c) in pixels.chunks_exact(3).zip(a).zip(b).zip(c) {
            (*a, *b, *c) = (pixel[0], pixel[1], pixel[2]);
        }
    }

    #[inline(always)]
    fn write(&self, pixels: &mut [u8]) {
        let [a, b, c] = &self.0;
        for (((pixel, a), b), c) in pixels.chunks_exact_mut(3).zip(a).zip(b).zip(c) {
            (pixel[0], pixel[1], pixel[2]) = (*a, *b, *c);
        }
    }

    #[inline(always)]
    fn map(&mut self, f: impl Fn(u8, u8, u8) -> [u8; 3]) {
        let [a, b, c] = &mut self.0;
        for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
            [*a, *b, *c] = f(*a, *b, *c);
        }
    }
}

/// What becomes of hue (in sixths of a turn), saturation and value (0 to 1), for each of their 8-bit values.
#[derive(Debug, Clone, PartialEq)]
pub struct HsvTables {
    hue: [f32; 256],
    saturation: [f32; 256],
    value: [f32; 256],
}

impl HsvTables {
    /// Hue times a gain (modulo a turn), saturation and value times theirs (at most 255). Between the two conversions
    /// each is a whole number again, fractions cut off.
    pub fn gains(hue: f64, saturation: f64, value: f64) -> Self {
        let table = |f: &dyn Fn(f64) -> f64, unit: f32| std::array::from_fn(|it| f(it as f64) as u8 as f32 * unit);
        HsvTables {
            hue: table(&|it| (it * hue).rem_euclid(180.0), 6.0 / 180.0),
            saturation: table(&|it| (it * saturation).clamp(0.0, 255.0), 1.0 / 255.0),
            value: table(&|it| (it * value).clamp(0.0, 255.0), 1.0 / 255.0),
        }
    }

    /// Sends all pixels through the tables.
    pub fn apply(&self, image: &mut Image) {
        pulp::Arch::new().dispatch(Apply { tables: self, pixels: image.data_mut() });
    }
}

/// The work of [`HsvTables::apply`]; a closure of this size would not be compiled into the dispatching function.
struct Apply<'a> {
    tables: &'a HsvTables,
    pixels: &'a mut [u8],
}

impl pulp::WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let mut planes = Planes([[0; BLOCK]; 3]);
        let mut hsv = [[0f32; BLOCK]; 3];
        for pixels in self.pixels.chunks_mut(3 * BLOCK) {
            planes.read(pixels);
            planes.map(to_hsv);
            let tables = [&self.tables.hue, &self.tables.saturation, &self.tables.value];
            for ((to, from), table) in hsv.iter_mut().zip(&planes.0).zip(tables) {
                for (to, from) in to.iter_mut().zip(from) {
                    *to = table[usize::from(*from)];
                }
            }
            let ([b, g, r], [h, s, v]) = (&mut planes.0, &hsv);
            for n in 0..BLOCK {
                [b[n], g[n], r[n]] = to_bgr(h[n], s[n], v[n]);
            }
            planes.write(pixels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::golden;

    #[test]
    fn equals_opencv() {
        let image = golden::picture("im");
        let mut hsv = image.clone();
        for pixel in hsv.data_mut().chunks_exact_mut(3) {
            pixel.copy_from_slice(&to_hsv(pixel[0], pixel[1], pixel[2]));
        }
        assert_eq!(golden::difference(&hsv, &golden::picture("hsv.bgr2hsv")), (0, 0));
        let numbers = golden::json();
        for case in ["hsv0", "hsv1", "hsv2"] {
            let [h, s, v] = [0, 1, 2].map(|it| numbers[case][it].as_f64().unwrap());
            let mut ours = image.clone();
            HsvTables::gains(1.0 + 0.015 * h, 1.0 + 0.7 * s, 1.0 + 0.4 * v).apply(&mut ours);
            assert_eq!(golden::difference(&ours, &golden::picture(&format!("{case}.img"))), (0, 0), "{case}");
        }
    }

    #[test]
    fn pixels_do_not_depend_on_their_neighbours() {
        let image = golden::picture("im");
        let tables = HsvTables::gains(1.01, 0.6, 1.3);
        let mut whole = image.clone();
        tables.apply(&mut whole);
        for (a, b) in image.data().chunks_exact(3).zip(whole.data().chunks_exact(3)).step_by(97) {
            let mut one = Image::new(1, 1, a.to_vec()).unwrap();
            tables.apply(&mut one);
            assert_eq!(one.data(), b);
        }
    }

    #[test]
    fn the_divisions_are_those_of_64_bits() {
        for n in 1..=255 {
            for whole in [255.0, 30.0] {
                let exact = (whole * 4096.0 / f64::from(n)).round_ties_even() as i32;
                assert_eq!(round(whole as f32 * 4096.0 / n as f32), exact, "{whole} / {n}");
            }
        }
    }
}
