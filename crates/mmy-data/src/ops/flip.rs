//! Mirror images.

use mmy_structures::Image;

/// Left and right change places.
pub fn flip_columns(image: &mut Image) {
    for y in 0..image.height() {
        let (pixels, _) = image.row_mut(y).as_chunks_mut::<{ Image::CHANNELS }>();
        pixels.reverse();
    }
}

/// Top and bottom change places.
pub fn flip_rows(image: &mut Image) {
    let (height, stride) = (image.height(), image.width() * Image::CHANNELS);
    let (upper, lower) = image.data_mut().split_at_mut(height / 2 * stride);
    if stride > 0 {
        for (a, b) in upper.chunks_exact_mut(stride).zip(lower.chunks_exact_mut(stride).rev()) {
            a.swap_with_slice(b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_rows() {
        let mut image = Image::new(3, 2, (0..18).collect()).unwrap();
        flip_columns(&mut image);
        assert_eq!(image.data(), [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8, 15, 16, 17, 12, 13, 14]);
        flip_rows(&mut image);
        assert_eq!(image.data(), [15, 16, 17, 12, 13, 14, 9, 10, 11, 6, 7, 8, 3, 4, 5, 0, 1, 2]);
        let mut empty = Image::filled(4, 0, [0; 3]);
        flip_rows(&mut empty);
        flip_columns(&mut empty);
        assert_eq!(empty.shape(), (4, 0));
    }
}
