//! The order of a tensor's elements in memory.

use tch::{Device, Kind, Tensor};

use crate::{Error, ffi};

/// How a tensor of shape N×C×H×W lies in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MemoryFormat {
    /// Row-major: the last axis is the innermost. For tensors of any number of axes.
    #[default]
    Contiguous,
    /// Channels innermost, N×H×W×C in memory, which convolutions on CPUs prefer. For tensors of four axes.
    ChannelsLast,
}

impl MemoryFormat {
    /// The number in `c10::MemoryFormat`.
    fn code(self) -> i32 {
        match self {
            MemoryFormat::Contiguous => 0,
            MemoryFormat::ChannelsLast => 2,
        }
    }
}

/// The tensor in `format`: itself if it lies so already, else a copy. Differentiable.
///
/// # Errors
///
/// For [`MemoryFormat::ChannelsLast`] of a tensor that has not four axes.
pub fn to_memory_format(tensor: &Tensor, format: MemoryFormat) -> Result<Tensor, Error> {
    let mut result = std::ptr::null_mut();
    // SAFETY: the tensor is borrowed for the call, which writes one pointer to our stack.
    unsafe {
        ffi::check(ffi::mmy_to_memory_format(tensor.as_ptr(), format.code(), &mut result))?;
    }
    // SAFETY: on success `result` is a new tensor that is ours.
    Ok(unsafe { ffi::adopt(result) }.unwrap_or_default())
}

/// Whether the tensor lies in `format` without gaps. Both can hold at once, as for one channel or a 1×1 picture.
///
/// # Errors
///
/// When libtorch cannot tell, as of a sparse tensor.
pub fn is_contiguous_in(tensor: &Tensor, format: MemoryFormat) -> Result<bool, Error> {
    let mut result = 0;
    // SAFETY: the tensor is borrowed for the call, which writes one integer to our stack.
    unsafe {
        ffi::check(ffi::mmy_is_contiguous_in(tensor.as_ptr(), format.code(), &mut result))?;
    }
    Ok(result != 0)
}

/// A tensor of this shape in `format` whose elements are whatever the memory holds.
///
/// # Errors
///
/// For [`MemoryFormat::ChannelsLast`] of a shape that has not four axes; when memory does not suffice.
pub fn empty(size: &[i64], format: MemoryFormat, (kind, device): (Kind, Device)) -> Result<Tensor, Error> {
    let stride = match (format, size) {
        (MemoryFormat::Contiguous, _) => {
            let mut stride = vec![1; size.len()];
            for i in (1..size.len()).rev() {
                stride[i - 1] = stride[i] * size[i].max(1);
            }
            stride
        }
        (MemoryFormat::ChannelsLast, &[_, c, h, w]) => {
            let c = c.max(1);
            vec![h.max(1) * w.max(1) * c, 1, w.max(1) * c, c]
        }
        (MemoryFormat::ChannelsLast, _) => {
            return Err(Error::Argument(format!("channels-last needs a shape of four axes, got {size:?}")));
        }
    };
    Ok(Tensor::f_empty_strided(size, stride, (kind, device))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use MemoryFormat::{ChannelsLast, Contiguous};

    #[test]
    fn formats_convert_both_ways() -> Result<(), Error> {
        let x = Tensor::arange(120, (Kind::Float, Device::Cpu)).reshape([2, 3, 4, 5]);
        let last = to_memory_format(&x, ChannelsLast)?;
        assert_eq!(last.stride(), [60, 1, 15, 3]);
        assert!(is_contiguous_in(&last, ChannelsLast)?);
        assert!(!is_contiguous_in(&last, Contiguous)?);
        assert_eq!(last, x);
        let back = to_memory_format(&last, Contiguous)?;
        assert_eq!(back.stride(), x.stride());
        assert_eq!(to_memory_format(&x, Contiguous)?.data_ptr(), x.data_ptr());
        // A 1×1 kernel is contiguous in both ways, but its strides say which one is meant.
        let kernel = Tensor::zeros([8, 4, 1, 1], (Kind::Float, Device::Cpu));
        assert_eq!(to_memory_format(&kernel, ChannelsLast)?.stride(), [4, 1, 4, 4]);
        Ok(())
    }

    #[test]
    fn gradients_pass_through() -> Result<(), Error> {
        let x = Tensor::ones([1, 2, 3, 3], (Kind::Double, Device::Cpu)).set_requires_grad(true);
        let y = to_memory_format(&x, ChannelsLast)?;
        (y * 3.0).sum(Kind::Double).f_backward()?;
        assert_eq!(x.grad(), x.full_like(3.0));
        Ok(())
    }

    #[test]
    fn empty_takes_the_format() -> Result<(), Error> {
        for format in [Contiguous, ChannelsLast] {
            let x = empty(&[2, 3, 4, 5], format, (Kind::BFloat16, Device::Cpu))?;
            assert_eq!((x.size(), x.kind()), (vec![2, 3, 4, 5], Kind::BFloat16));
            assert!(is_contiguous_in(&x, format)?);
        }
        Ok(())
    }

    #[test]
    fn channels_last_needs_four_axes() {
        let x = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
        let error = to_memory_format(&x, ChannelsLast).unwrap_err().to_string();
        assert!(error.contains("rank 4"), "{error}");
        assert!(empty(&[2, 3], ChannelsLast, (Kind::Float, Device::Cpu)).is_err());
    }
}
