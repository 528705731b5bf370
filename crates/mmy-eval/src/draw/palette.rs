//! Colours of classes.

/// The colour of a class as `[blue, green, red]`, always the same for one index.
///
/// Hues step by the golden angle, which keeps any number of consecutive ones apart, and lightness alternates between
/// three levels. Both are measured in OKLCH (Ottosson 2020), where equal steps look equal, so that no class is paler
/// than the next; chroma is as much as sRGB has at that place, up to a limit.
pub fn color(label: u32) -> [u8; 3] {
    const GOLDEN_ANGLE: f64 = 137.507_764_050_037_85;
    // The first class is an orange-red that stands out on most photographs.
    let hue = (f64::from(label) * GOLDEN_ANGLE + 35.0).to_radians();
    let lightness = [0.68, 0.78, 0.58][label as usize % 3];
    let mut chroma = 0.23;
    loop {
        let rgb = srgb(lightness, chroma * hue.cos(), chroma * hue.sin());
        if rgb.iter().all(|it| (0.0..=1.0).contains(it)) || chroma < 0.01 {
            let [r, g, b] = rgb.map(|it| (it.clamp(0.0, 1.0) * 255.0).round() as u8);
            return [b, g, r];
        }
        chroma -= 0.005;
    }
}

/// OKLab to gamma-encoded sRGB in 0 to 1, outside of it for colours that sRGB does not have.
fn srgb(l: f64, a: f64, b: f64) -> [f64; 3] {
    let [l, m, s] = [
        l + 0.396_337_777_4 * a + 0.215_803_757_3 * b,
        l - 0.105_561_345_8 * a - 0.063_854_172_8 * b,
        l - 0.089_484_177_5 * a - 1.291_485_548_0 * b,
    ]
    .map(|it| it * it * it);
    [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
    ]
    .map(|it| if it <= 0.003_130_8 { 12.92 * it } else { 1.055 * it.powf(1.0 / 2.4) - 0.055 })
}

/// Black or white, whichever reads better on `ground` (by WCAG's contrast ratio).
pub(super) fn ink(ground: [u8; 3]) -> [u8; 3] {
    let luminance = luminance(ground);
    if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) { [0; 3] } else { [255; 3] }
}

/// Relative luminance, 0 for black and 1 for white.
fn luminance([b, g, r]: [u8; 3]) -> f64 {
    let linear = |it: u8| {
        let it = f64::from(it) / 255.0;
        if it <= 0.040_45 { it / 12.92 } else { ((it + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_differ_and_text_reads() {
        let colors: Vec<_> = (0..80).map(color).collect();
        let distance =
            |a: [u8; 3], b: [u8; 3]| a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(b)).powi(2)).sum::<f64>().sqrt();
        for (i, a) in colors.iter().enumerate() {
            for b in &colors[i.saturating_sub(7)..i] {
                assert!(distance(*a, *b) > 40.0, "{i}: {a:?} {b:?}");
            }
            let (ground, ink) = (luminance(*a), luminance(ink(*a)));
            let contrast = (ground.max(ink) + 0.05) / (ground.min(ink) + 0.05);
            assert!(contrast > 4.5, "{i}: {a:?} has a contrast of {contrast}");
        }
        assert_eq!((ink([255; 3]), ink([0; 3])), ([0; 3], [255; 3]));
        // No index overflows.
        assert_ne!(color(u32::MAX), color(u32::MAX - 1));
    }
}
