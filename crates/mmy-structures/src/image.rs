//! An 8-bit picture in memory.

/// An 8-bit, 3-channel picture: rows of interleaved pixels, blue first, as MMYOLO's pipelines have it.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    height: usize,
    width: usize,
    data: Vec<u8>,
}

/// The bytes do not make a picture of that size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes do not make a picture of {height}×{width}×3")]
pub struct ImageError {
    /// Rows asked for.
    pub height: usize,
    /// Columns asked for.
    pub width: usize,
    /// Bytes handed over.
    pub len: usize,
}

impl Image {
    /// Bytes per pixel.
    pub const CHANNELS: usize = 3;

    /// A picture of `height` × `width` pixels from interleaved BGR bytes.
    ///
    /// # Errors
    /// When `data` is not `height · width · 3` bytes long.
    pub fn new(height: usize, width: usize, data: Vec<u8>) -> Result<Self, ImageError> {
        let len = data.len();
        if height.checked_mul(width).and_then(|it| it.checked_mul(Self::CHANNELS)) == Some(len) {
            Ok(Image { height, width, data })
        } else {
            Err(ImageError { height, width, len })
        }
    }

    /// A picture of one colour, given as `[blue, green, red]`.
    pub fn filled(height: usize, width: usize, bgr: [u8; 3]) -> Self {
        let data = if bgr[0] == bgr[1] && bgr[1] == bgr[2] {
            vec![bgr[0]; height * width * Self::CHANNELS]
        } else {
            bgr.repeat(height * width)
        };
        Image { height, width, data }
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `(height, width)`.
    pub fn shape(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// All bytes, row by row.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// All bytes, row by row, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// The bytes alone, so that their memory can be used again.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// One row of `3 · width` bytes.
    pub fn row(&self, y: usize) -> &[u8] {
        let stride = self.width * Self::CHANNELS;
        &self.data[y * stride..(y + 1) * stride]
    }

    /// One row, to be changed in place.
    pub fn row_mut(&mut self, y: usize) -> &mut [u8] {
        let stride = self.width * Self::CHANNELS;
        &mut self.data[y * stride..(y + 1) * stride]
    }

    /// The pixel at column `x`, row `y`, as `[blue, green, red]`.
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * Self::CHANNELS;
        [self.data[at], self.data[at + 1], self.data[at + 2]]
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}×{})", self.height, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_length_is_an_error_not_a_panic() {
        assert_eq!(Image::new(2, 2, vec![0; 11]), Err(ImageError { height: 2, width: 2, len: 11 }));
        assert!(Image::new(usize::MAX, usize::MAX, vec![]).is_err());
    }

    #[test]
    fn pixels_are_bgr_row_by_row() {
        let mut image = Image::filled(2, 3, [1, 2, 3]);
        image.row_mut(1)[3..6].copy_from_slice(&[7, 8, 9]);
        assert_eq!((image.pixel(0, 0), image.pixel(1, 1)), ([1, 2, 3], [7, 8, 9]));
    }
}
