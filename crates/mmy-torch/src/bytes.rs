//! Tensors of bytes.

use tch::{Device, Kind, Tensor};

use crate::Error;

/// A u8 tensor on the CPU that holds `parts` one after the other, row-major: a batch of pictures without a copy more
/// than the one that puts them together.
///
/// tch's own constructors fill the tensor with zeros first, for which libtorch starts a team of threads; in a loader's
/// thread that team would wait, spinning, on the cores that the model needs.
///
/// # Errors
///
/// When the parts are not as long together as the shape says; when memory does not suffice.
pub fn from_parts(size: &[i64], parts: &[&[u8]]) -> Result<Tensor, Error> {
    let given: usize = parts.iter().map(|it| it.len()).sum();
    let wanted = size.iter().try_fold(1usize, |product, it| product.checked_mul(usize::try_from(*it).ok()?));
    if wanted != Some(given) {
        return Err(Error::Argument(format!("{given} bytes are no tensor of shape {size:?}")));
    }
    let tensor = Tensor::f_empty(size, (Kind::Uint8, Device::Cpu))?;
    let mut to = tensor.data_ptr().cast::<u8>();
    for part in parts {
        // SAFETY: the new tensor is contiguous and has room for `given` bytes, which the lengths of the parts sum up to;
        // nobody else knows its memory yet.
        unsafe {
            std::ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
            to = to.add(part.len());
        }
    }
    Ok(tensor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_one_after_the_other() -> Result<(), Error> {
        let it = from_parts(&[2, 3], &[&[1, 2], &[], &[3, 4, 5, 6]])?;
        assert_eq!((it.size(), it.kind()), (vec![2, 3], Kind::Uint8));
        assert_eq!(Vec::<u8>::try_from(it.view(-1))?, [1, 2, 3, 4, 5, 6]);
        assert_eq!(from_parts(&[0, 5], &[])?.size(), [0, 5]);
        assert!(from_parts(&[2, 3], &[&[1, 2]]).is_err());
        assert!(from_parts(&[-1, 3], &[]).is_err());
        assert!(from_parts(&[i64::MAX, i64::MAX], &[]).is_err());
        Ok(())
    }
}
