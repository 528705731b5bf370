//! Picture files into memory.

use mmy_formats::picture::{Orientation, Picture};
use mmy_structures::Image;

use crate::Buffers;

/// Whether a picture is turned upright as its EXIF data says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExifOrientation {
    /// As OpenCV's `IMREAD_COLOR` does.
    Apply,
    /// As `IMREAD_IGNORE_ORIENTATION` does.
    Ignore,
}

/// Decodes a JPEG, PNG, BMP or WebP file into three channels, blue first. Transparency is dropped, grey is spread over
/// the channels, 16 bits become 8.
///
/// # Errors
/// Why the bytes are no usable picture. A JPEG that ends early is one, although its upper part could be shown.
pub fn decode(bytes: &[u8], orientation: ExifOrientation, buffers: &mut Buffers) -> Result<Image, String> {
    let picture = Picture::open(bytes)?;
    let ((height, width), turn) = (picture.shape(), picture.orientation());
    let mut image = buffers.image(height, width);
    picture.decode_into(image.data_mut())?;
    pulp::Arch::new().dispatch(|| swap_red_and_blue(image.data_mut()));
    match orientation {
        ExifOrientation::Apply => Ok(upright(image, turn, buffers)),
        ExifOrientation::Ignore => Ok(image),
    }
}

#[inline(always)]
fn swap_red_and_blue(data: &mut [u8]) {
    for pixel in data.as_chunks_mut::<{ Image::CHANNELS }>().0 {
        pixel.swap(0, 2);
    }
}

/// Turns a picture as EXIF says, if it says anything.
fn upright(image: Image, turn: Orientation, buffers: &mut Buffers) -> Image {
    // (whether rows become columns, whether then left and right change, whether top and bottom do)
    let (transpose, mirror, flip) = match turn {
        Orientation::NoTransforms => return image,
        Orientation::FlipHorizontal => (false, true, false),
        Orientation::Rotate180 => (false, true, true),
        Orientation::FlipVertical => (false, false, true),
        Orientation::Rotate90FlipH => (true, false, false),
        Orientation::Rotate90 => (true, true, false),
        Orientation::Rotate270FlipH => (true, true, true),
        Orientation::Rotate270 => (true, false, true),
    };
    let (height, width) = if transpose { (image.width(), image.height()) } else { image.shape() };
    let mut out = buffers.image(height, width);
    for y in 0..height {
        let from_y = if flip { height - 1 - y } else { y };
        for (x, pixel) in out.row_mut(y).chunks_exact_mut(Image::CHANNELS).enumerate() {
            let from_x = if mirror { width - 1 - x } else { x };
            let (x, y) = if transpose { (from_y, from_x) } else { (from_x, from_y) };
            pixel.copy_from_slice(&image.pixel(x, y));
        }
    }
    buffers.give_image(image);
    out
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ExtendedColorType, ImageEncoder, codecs};

    use super::*;
    use crate::ops::golden;

    fn decoded(bytes: &[u8]) -> Result<Image, String> {
        decode(bytes, ExifOrientation::Apply, &mut Buffers::default())
    }

    /// Smooth, so that JPEG changes little: red grows to the right, green downwards, blue is constant.
    fn ramp() -> Image {
        let mut image = Image::filled(24, 40, [60; 3]);
        for y in 0..24 {
            for (x, pixel) in image.row_mut(y).chunks_exact_mut(3).enumerate() {
                (pixel[1], pixel[2]) = (10 * y as u8, 6 * x as u8);
            }
        }
        image
    }

    fn rgb(image: &Image) -> Vec<u8> {
        image.data().chunks_exact(3).flat_map(|it| [it[2], it[1], it[0]]).collect()
    }

    fn jpeg_file(exif: Option<u8>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
        if let Some(orientation) = exif {
            // Big-endian TIFF with one directory of one entry: tag 0x112, type short, one value.
            let mut tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
            tiff.extend([orientation, 0, 0, 0, 0, 0, 0]);
            encoder.set_exif_metadata(tiff).unwrap();
        }
        encoder.write_image(&rgb(&ramp()), 40, 24, ExtendedColorType::Rgb8).unwrap();
        bytes
    }

    #[test]
    fn formats_agree() {
        let mut png = Vec::new();
        let encoder = codecs::png::PngEncoder::new(&mut png);
        encoder.write_image(&rgb(&ramp()), 40, 24, ExtendedColorType::Rgb8).unwrap();
        assert_eq!(decoded(&png).unwrap(), ramp());
        let mut bmp = Vec::new();
        let encoder = codecs::bmp::BmpEncoder::new(&mut bmp);
        encoder.write_image(&rgb(&ramp()), 40, 24, ExtendedColorType::Rgb8).unwrap();
        assert_eq!(decoded(&bmp).unwrap(), ramp());
        let mut webp = Vec::new();
        let encoder = codecs::webp::WebPEncoder::new_lossless(&mut webp);
        encoder.write_image(&rgb(&ramp()), 40, 24, ExtendedColorType::Rgb8).unwrap();
        assert_eq!(decoded(&webp).unwrap(), ramp());
        // Quality 95 moves a smooth ramp by a few levels.
        let (most, _) = golden::difference(&decoded(&jpeg_file(None)).unwrap(), &ramp());
        assert!(most <= 6, "{most}");
        let mut grey = Vec::new();
        let encoder = codecs::jpeg::JpegEncoder::new_with_quality(&mut grey, 95);
        encoder.write_image(&[77; 40 * 24], 40, 24, ExtendedColorType::L8).unwrap();
        assert_eq!(decoded(&grey).unwrap(), Image::filled(24, 40, [77; 3]));
        let mut deep = Vec::new();
        let encoder = codecs::png::PngEncoder::new(&mut deep);
        let half: Vec<u8> = [0x80u8, 0x10].repeat(2 * 3 * 4);
        encoder.write_image(&half, 2, 3, ExtendedColorType::Rgba16).unwrap();
        assert_eq!(decoded(&deep).unwrap().shape(), (3, 2));
    }

    #[test]
    fn exif_turns_the_picture_upright() {
        let stored = decoded(&jpeg_file(None)).unwrap();
        for number in 1..=8 {
            let mut expect =
                DynamicImage::ImageRgb8(image::RgbImage::from_raw(40, 24, stored.data().to_vec()).unwrap());
            expect.apply_orientation(Orientation::from_exif(number).unwrap());
            let file = jpeg_file(Some(number));
            let ours = decoded(&file).unwrap();
            assert_eq!(ours.data(), expect.as_bytes(), "{number}");
            assert_eq!((ours.width() as u32, ours.height() as u32), (expect.width(), expect.height()));
            assert_eq!(decode(&file, ExifOrientation::Ignore, &mut Buffers::default()).unwrap(), stored);
        }
    }

    #[test]
    fn broken_files_are_errors() {
        let check = |bytes: &[u8], expect: &str| {
            let error = decoded(bytes).unwrap_err();
            assert!(error.contains(expect), "{error}");
        };
        check(b"", "empty");
        check(b"<html>", "not a picture");
        let whole = jpeg_file(Some(6));
        for len in [2, 3, 10, 200, whole.len() / 2, whole.len() - 2] {
            check(&whole[..len], "ends early");
        }
        check(b"\x89PNG\r\n\x1a\n", "");
        check(b"BM", "");
        // Any byte may be wrong: an error or a picture, never a panic.
        for at in 0..whole.len() {
            let mut broken = whole.clone();
            broken[at] ^= 0xFF;
            if let Ok(image) = decoded(&broken) {
                assert!(!image.data().is_empty());
            }
        }
    }
}
