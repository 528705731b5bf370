//! Depthwise convolutions whose weight gradient is computed here.
//!
//! libtorch (oneDNN) runs the forward pass of a channels-last depthwise convolution and the gradient of its input at
//! about a third of what the processor can multiply, and the gradient of its weight five to ten times slower: that
//! alone is most of the training step of a network of 7×7 depthwise convolutions. [`conv2d`] leaves the first two to
//! libtorch and computes the third with a kernel of its own, which also sums the bias gradient.

use tch::{Device, Kind, Tensor};

use crate::autocast::State;
use crate::autograd::is_grad_enabled;
use crate::ffi::Level;
use crate::function::{Backward, Forward, Function, apply, through_plain};
use crate::memory_format::{MemoryFormat, is_contiguous_in, to_memory_format};
use crate::{BoxError, Error, ffi};

/// A depthwise convolution: `x` is N×C×H×W, `weight` C×1×K×K, `bias` C; differentiable as often as one likes.
///
/// Within an [`autocast`](crate::autocast) region it computes in that region's kind. `weight` and `bias` may be of kind
/// float while `x` is bfloat16: their gradients are then float, and were never rounded to bfloat16.
///
/// The kernel takes over when `weight` needs a gradient and the convolution has stride 1, size 3, 5 or 7, and a
/// channels-last `x` in float or bfloat16 on the CPU; else all is libtorch's. Its sums are in float and do not depend on
/// the number of threads.
///
/// # Errors
///
/// When shapes, kinds or devices do not fit, or stride or padding is out of range.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, stride: i64, padding: i64) -> Result<Tensor, Error> {
    if !x.defined() || !weight.defined() {
        return Err(Error::Argument("the convolution of an undefined tensor".into()));
    }
    let cast = match State::current(x.device())?.kind() {
        Some(kind) if x.f_kind()? == Kind::Float => Some(x.f_to_kind(kind)?),
        _ => None,
    };
    let x = cast.as_ref().unwrap_or(x);
    if !is_ours(x, weight, stride, padding)? {
        return plain(x, weight, bias, stride, padding);
    }
    let function = DepthwiseConv2d { padding };
    let outputs = match bias {
        Some(bias) => apply(function, &[x, weight, bias])?,
        None => apply(function, &[x, weight])?,
    };
    Ok(outputs.into_iter().next().unwrap_or_default())
}

/// Whether the kernel gives the gradient of this convolution's weight.
fn is_ours(x: &Tensor, weight: &Tensor, stride: i64, padding: i64) -> Result<bool, Error> {
    let &[channels, 1, height, width] = weight.size().as_slice() else {
        return Ok(false);
    };
    Ok(is_grad_enabled()
        && weight.requires_grad()
        && stride == 1
        && padding >= 0
        && height == width
        && [3, 5, 7].contains(&height)
        && x.device() == Device::Cpu
        && matches!(x.f_kind()?, Kind::Float | Kind::BFloat16)
        && x.size().get(1) == Some(&channels)
        && x.dim() == 4
        && is_contiguous_in(x, MemoryFormat::ChannelsLast)?)
}

/// The convolution through libtorch, with weight and bias in the kind of `x`.
fn plain(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, stride: i64, padding: i64) -> Result<Tensor, Error> {
    let kind = x.f_kind()?;
    let weight = weight.f_to_kind(kind)?;
    let bias = bias.map(|bias| bias.f_to_kind(kind)).transpose()?;
    let groups = weight.size().first().copied().unwrap_or(1);
    Ok(x.f_conv2d(&weight, bias, stride, padding, 1, groups)?)
}

struct DepthwiseConv2d {
    padding: i64,
}

impl Function for DepthwiseConv2d {
    fn forward(&mut self, ctx: &mut Forward, inputs: &[&Tensor]) -> Result<Vec<Tensor>, BoxError> {
        ctx.save_for_backward(inputs);
        Ok(vec![plain(inputs[0], inputs[1], inputs.get(2).copied(), 1, self.padding)?])
    }

