//! Affine maps of pictures, as OpenCV's `warpPerspective` makes them.

use std::ops::Range;

use mmy_structures::Image;

use crate::Buffers;

/// Source places have 5 bits behind the point.
const STEPS: f64 = 32.0;

/// Three channels in one word, 21 bits apart: room for a sum of 8-bit values under weights of 10 bits each.
const LANE: u32 = 21;

/// The picture that `matrix` (old pixel to new pixel; rows of x, y, 1) makes of `image`, `height` × `width`, bilinear,
/// with `border` outside of the old picture. Nothing for a matrix that cannot be inverted.
///
/// Weights are fixed-point numbers with 5 bits for each axis, as in OpenCV.
pub fn warp_affine(
    image: &Image,
    matrix: [[f64; 3]; 2],
    height: usize,
    width: usize,
    border: [u8; 3],
    buffers: &mut Buffers,
) -> Option<Image> {
    let inverse = invert(matrix)?;
    let mut out = buffers.image(height, width);
    pulp::Arch::new().dispatch(Warp { image, inverse, border, out: &mut out });
    Some(out)
}

/// The work of [`warp_affine`].
struct Warp<'a> {
    image: &'a Image,
    inverse: [[f64; 3]; 2],
    border: [u8; 3],
    out: &'a mut Image,
}

impl pulp::WithSimd for Warp<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Warp { image, inverse, border, out } = self;
        let (height, width) = out.shape();
        // Where the source place of each column lies; the part that depends on the row alone comes on top.
        let along: [Vec<f64>; 2] = inverse.map(|row| (0..width).map(|x| row[0] * x as f64).collect());
        let mut xs = vec![0; width];
        let mut ys = vec![0; width];
        let upright = inverse[0][1] == 0.0 && inverse[1][0] == 0.0;
        let mut blended = vec![0; if upright { image.width() * Image::CHANNELS } else { 0 }];
        for y in 0..height {
            let start = inverse.map(|row| row[1] * y as f64 + row[2]);
            for ((places, along), start) in [&mut xs, &mut ys].into_iter().zip(&along).zip(start) {
                for (place, along) in places.iter_mut().zip(along) {
                    *place = steps(start + along);
                }
            }
            let inside = if upright { inside(&xs, ys[0], image) } else { 0..0 };
            let (before, rest) = out.row_mut(y).split_at_mut(inside.start * Image::CHANNELS);
            let (middle, after) = rest.split_at_mut(inside.len() * Image::CHANNELS);
            warp_row(image, &xs[..inside.start], &ys[..inside.start], border, before);
            if !inside.is_empty() {
                stretch_row(image, &xs[inside.clone()], ys[0], &mut blended, middle);
            }
            warp_row(image, &xs[inside.end..], &ys[inside.end..], border, after);
        }
    }
}

/// Which columns of a row without rotation and shear have all four of their source pixels in the picture. The places
/// grow or fall along the row, so that these columns are neighbours.
#[inline(always)]
fn inside(xs: &[i32], y: i32, image: &Image) -> Range<usize> {
    let within = |place: i32, len: usize| place >= 0 && place >> 5 < len as i32 - 1;
    if !within(y, image.height()) {
        return 0..0;
    }
    let column = |it: &i32| within(*it, image.width());
    match (xs.iter().position(column), xs.iter().rposition(column)) {
        (Some(first), Some(last)) => first..last + 1,
        _ => 0..0,
    }
}

/// A row without rotation and shear, all inside: first the two source rows are blended, then neighbours in them.
#[inline(always)]
fn stretch_row(image: &Image, xs: &[i32], y: i32, blended: &mut [u16], out: &mut [u8]) {
    let (top, b) = ((y >> 5) as usize, (y & 31) as u16);
    let ends = [xs[0], xs[xs.len() - 1]].map(|it| (it >> 5) as usize * Image::CHANNELS);
    let used = ends[0].min(ends[1])..ends[0].max(ends[1]) + 2 * Image::CHANNELS;
    let (upper, lower) = (&image.row(top)[used.clone()], &image.row(top + 1)[used.clone()]);
    for ((blended, upper), lower) in blended[used].iter_mut().zip(upper).zip(lower) {
        *blended = u16::from(*upper) * (32 - b) + u16::from(*lower) * b;
    }
    for (out, &x) in out.chunks_exact_mut(Image::CHANNELS).zip(xs) {
        let pair = &blended[(x >> 5) as usize * Image::CHANNELS..][..2 * Image::CHANNELS];
        let a = (x & 31) as u32;
        for c in 0..Image::CHANNELS {
            let sum = u32::from(pair[c]) * (32 - a) + u32::from(pair[c + Image::CHANNELS]) * a;
            out[c] = ((sum + 512) >> 10) as u8;
        }
    }
}

