//! Samples into batches.

mod pseudo;
mod yolov5;

pub use pseudo::PseudoCollate;

use mmy_structures::{Image, Sample};
use tch::Tensor;

use crate::{Buffers, DataError};

/// The pictures of `samples` as one `(B, 3, H, W)` u8 tensor, channels-last in memory: the bytes of the pictures one
/// after the other already are that tensor.
fn stack(samples: &mut [(usize, Sample)], buffers: &mut Buffers) -> Result<Tensor, DataError> {
    let Some((_, first)) = samples.first() else {
        return Err(DataError::Collate("it has no samples".into()));
    };
    let (height, width) = first.image.shape();
    if let Some((_, other)) = samples.iter().find(|(_, it)| it.image.shape() != (height, width)) {
        let (h, w) = other.image.shape();
        return Err(DataError::Collate(format!(
            "{} is {height}×{width}, {} is {h}×{w}; let the pipeline end in one size (LetterResize, or batch shapes of \
             the loader's own batch size)",
            first.meta.img_path.display(),
            other.meta.img_path.display(),
        )));
    }
    let shape = [samples.len(), height, width, Image::CHANNELS].map(|it| it as i64);
    let pictures: Vec<_> = samples.iter().map(|(_, it)| it.image.data()).collect();
    let tensor = mmy_torch::bytes::from_parts(&shape, &pictures)
        .and_then(|it| Ok(it.f_permute([0, 3, 1, 2])?))
        .map_err(|error| DataError::Collate(error.to_string()));
    for (_, sample) in samples {
        let empty = Image::new(0, 0, Vec::new()).expect("no bytes are a picture of no size");
        buffers.give_image(std::mem::replace(&mut sample.image, empty));
    }
    tensor
}
