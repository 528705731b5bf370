//! PyTorch's two containers: the zip archive, and the older row of pickles.

pub(super) mod legacy;
pub(super) mod zipped;

use std::{
    collections::{HashMap, hash_map::Entry},
    io::{self, Read, Seek, SeekFrom},
};

use flate2::read::DeflateDecoder;
use safetensors::Dtype;

use super::{
    Format, Place, TensorInfo, WeightsError,
    pickle::{Storage, Tensor},
};

/// Inflates a storage. `place` was held against the limits when the file was opened.
pub(super) fn inflate(reader: &mut (impl Read + Seek), place: Place) -> io::Result<Vec<u8>> {
    let Place::Deflated { start, length, inflated } = place else {
        return Err(io::Error::other("a storage that is not deflated"));
    };
    reader.seek(SeekFrom::Start(start))?;
    let mut out = Vec::new();
    // One byte more than there should be, to see one that is too many.
    DeflateDecoder::new(reader.take(length)).take(inflated.saturating_add(1)).read_to_end(&mut out)?;
    if out.len() as u64 != inflated {
        return Err(io::Error::other(format!("a storage inflates to other than its {inflated} bytes")));
    }
    Ok(out)
}

/// Gives each tensor its storage's place. `locate` finds a storage by its key and its size in bytes.
fn placed(
    tensors: Vec<(String, &Tensor, &Storage)>,
    format: Format,
    mut locate: impl FnMut(&str) -> Result<Place, WeightsError>,
) -> Result<(Vec<TensorInfo>, Vec<Place>), WeightsError> {
    let (mut infos, mut places) = (Vec::with_capacity(tensors.len()), Vec::new());
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (name, tensor, storage) in tensors {
        let number = match known.entry(&storage.key) {
            Entry::Occupied(it) => *it.get(),
            Entry::Vacant(it) => {
                let place = locate(&storage.key)?;
                if storage.dtype.and_then(|it| size(storage.numel, it)).is_none_or(|it| it > place.length()) {
                    let (numel, bytes) = (storage.numel, place.length());
                    return Err(format.broken(format!(
                        "the storage `{}` is to have {numel} numbers, its {bytes} bytes do not hold them",
                        storage.key
                    )));
                }
                places.push(place);
                *it.insert(places.len() - 1)
            }
        };
        let dtype = tensor.dtype.or(storage.dtype).expect("tensors of unknown kinds were left out");
        let (shape, stride) = (tensor.shape.to_vec(), tensor.stride.to_vec());
        infos.push(TensorInfo { name, dtype, shape, storage: number, offset: tensor.offset, stride });
    }
    Ok((infos, places))
}

/// Bytes of `numel` numbers.
fn size(numel: u64, dtype: Dtype) -> Option<u64> {
    numel.checked_mul(dtype.bitsize() as u64 / 8)
}