/// A source place in steps, halves to even; too far away stays far away.
///
/// Added to a number of less than 2⁵¹, 1.5 · 2⁵² leaves the whole part in the low bits: unlike a saturating cast that
/// compiles to vector instructions.
#[inline(always)]
fn steps(place: f64) -> i32 {
    const FAR: f64 = (1 << 30) as f64;
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    ((place * STEPS).clamp(-FAR, FAR) + MAGIC).to_bits() as i32
}

#[inline(always)]
fn warp_row(image: &Image, xs: &[i32], ys: &[i32], border: [u8; 3], out: &mut [u8]) {
    let (height, width) = (image.height() as i32, image.width() as i32);
    let stride = image.width() * Image::CHANNELS;
    let data = image.data();
    for ((out, &x), &y) in out.chunks_exact_mut(Image::CHANNELS).zip(xs).zip(ys) {
        let (left, top) = (x >> 5, y >> 5);
        let (a, b) = ((x & 31) as u64, (y & 31) as u64);
        let at = |dx: i32, dy: i32| (top + dy) as usize * stride + (left + dx) as usize * Image::CHANNELS;
        let [p00, p01, p10, p11] = if left >= 0 && top >= 0 && left < width - 1 && top < height - 1 {
            let upper = &data[at(0, 0)..][..6];
            let lower = &data[at(0, 1)..][..6];
            [lanes(&upper[..3]), lanes(&upper[3..]), lanes(&lower[..3]), lanes(&lower[3..])]
        } else if left < -1 || top < -1 || left >= width || top >= height {
            out.copy_from_slice(&border);
            continue;
        } else {
            [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| {
                let inside = (0..width).contains(&(left + dx)) && (0..height).contains(&(top + dy));
                lanes(if inside { &data[at(dx, dy)..][..3] } else { &border })
            })
        };
        let round = 512 * (1 | 1 << LANE | 1 << (2 * LANE));
        let upper = p00 * (32 - a) + p01 * a;
        let lower = p10 * (32 - a) + p11 * a;
        let sum = (upper * (32 - b) + lower * b + round) >> 10;
        out[0] = sum as u8;
        out[1] = (sum >> LANE) as u8;
        out[2] = (sum >> (2 * LANE)) as u8;
    }
}

#[inline(always)]
fn lanes(pixel: &[u8]) -> u64 {
    u64::from(pixel[0]) | u64::from(pixel[1]) << LANE | u64::from(pixel[2]) << (2 * LANE)
}

fn invert([[a, b, c], [d, e, f]]: [[f64; 3]; 2]) -> Option<[[f64; 3]; 2]> {
    let det = a * e - b * d;
    let out = [[e / det, -b / det, (b * f - c * e) / det], [-d / det, a / det, (c * d - a * f) / det]];
    out.as_flattened().iter().all(|it| it.is_finite()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::golden;

    #[test]
    fn without_rotation_it_is_the_limit_of_a_small_one() {
        // A rotation too small to move any place by a step takes the general way.
        let image = golden::by_rule("warp", 40, 60);
        for (scale, dx, dy) in
            [(0.7, 3.0, -5.0), (1.6, -20.3, 7.7), (-1.0, 50.0, 2.0), (1.0, 100.0, 0.0), (1.0, 0.0, 0.0)]
        {
            let map = |tiny: f64| {
                let matrix = [[scale, tiny, dx + 1e-3], [tiny, 1.3, dy + 1e-3]];
                warp_affine(&image, matrix, 45, 50, [1, 2, 3], &mut Buffers::default()).unwrap()
            };
            assert_eq!(golden::difference(&map(0.0), &map(1e-12)), (0, 0), "{scale} {dx} {dy}");
        }
        let flat = [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]];
        assert!(warp_affine(&image, flat, 4, 4, [0; 3], &mut Buffers::default()).is_none());
    }

    #[test]
    fn equals_opencv() {
        let mosaic = golden::picture("mosaic.img");
        for case in 0..5 {
            let [a, b, c]: [[f32; 3]; 3] = golden::floats(&format!("affine{case}.matrix")).try_into().unwrap();
            assert_eq!(c, [0.0, 0.0, 1.0]);
            // The golden's matrix leaves out the centring by half of the mosaic's 128 pixels.
            let centred = [a, b].map(|[p, q, r]| [p, q, p * -64.0 + q * -64.0 + r].map(f64::from));
            let ours = warp_affine(&mosaic, centred, 64, 64, [114; 3], &mut Buffers::default()).unwrap();
            let theirs = golden::picture(&format!("affine{case}.img"));
            assert_eq!(golden::difference(&ours, &theirs), (0, 0), "affine{case}");
        }
    }
}
