//! Picture files into memory.

use std::io::Cursor;

use image::{DynamicImage, ImageReader, metadata::Orientation};
use mmy_structures::Image;
use zune_core::{colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

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
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    let (mut image, turn) = match bytes {
        [0xFF, 0xD8, ..] => jpeg(bytes, buffers)?,
        _ => other(bytes, buffers)?,
    };
    pulp::Arch::new().dispatch(|| swap_red_and_blue(image.data_mut()));
    match orientation {
        ExifOrientation::Apply => Ok(upright(image, turn, buffers)),
        ExifOrientation::Ignore => Ok(image),
    }
}

/// Red first.
fn jpeg(bytes: &[u8], buffers: &mut Buffers) -> Result<(Image, Orientation), String> {
    // Decoders for the web fill up what is missing; to learn from, half a picture under whole boxes is no picture.
    if !bytes.windows(2).rev().any(|it| it == [0xFF, 0xD9]) {
        return Err("the JPEG data ends early".into());
    }
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(1 << 16)
        .set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("no picture in the JPEG data")?;
    let (height, width) = (usize::from(info.height), usize::from(info.width));
    if height == 0 || width == 0 {
        return Err("the picture has no pixels".into());
    }
    if decoder.output_buffer_size() != Some(height * width * Image::CHANNELS) {
        // Colour spaces that the decoder does not turn into RGB by itself (CMYK).
        return other(bytes, buffers);
    }
    let mut image = buffers.image(height, width);
    decoder.decode_into(image.data_mut()).map_err(|error| error.to_string())?;
    let turn = decoder.exif().and_then(|it| Orientation::from_exif_chunk(it)).unwrap_or(Orientation::NoTransforms);
    Ok((image, turn))
}

/// Red first.
fn other(bytes: &[u8], buffers: &mut Buffers) -> Result<(Image, Orientation), String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("not a picture in a known format (JPEG, PNG, BMP, WebP)".into());
    }
    let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let turn = image::ImageDecoder::orientation(&mut decoder).unwrap_or(Orientation::NoTransforms);
    let decoded = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    let rgb = decoded.into_rgb8();
    let (height, width) = (rgb.height() as usize, rgb.width() as usize);
    if height == 0 || width == 0 {
        return Err("the picture has no pixels".into());
    }
    let mut image = buffers.image(height, width);
    image.data_mut().copy_from_slice(rgb.as_raw());
    Ok((image, turn))
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
