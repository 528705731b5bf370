//! Picture files: JPEG, PNG, BMP, WebP.

use std::{
    fs::File,
    io::{Cursor, Read},
    path::Path,
};

use image::{DynamicImage, ImageDecoder, ImageReader};
use zune_core::{colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

pub use image::metadata::Orientation;

/// Endings of the names of pictures that are read, in lower case.
pub const ENDINGS: [&str; 6] = ["jpg", "jpeg", "jfif", "png", "bmp", "webp"];

/// Longest side, in pixels.
const MAX_SIDE: usize = 1 << 16;
/// Most pixels: 11,585 × 11,585.
const MAX_PIXELS: usize = 1 << 27;
/// Most pixels of a file that is smaller than they are, and pixels for each byte beyond: formats exist in which a few
/// bytes paint any area.
const FREE_PIXELS: usize = 1 << 24;
const PIXELS_PER_BYTE: usize = 10_000;

/// A picture file whose head is read.
pub struct Picture<'a> {
    bytes: &'a [u8],
    decoder: Decoder<'a>,
    height: usize,
    width: usize,
    orientation: Orientation,
}

enum Decoder<'a> {
    Jpeg(Box<JpegDecoder<Cursor<&'a [u8]>>>),
    Other(Box<dyn ImageDecoder + 'a>),
}

impl<'a> Picture<'a> {
    /// Bytes of a decoded pixel.
    pub const CHANNELS: usize = 3;

    /// Reads the head of a file.
    ///
    /// # Errors
    /// Why the bytes are no usable picture. A JPEG that ends early is one, although its upper part could be shown.
    pub fn open(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("the file is empty".into());
        }
        let picture = match bytes {
            [0xFF, 0xD8, ..] => jpeg(bytes)?,
            _ => other(bytes)?,
        };
        let (height, width) = (picture.height, picture.width);
        let most = MAX_PIXELS.min(FREE_PIXELS.saturating_add(bytes.len().saturating_mul(PIXELS_PER_BYTE)));
        match height.checked_mul(width) {
            Some(0) => Err("the picture has no pixels".into()),
            Some(pixels) if pixels <= most && height.max(width) <= MAX_SIDE => Ok(picture),
            _ => Err(format!("{width}×{height} pixels in {} bytes are more than is read", bytes.len())),
        }
    }

    /// `(height, width)` as stored.
    pub fn shape(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// How it is to be turned to stand upright, as its EXIF data says.
    pub fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// Whether rows become columns when it is turned upright.
    pub fn is_turned(&self) -> bool {
        matches!(
            self.orientation,
            Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
        )
    }

    /// Decodes into `out`, which has `height · width · 3` bytes: rows of interleaved pixels, red first. Transparency is
    /// dropped, grey is spread over the channels, 16 bits become 8.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn decode_into(self, out: &mut [u8]) -> Result<(), String> {
        match self.decoder {
            Decoder::Jpeg(mut decoder) if decoder.output_buffer_size() == Some(out.len()) => {
                decoder.decode_into(out).map_err(|error| error.to_string())
            }
            // Colour spaces that the decoder does not turn into RGB by itself (CMYK).
            Decoder::Jpeg(_) => match other(self.bytes)?.decoder {
                Decoder::Other(decoder) => decode(decoder, out),
                Decoder::Jpeg(_) => Err("a colour space that is not read".into()),
            },
            Decoder::Other(decoder) => decode(decoder, out),
        }
    }
}

/// `(height, width)` of a picture file once it is turned upright, from its first bytes where they say it: whether the
/// rest is sound is not looked at.
///
/// # Errors
/// Why the file is no picture.
pub fn upright_size(path: &Path) -> Result<(usize, usize), String> {
    /// Longer heads, with a thumbnail or a colour profile, are read as a whole.
    const HEAD: u64 = 1 << 16;
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let size = match size(&bytes) {
        Err(_) if bytes.len() as u64 == HEAD => {
            file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
            size(&bytes)
        }
        known => known,
    };
    size.and_then(|(height, width)| match height.checked_mul(width) {
        Some(0) | None => Err("the picture has no pixels".into()),
        Some(_) => Ok((height, width)),
    })
}

