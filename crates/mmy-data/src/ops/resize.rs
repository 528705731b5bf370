//! Other sizes, as OpenCV's `resize` makes them.

use mmy_structures::Image;

use crate::Buffers;

/// How a picture gets another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// Between the four nearest pixels: `INTER_LINEAR`.
    Bilinear,
    /// The mean over each new pixel's area, without moiré when shrinking: `INTER_AREA`.
    Area,
}

/// `image` in another size, byte for byte as OpenCV's `resize` for 8-bit pictures.
pub fn resize(image: Image, height: usize, width: usize, interpolation: Interpolation, buffers: &mut Buffers) -> Image {
    let (from_height, from_width) = image.shape();
    if (height, width) == (from_height, from_width) || image.data().is_empty() {
        return image;
    }
    let mut out = buffers.image(height, width);
    let (scale_y, scale_x) = (from_height as f64 / height.max(1) as f64, from_width as f64 / width.max(1) as f64);
    let shrinks = scale_y >= 1.0 && scale_x >= 1.0;
    let whole = |it: f64| (it - it.round()).abs() < f64::EPSILON;
    match interpolation {
        // Halving is where the two agree, and OpenCV takes the faster way.
        _ if shrinks && scale_y == 2.0 && scale_x == 2.0 => area_whole(&image, &mut out, 2, 2),
        Interpolation::Area if shrinks && whole(scale_y) && whole(scale_x) => {
            area_whole(&image, &mut out, scale_y.round() as usize, scale_x.round() as usize);
        }
        Interpolation::Area if shrinks => area(&image, &mut out, scale_y, scale_x),
        _ => bilinear(&image, &mut out, scale_y, scale_x, interpolation),
    }
    buffers.give_image(image);
    out
}

/// Weights have 11 bits.
const ONE: i32 = 1 << 11;

