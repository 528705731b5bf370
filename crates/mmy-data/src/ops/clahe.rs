//! Contrast-limited adaptive histogram equalisation, as OpenCV's `CLAHE`.

use mmy_structures::Image;

use super::{blur::mirrored, lab};

/// Equalises the lightness (CIELAB) of a picture, tile by tile. `limit` bounds how often one lightness counts, relative
/// to an even spread; `tiles` are columns and rows.
pub fn clahe(image: &mut Image, limit: f64, tiles: [usize; 2]) {
    if image.data().is_empty() {
        return;
    }
    let (height, width) = image.shape();
    let mut lab: Vec<_> = image.data().chunks_exact(3).map(|it| lab::from_bgr([it[0], it[1], it[2]])).collect();
    let light: Vec<u8> = lab.iter().map(|it| (it[0] * 2.55).round().clamp(0.0, 255.0) as u8).collect();
    for (lab, light) in lab.iter_mut().zip(equalise(&light, height, width, limit, tiles)) {
        lab[0] = f32::from(light) / 2.55;
    }
    for (pixel, lab) in image.data_mut().chunks_exact_mut(3).zip(lab) {
        pixel.copy_from_slice(&lab::to_bgr(lab));
    }
}

/// One channel of `height` × `width` pixels.
fn equalise(from: &[u8], height: usize, width: usize, limit: f64, [columns, rows]: [usize; 2]) -> Vec<u8> {
    // Tiles of one size, over a picture that is continued by its mirror image.
    let (tile_w, tile_h) = (width.div_ceil(columns), height.div_ceil(rows));
    let mut maps = Vec::with_capacity(columns * rows);
    for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
        let mut counts = [0u32; 256];
        for y in row * tile_h..(row + 1) * tile_h {
            let line = mirrored(y as i64, height) * width;
            for x in column * tile_w..(column + 1) * tile_w {
                counts[usize::from(from[line + mirrored(x as i64, width)])] += 1;
            }
        }
        maps.push(tile_map(counts, tile_w * tile_h, limit));
    }
    // Between the middles of four tiles their maps are mixed.
    let place = |at: usize, size: usize, count: usize| {
        let place = at as f32 / size as f32 - 0.5;
        let first = place.floor();
        let inside = |it: f32| it.clamp(0.0, (count - 1) as f32) as usize;
        (inside(first), inside(first + 1.0), place - first)
    };
    let mut out = Vec::with_capacity(from.len());
    for y in 0..height {
        let (above, below, down) = place(y, tile_h, rows);
        for x in 0..width {
            let (left, right, along) = place(x, tile_w, columns);
            let value = usize::from(from[y * width + x]);
            let at = |row: usize, column: usize| f32::from(maps[row * columns + column][value]);
            let upper = at(above, left) * (1.0 - along) + at(above, right) * along;
            let lower = at(below, left) * (1.0 - along) + at(below, right) * along;
            out.push((upper * (1.0 - down) + lower * down).round_ties_even() as u8);
        }
    }
    out
}

/// The map of one tile: its histogram, cut off at the limit and spread out again, summed up.
fn tile_map(mut counts: [u32; 256], pixels: usize, limit: f64) -> [u8; 256] {
    let limit = ((limit * pixels as f64 / 256.0) as u32).max(1);
    let mut cut = 0;
    for it in &mut counts {
        cut += it.saturating_sub(limit);
        *it = (*it).min(limit);
    }
    let rest = (cut % 256) as usize;
    counts.iter_mut().for_each(|it| *it += cut / 256);
    if let Some(step) = 256usize.checked_div(rest) {
        counts.iter_mut().step_by(step.max(1)).take(rest).for_each(|it| *it += 1);
    }
    let mut sum = 0;
    counts.map(|it| {
        sum += it;
        (sum as f32 * (255.0 / pixels as f32)).round_ties_even().min(255.0) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_each_tile_is_equalised() {
        // One tile with four levels, a quarter of the pixels each: they become quarters of the range.
        let from: Vec<u8> = (0..64).map(|it| 100 + it % 4).collect();
        let out = equalise(&from, 8, 8, 1e5, [1, 1]);
        assert_eq!(out[..4], [64, 128, 191, 255]);
    }

    #[test]
    fn the_limit_keeps_contrast_low_and_flat_pictures_flat() {
        let from: Vec<u8> = (0..4096).map(|it| 100 + (it % 64 / 16) as u8).collect();
        let spread = |limit| {
            let out = equalise(&from, 64, 64, limit, [1, 1]);
            out[63] - out[0]
        };
        assert!(spread(1.0) < spread(8.0) && spread(8.0) < spread(64.0));
        let mut image = Image::filled(37, 51, [90, 90, 90]);
        clahe(&mut image, 2.0, [8, 8]);
        let first = image.pixel(0, 0);
        assert!(image.data().iter().all(|it| it.abs_diff(first[0]) <= 1), "{first:?}");
    }

    #[test]
    fn pictures_smaller_than_the_grid() {
        let mut image = Image::filled(3, 5, [10, 20, 30]);
        clahe(&mut image, 4.0, [8, 8]);
        assert_eq!(image.shape(), (3, 5));
    }
}