fn size(bytes: &[u8]) -> Result<(usize, usize), String> {
    let picture = match bytes {
        [] => return Err("the file is empty".into()),
        [0xFF, 0xD8, ..] => jpeg_head(bytes)?,
        _ => other(bytes)?,
    };
    Ok(if picture.is_turned() { (picture.width, picture.height) } else { picture.shape() })
}

fn decode(decoder: Box<dyn ImageDecoder + '_>, out: &mut [u8]) -> Result<(), String> {
    let rgb = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?.into_rgb8();
    if rgb.as_raw().len() != out.len() {
        return Err("the picture is not of the size that its head says".into());
    }
    out.copy_from_slice(rgb.as_raw());
    Ok(())
}

fn jpeg(bytes: &[u8]) -> Result<Picture<'_>, String> {
    if !is_whole(bytes) {
        return Err("the JPEG data ends early".into());
    }
    jpeg_head(bytes)
}

fn jpeg_head(bytes: &[u8]) -> Result<Picture<'_>, String> {
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(MAX_SIDE)
        .set_max_height(MAX_SIDE);
    let mut decoder = Box::new(JpegDecoder::new_with_options(Cursor::new(bytes), options));
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("no picture in the JPEG data")?;
    let (height, width) = (usize::from(info.height), usize::from(info.width));
    let orientation = decoder.exif().and_then(|it| Orientation::from_exif_chunk(it));
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    Ok(Picture { bytes, decoder: Decoder::Jpeg(decoder), height, width, orientation })
}

/// Whether the end-of-image marker follows the first scan. Decoders for the web fill up what is missing; to learn from,
/// half a picture under whole boxes is no picture.
fn is_whole(bytes: &[u8]) -> bool {
    // Segments before the scan are skipped by their length: a thumbnail in one of them has a marker of its own.
    let mut rest = &bytes[2..];
    while let &[0xFF, marker, ref tail @ ..] = rest {
        match (marker, tail) {
            (0xDA, _) => return tail.windows(2).rev().any(|it| it == [0xFF, 0xD9]),
            // Fill bytes, and markers without a length.
            (0xFF, _) => rest = &rest[1..],
            (0x01 | 0xD0..=0xD8, _) => rest = tail,
            (_, &[high, low, ..]) => {
                rest = tail.get(usize::from(u16::from_be_bytes([high, low]))..).unwrap_or_default()
            }
            _ => return false,
        }
    }
    false
}

fn other(bytes: &[u8]) -> Result<Picture<'_>, String> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("not a picture in a known format (JPEG, PNG, BMP, WebP)".into());
    }
    let mut decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let (width, height) = decoder.dimensions();
    let decoder = Decoder::Other(Box::new(decoder));
    Ok(Picture { bytes, decoder, height: height as usize, width: width as usize, orientation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_asks_for_too_much_is_refused() {
        // A bitmap of 30,000 × 30,000 pixels in 54 bytes.
        let mut bmp = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
        bmp.extend(30_000i32.to_le_bytes());
        bmp.extend(30_000i32.to_le_bytes());
        bmp.extend(b"\x01\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        let error = Picture::open(&bmp).err().unwrap();
        assert!(error.contains("more than is read"), "{error}");
    }

    #[test]
    fn a_size_needs_the_head_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let size = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            upright_size(&path)
        };
        let rgb = image::RgbImage::from_fn(300, 200, |x, y| image::Rgb([(x * y) as u8, x as u8, (y * 7 + x) as u8]));
        for format in [image::ImageFormat::Jpeg, image::ImageFormat::Png, image::ImageFormat::Bmp] {
            let mut bytes = Vec::new();
            rgb.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
            assert_eq!(size(&bytes), Ok((200, 300)), "{format:?}");
            assert_eq!(size(&bytes[..bytes.len() / 2]), Ok((200, 300)), "{format:?}");
        }
        assert!(size(b"").unwrap_err().contains("empty"));
        assert!(size(b"no picture").is_err());
        assert!(upright_size(&dir.path().join("none")).unwrap_err().contains("No such file"));
    }
}