/// One new pixel along an axis: its two source pixels and their weights.
struct Tap {
    at: [usize; 2],
    weights: [i32; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Axis {
    Column,
    Row,
}

/// The taps of one axis, `to` new pixels from `from` old ones.
fn taps(from: usize, to: usize, scale: f64, interpolation: Interpolation, axis: Axis) -> Vec<Tap> {
    let last = from as i64 - 1;
    let tap = |new: usize| {
        let (at, mut fraction) = match interpolation {
            Interpolation::Bilinear => {
                let place = ((new as f64 + 0.5) * scale - 0.5) as f32;
                (place.floor() as i64, place - place.floor())
            }
            // Growing "by area": a source pixel covers whole new pixels but where its edge falls into one.
            Interpolation::Area => {
                let at = (new as f64 * scale).floor();
                let over = ((new + 1) as f64 - (at + 1.0) / scale) as f32;
                (at as i64, if over <= 0.0 { 0.0 } else { over - over.floor() })
            }
        };
        // Beyond the edge the two are one, but OpenCV keeps the fraction along columns, which shows in the rounding.
        if axis == Axis::Column && (at < 0 || at >= last) {
            fraction = 0.0;
        }
        // Each rounded by itself, so that they need not sum up to one.
        let weights = [1.0 - fraction, fraction].map(|it| (it * ONE as f32).round_ties_even() as i32);
        Tap { at: [at, at + 1].map(|it| it.clamp(0, last) as usize), weights }
    };
    (0..to).map(tap).collect()
}

fn bilinear(image: &Image, out: &mut Image, scale_y: f64, scale_x: f64, interpolation: Interpolation) {
    let (height, width) = out.shape();
    let columns = taps(image.width(), width, scale_x, interpolation, Axis::Column);
    // The two source rows in use, already of the new width; moving down, the lower becomes the upper.
    let mut rows = [(usize::MAX, vec![0i32; width * Image::CHANNELS]), (usize::MAX, vec![0; width * Image::CHANNELS])];
    for (y, tap) in taps(image.height(), height, scale_y, interpolation, Axis::Row).iter().enumerate() {
        if rows[1].0 == tap.at[0] {
            rows.swap(0, 1);
        }
        for (row, &at) in rows.iter_mut().zip(&tap.at) {
            if row.0 != at {
                row.0 = at;
                along_row(image.row(at), &columns, &mut row.1);
            }
        }
        let [upper, lower] = tap.weights;
        for ((out, a), b) in out.row_mut(y).iter_mut().zip(&rows[0].1).zip(&rows[1].1) {
            // Rounded in the same two places as OpenCV's 16-bit multiplications.
            *out = ((((upper * (a >> 4)) >> 16) + ((lower * (b >> 4)) >> 16) + 2) >> 2) as u8;
        }
    }
}

fn along_row(row: &[u8], columns: &[Tap], out: &mut [i32]) {
    for (out, tap) in out.chunks_exact_mut(Image::CHANNELS).zip(columns) {
        let [left, right] = tap.at.map(|it| &row[it * Image::CHANNELS..][..Image::CHANNELS]);
        for c in 0..Image::CHANNELS {
            out[c] = i32::from(left[c]) * tap.weights[0] + i32::from(right[c]) * tap.weights[1];
        }
    }
}

/// The mean over blocks of whole pixels.
fn area_whole(image: &Image, out: &mut Image, step_y: usize, step_x: usize) {
    let scale = 1.0 / (step_y * step_x) as f32;
    for y in 0..out.height() {
        for (x, pixel) in out.row_mut(y).chunks_exact_mut(Image::CHANNELS).enumerate() {
            let mut sum = [0u32; Image::CHANNELS];
            for dy in 0..step_y {
                let block = &image.row(y * step_y + dy)[x * step_x * Image::CHANNELS..][..step_x * Image::CHANNELS];
                for (at, value) in block.iter().enumerate() {
                    sum[at % Image::CHANNELS] += u32::from(*value);
                }
            }
            for (value, sum) in pixel.iter_mut().zip(sum) {
                *value = match (step_y, step_x) {
                    (2, 2) => ((sum + 2) >> 2) as u8,
                    _ => (sum as f32 * scale).round_ties_even() as u8,
                };
            }
        }
    }
}

/// The source pixels under one new pixel of an axis, and how much of each.
struct Cover {
    first: usize,
    weights: Vec<f32>,
}

fn covers(from: usize, to: usize, scale: f64) -> Vec<Cover> {
    let cover = |new: usize| {
        let start = new as f64 * scale;
        let end = start + scale;
        let size = scale.min(from as f64 - start);
        let last = (end.floor() as usize).min(from - 1);
        let mut first = (start.ceil() as usize).min(last);
        let mut weights = vec![(1.0 / size) as f32; last - first];
        // Slivers of less than a thousandth of a pixel are left out, as in OpenCV.
        if first as f64 - start > 1e-3 {
            weights.insert(0, ((first as f64 - start) / size) as f32);
            first -= 1;
        }
        if end - last as f64 > 1e-3 {
            weights.push(((end - last as f64).min(1.0).min(size) / size) as f32);
        }
        Cover { first, weights }
    };
    (0..to).map(cover).collect()
}

/// The mean over areas with fractions of pixels.
fn area(image: &Image, out: &mut Image, scale_y: f64, scale_x: f64) {
    let (height, width) = out.shape();
    let columns = covers(image.width(), width, scale_x);
    let mut row = vec![0f32; width * Image::CHANNELS];
    let mut sum = vec![0f32; width * Image::CHANNELS];
    for (y, cover) in covers(image.height(), height, scale_y).iter().enumerate() {
        sum.fill(0.0);
        for (at, weight) in (cover.first..).zip(&cover.weights) {
            let from = image.row(at);
            for (out, cover) in row.chunks_exact_mut(Image::CHANNELS).zip(&columns) {
                let mut mean = [0f32; Image::CHANNELS];
                let pixels = from[cover.first * Image::CHANNELS..].chunks_exact(Image::CHANNELS);
                for (pixel, weight) in pixels.zip(&cover.weights) {
                    for c in 0..Image::CHANNELS {
                        mean[c] += f32::from(pixel[c]) * weight;
                    }
                }
                out.copy_from_slice(&mean);
            }
            for (sum, value) in sum.iter_mut().zip(&row) {
                *sum += weight * value;
            }
        }
        for (out, sum) in out.row_mut(y).iter_mut().zip(&sum) {
            *out = sum.round_ties_even() as u8;
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
        for (width, height) in [(64, 48), (100, 75), (128, 96), (200, 150), (53, 71)] {
            for (name, interpolation) in [("bilinear", Interpolation::Bilinear), ("area", Interpolation::Area)] {
                let name = format!("resize.{name}.{width}x{height}");
                let ours = resize(image.clone(), height, width, interpolation, &mut Buffers::default());
                assert_eq!(golden::difference(&ours, &golden::picture(&name)), (0, 0), "{name}");
            }
        }
    }

    #[test]
    fn any_size_from_any_size() {
        for (height, width, to_height, to_width) in
            [(1, 1, 5, 7), (7, 5, 1, 1), (9, 2, 3, 1), (2, 3, 3, 2), (0, 0, 4, 4)]
        {
            for interpolation in [Interpolation::Bilinear, Interpolation::Area] {
                let image = Image::filled(height, width, [9, 100, 255]);
                let out = resize(image, to_height, to_width, interpolation, &mut Buffers::default());
                let empty = height == 0;
                assert_eq!(out.shape(), if empty { (0, 0) } else { (to_height, to_width) });
                assert!(out.data().chunks(3).all(|it| it == [9, 100, 255]), "{height}×{width} {interpolation:?}");
            }
        }
    }
}
