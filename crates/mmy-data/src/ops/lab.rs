//! CIELAB from sRGB and back, with white at D65; lightness in 0 to 100.

use std::sync::LazyLock;

/// sRGB's transfer function, from 8 bits to linear 0 to 1.
static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|it| {
        let it = it as f32 / 255.0;
        if it <= 0.04045 { it / 12.92 } else { ((it + 0.055) / 1.055).powf(2.4) }
    })
});

/// X and Z of white, where Y is 1.
const WHITE: [f32; 2] = [0.950_456, 1.088_754];
/// Where CIE's cube root gives way to a line.
const EDGE: f32 = 6.0 / 29.0;

/// `[blue, green, red]` as lightness, a, b.
pub(super) fn from_bgr(bgr: [u8; 3]) -> [f32; 3] {
    let [b, g, r] = bgr.map(|it| LINEAR[usize::from(it)]);
    let root = |it: f32| if it > EDGE * EDGE * EDGE { it.cbrt() } else { it / (3.0 * EDGE * EDGE) + 4.0 / 29.0 };
    let x = root((0.412_453 * r + 0.357_580 * g + 0.180_423 * b) / WHITE[0]);
    let y = root(0.212_671 * r + 0.715_160 * g + 0.072_169 * b);
    let z = root((0.019_334 * r + 0.119_193 * g + 0.950_227 * b) / WHITE[1]);
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// Lightness, a, b as `[blue, green, red]`, cut to what 8 bits can show.
pub(super) fn to_bgr([lightness, a, b]: [f32; 3]) -> [u8; 3] {
    let y = (lightness + 16.0) / 116.0;
    let cube = |it: f32| if it > EDGE { it * it * it } else { 3.0 * EDGE * EDGE * (it - 4.0 / 29.0) };
    let (x, z) = (cube(y + a / 500.0) * WHITE[0], cube(y - b / 200.0) * WHITE[1]);
    let y = cube(y);
    let r = 3.240_479 * x - 1.537_15 * y - 0.498_535 * z;
    let g = -0.969_256 * x + 1.875_991 * y + 0.041_556 * z;
    let b = 0.055_648 * x - 0.204_043 * y + 1.057_311 * z;
    [b, g, r].map(|it| {
        let it = it.clamp(0.0, 1.0);
        let it = if it <= 0.003_130_8 { it * 12.92 } else { 1.055 * it.powf(1.0 / 2.4) - 0.055 };
        (it * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_colours_and_the_way_back() {
        let check = |bgr: [u8; 3], expect: [f32; 3]| {
            let lab = from_bgr(bgr);
            assert!(lab.iter().zip(expect).all(|(a, b)| (a - b).abs() < 0.06), "{bgr:?}: {lab:?}, not {expect:?}");
        };
        // Values of the CIE formulas for sRGB's primaries.
        check([0, 0, 0], [0.0, 0.0, 0.0]);
        check([255, 255, 255], [100.0, 0.0, 0.0]);
        check([0, 0, 255], [53.24, 80.09, 67.20]);
        check([0, 255, 0], [87.73, -86.18, 83.18]);
        check([255, 0, 0], [32.30, 79.19, -107.86]);
        for bgr in (0..4096u32).map(|it| [it % 16, it / 16 % 16, it / 256].map(|it| (it * 17) as u8)) {
            let back = to_bgr(from_bgr(bgr));
            assert!(back.iter().zip(bgr).all(|(a, b)| a.abs_diff(b) <= 1), "{bgr:?} {back:?}");
        }
    }
}