    fn backward(&self, ctx: &Backward<'_>, grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, BoxError> {
        let saved = ctx.saved()?;
        let [x, weight, bias @ ..] = saved.as_slice() else {
            return Err("the saved tensors are gone".into());
        };
        let Some(g) = &grads[0] else {
            return Ok(saved.iter().map(|_| None).collect());
        };
        if is_grad_enabled() {
            // A kernel's numbers could not be differentiated again.
            let run = |inputs: &[Tensor]| plain(&inputs[0], &inputs[1], inputs.get(2), 1, self.padding);
            return Ok(through_plain(&saved, g, run)?);
        }
        let input = match ctx.needs_input_grad(0) {
            true => Some(self.input_grad(weight, g)?),
            false => None,
        };
        if !ctx.needs_input_grad(1) && !ctx.needs_input_grad(2) {
            return Ok(vec![input, None, None].into_iter().take(saved.len()).collect());
        }
        let (weight_grad, bias_grad) = grads_of(x, g, weight.size()[2], self.padding, Level::Avx512)?;
        let mut found = vec![input, Some(weight_grad.f_to_kind(weight.f_kind()?)?)];
        if let [bias] = bias {
            found.push(Some(bias_grad.f_to_kind(bias.f_kind()?)?));
        }
        Ok(found)
    }
}

impl DepthwiseConv2d {
    /// The gradient of the input: the gradient of the output, convolved with the weight turned by 180 degrees.
    fn input_grad(&self, weight: &Tensor, g: &Tensor) -> Result<Tensor, Error> {
        let padding = weight.size()[2] - 1 - self.padding;
        let turned = weight.f_to_kind(g.f_kind()?)?.f_flip([2, 3])?;
        if padding >= 0 {
            return plain(g, &turned, None, 1, padding);
        }
        // More padding than kernel: the outermost outputs saw nothing but padding.
        let (height, width) = (g.size()[2], g.size()[3]);
        let inner = g.f_narrow(2, -padding, height + 2 * padding)?.f_narrow(3, -padding, width + 2 * padding)?;
        plain(&inner, &turned, None, 1, 0)
    }
}

/// The gradients of weight, C×1×K×K, and bias, C, in float.
fn grads_of(x: &Tensor, g: &Tensor, kernel: i64, padding: i64, level: Level) -> Result<(Tensor, Tensor), Error> {
    let g = to_memory_format(&g.f_to_kind(x.f_kind()?)?, MemoryFormat::ChannelsLast)?;
    let (mut weight, mut bias) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: both tensors live through the call, which checks their shapes, kinds and formats before it reads them and
    // writes two pointers to our stack.
    unsafe {
        ffi::check(ffi::mmy_depthwise_grads(
            x.as_ptr(),
            g.as_ptr(),
            kernel,
            padding,
            level as i32,
            &mut weight,
            &mut bias,
        ))?;
    }
    // SAFETY: on success both are new tensors that are ours.
    let (weight, bias) = unsafe { (ffi::adopt(weight), ffi::adopt(bias)) };
    Ok((weight.unwrap_or_default(), bias.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::{Graph, grad};

    /// What the tests of the whole convolution cannot reach: the kernels that this processor would not choose.
    #[test]
    fn instruction_sets_agree() -> Result<(), Error> {
        let opts = (Kind::Double, Device::Cpu);
        for (channels, kernel, padding) in [(37, 7, 3), (24, 5, 0), (16, 3, 1), (3, 7, 5)] {
            let side = 11 + 2 * padding - kernel + 1;
            let make = |size: [i64; 4]| {
                let values = Tensor::arange(size.iter().product::<i64>(), opts).sin().reshape(size);
                to_memory_format(&values, MemoryFormat::ChannelsLast)
            };
            let (x, g) = (make([2, channels, 11, 11])?, make([2, channels, side, side])?);
            for kind in [Kind::Float, Kind::BFloat16] {
                let (x, g) = (x.to_kind(kind), g.to_kind(kind));
                let weight = Tensor::zeros([channels, 1, kernel, kernel], opts).set_requires_grad(true);
                let bias = Tensor::zeros([channels], opts).set_requires_grad(true);
                let y = plain(&x.to_kind(Kind::Double), &weight, Some(&bias), 1, padding)?;
                let expect = grad(&[y], &[&weight, &bias], &[Some(g.to_kind(Kind::Double))], Graph::Free)?;
                for level in [Level::Baseline, Level::Avx2, Level::Avx512] {
                    let found = grads_of(&x, &g, kernel, padding, level)?;
                    for (found, expect) in [found.0, found.1].iter().zip(expect.iter().flatten()) {
                        let near = found.to_kind(Kind::Double).allclose(expect, 1e-5, 1e-5, false);
                        assert!(near, "{level:?} {kind:?} {channels} {kernel} {padding}");
                    }
                }
            }
        }
        Ok(())
    }
}
