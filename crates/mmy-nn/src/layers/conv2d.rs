//! Two-dimensional convolution.

use mmy_torch::{autograd::is_grad_enabled, depthwise};
use tch::{Kind, Tensor};

use crate::{
    Role, Scope,
    layers::dsconv::Weight,
    reparam::{Kernel, Trained, Unmade},
    trace,
};

/// Which way a kernel lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    Square,
    Row,
    Column,
}

/// Geometry of a [`Conv2d`]: kernel, stride, padding, groups, bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    kernel: i64,
    stride: i64,
    padding: i64,
    dilation: i64,
    groups: i64,
    bias: bool,
    lie: Lie,
}

impl Conv {
    /// A kernel of `kernel` × `kernel`, padded by `kernel / 2`, without bias.
    pub fn new(kernel: i64, stride: i64) -> Self {
        Conv { kernel, stride, padding: kernel / 2, dilation: 1, groups: 1, bias: false, lie: Lie::Square }
    }

    /// One row of `kernel` pixels, strided and padded along the row alone.
    pub fn row(kernel: i64, stride: i64) -> Self {
        Conv { lie: Lie::Row, ..Conv::new(kernel, stride) }
    }

    /// One column of `kernel` pixels, strided and padded along the column alone.
    pub fn column(kernel: i64, stride: i64) -> Self {
        Conv { lie: Lie::Column, ..Conv::new(kernel, stride) }
    }

    /// Zeros around the input, in pixels.
    #[must_use]
    pub fn padding(self, padding: i64) -> Self {
        Conv { padding, ..self }
    }

    /// Distance between the kernel's taps.
    #[must_use]
    pub fn dilation(self, dilation: i64) -> Self {
        Conv { dilation, ..self }
    }

    /// Splits the channels into groups that do not see each other; as many groups as channels is depthwise.
    #[must_use]
    pub fn groups(self, groups: i64) -> Self {
        Conv { groups, ..self }
    }

    /// Adds a bias.
    #[must_use]
    pub fn with_bias(self) -> Self {
        Conv { bias: true, ..self }
    }

    /// (out, in / groups, height, width).
    fn weight_shape(self, in_channels: i64, out_channels: i64) -> [i64; 4] {
        let [height, width] = self.sides(self.kernel, 1);
        [out_channels, in_channels / self.groups, height, width]
    }

    /// A number for height and width: `along` where the kernel is long, `across` where it is one pixel wide.
    fn sides(self, along: i64, across: i64) -> [i64; 2] {
        match self.lie {
            Lie::Square => [along, along],
            Lie::Row => [across, along],
            Lie::Column => [along, across],
        }
    }

    /// Height or width, whichever `axis` is, of what comes out of `size` pixels.
    fn out_size(&self, axis: usize, size: i64) -> i64 {
        let side = |along, across| self.sides(along, across)[axis];
        let window = self.dilation * (side(self.kernel, 1) - 1) + 1;
        (size + 2 * side(self.padding, 0) - window).div_euclid(side(self.stride, 1)) + 1
    }
}

/// Two-dimensional convolution, `weight` (out, in / groups, k, k) and perhaps `bias` (out); starts as the scope
/// has it ([`Scope::starting`]), by default as PyTorch's `Conv2d`.
#[derive(Debug)]
pub struct Conv2d {
    path: String,
    weight: Weight,
    /// (out, in / groups, height, width).
    shape: [i64; 4],
    bias: Option<Tensor>,
    conv: Conv,
}

impl Conv2d {
    /// Makes the parameters at `scope`.
    pub fn new(scope: &Scope, in_channels: i64, out_channels: i64, conv: Conv) -> Self {
        let shape = conv.weight_shape(in_channels, out_channels);
        Self::with_weight(scope, Weight::new(scope, shape), shape, conv)
    }

    fn with_weight(scope: &Scope, weight: Weight, shape: [i64; 4], conv: Conv) -> Self {
        let fan_in = shape[1..].iter().product::<i64>().max(1);
        let bias = conv.bias.then(|| scope.param("bias", &shape[..1], scope.start().bias(fan_in), Role::Bias));
        Conv2d { path: scope.path().to_owned(), weight, shape, bias, conv }
    }

    /// A convolution with a bias called `name`, both made of what `kernel` reads from a trained model below `scope`:
    /// the [deployed form](crate::reparam) of several layers.
    pub fn merged(
        scope: &Scope,
        name: &str,
        (in_channels, out_channels): (i64, i64),
        conv: Conv,
        kernel: impl Fn(&Trained<'_>) -> Result<Kernel, Unmade> + Send + Sync + 'static,
    ) -> Self {
        let (own, conv) = (scope / name, conv.with_bias());
        let shape = conv.weight_shape(in_channels, out_channels);
        let layer = Self::with_weight(&own, Weight::plain(&own, shape), shape, conv);
        let outputs = [format!("{name}.weight"), format!("{name}.bias")];
        scope.made_from(&outputs.each_ref().map(String::as_str), move |trained| {
            kernel(trained).map(|it| it.into_tensors().into())
        });
        layer
    }

    /// Reads a trained convolution of that make.
    pub fn reader(
        scope: &Scope,
        in_channels: i64,
        out_channels: i64,
        conv: Conv,
    ) -> impl Fn(&Trained<'_>) -> Result<Kernel, Unmade> + Clone + Send + Sync + use<> {
        let shape = conv.weight_shape(in_channels, out_channels);
        let weight = Weight::reader(scope, shape);
        move |trained| {
            let bias = if conv.bias { Some(trained.get("bias", &shape[..1])?) } else { None };
            Ok(Kernel::new(weight(trained)?, bias))
        }
    }

    /// The kernel that is convolved with.
    pub fn weight(&self) -> Tensor {
        self.weight.value()
    }

    /// The bias, if it has one.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// (B, in, H, W) to (B, out, H', W').
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_with(x, &self.weight.value())
    }

    /// As [`Conv2d::forward`], with a kernel that was computed from its own.
    pub fn forward_with(&self, x: &Tensor, weight: &Tensor) -> Tensor {
        let y = if trace::shapes_only() { self.zeros(x) } else { self.convolve(x, weight) };
        let params = self.weight.params() + self.bias.as_ref().map_or(0, Tensor::numel) as u64;
        let macs_per_output = self.shape[1..].iter().product::<i64>() as u64;
        trace::report("Conv2d", &self.path, &y, params, y.numel() as u64 * macs_per_output);
        y
    }

    /// The one place that decides how a convolution is computed.
    fn convolve(&self, x: &Tensor, weight: &Tensor) -> Tensor {
        let Conv { stride, padding, dilation, groups, .. } = self.conv;
        let depthwise = self.conv.lie == Lie::Square && groups > 1 && self.shape[..2] == [groups, 1];
        if depthwise && dilation == 1 && is_grad_enabled() {
            // libtorch's weight gradient of these is what a training step would wait for.
            if let Ok(y) = depthwise::conv2d(x, weight, self.bias.as_ref(), stride, padding) {
                return y;
            }
        }
        let (stride, padding) = (self.conv.sides(stride, 1), self.conv.sides(padding, 0));
        if self.conv.kernel == 1 && stride != [1, 1] && padding == [0, 0] && is_grad_enabled() {
            // The pixels that it skips are left out beforehand: libtorch 2.13's weight gradient of a channels-last 1×1
            // convolution with a stride and 3 or 8 channels writes past the end of its buffer.
            let kept = x.slice(2, None, None, stride[0]).slice(3, None, None, stride[1]);
            return kept.conv2d(weight, self.bias.as_ref(), [1, 1], [0, 0], [1, 1], groups);
        }
        x.conv2d(weight, self.bias.as_ref(), stride, padding, [dilation; 2], groups)
    }

    /// Zeros of the output's shape that take no memory.
    fn zeros(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        let shape = [size[0], self.shape[0], self.conv.out_size(0, size[2]), self.conv.out_size(1, size[3])];
        Tensor::zeros([1], (Kind::Float, x.device())).expand(shape, false)
    }
}

#[cfg(test)]
mod tests {
    use mmy_torch::memory_format::{MemoryFormat, to_memory_format};
    use tch::Device;

    use super::*;
    use crate::ParamStore;

    #[test]
    fn a_kernel_of_one_pixel_that_skips_others_has_libtorchs_numbers() {
        let options = (Kind::Float, Device::Cpu);
        let store = ParamStore::new(Device::Cpu, 0);
        let conv = Conv2d::new(&(store.root() / "conv"), 3, 8, Conv::new(1, 2).with_bias());
        let x = Tensor::randn([2, 3, 41, 40], options).set_requires_grad(true);
        let weight = conv.weight();
        let grads = |y: Tensor| {
            let slopes = Tensor::arange(y.numel() as i64, options).sin().view_as(&y);
            let inputs = [x.shallow_clone(), weight.shallow_clone(), conv.bias().expect("a bias").shallow_clone()];
            Tensor::run_backward(&[(y * slopes).sum(Kind::Float)], &inputs, false, false)
        };
        // In contiguous layout libtorch is right.
        let plain = x.conv2d(&weight.contiguous(), conv.bias(), [2, 2], [0, 0], [1, 1], 1);
        let y = conv.forward(&to_memory_format(&x, MemoryFormat::ChannelsLast).expect("four axes"));
        assert_eq!(y.size(), plain.size());
        assert!((&y - &plain).abs().max().double_value(&[]) < 1e-6);
        for (ours, theirs) in grads(y).iter().zip(grads(plain)) {
            assert!((ours - &theirs).abs().max().double_value(&[]) < 1e-5 * theirs.abs().max().double_value(&[]));
        }
    }

    #[test]
    fn shapes_without_computing_are_those_of_computing() {
        let x = Tensor::zeros([2, 4, 13, 16], (Kind::Float, Device::Cpu));
        let store = ParamStore::new(Device::Cpu, 0);
        for (i, conv) in [
            Conv::new(3, 2),
            Conv::new(6, 2).padding(2).with_bias(),
            Conv::new(7, 1).groups(4),
            Conv::new(3, 1).dilation(2),
            Conv::new(1, 3),
            Conv::row(3, 2),
            Conv::column(5, 1).groups(2),
        ]
        .into_iter()
        .enumerate()
        {
            let layer = Conv2d::new(&(store.root() / i), 4, 8, conv);
            let (full, rows) = trace::record(|| layer.forward(&x));
            let (dry, dry_rows) = trace::shapes(|| layer.forward(&x));
            assert_eq!((full.size(), rows), (dry.size(), dry_rows), "{conv:?}");
        }
    }

    #[test]
    fn multiply_adds_are_counted_by_hand() {
        let store = ParamStore::dry();
        let layer = Conv2d::new(&store.root(), 8, 16, Conv::new(3, 1).groups(4).with_bias());
        let x = Tensor::zeros([1, 8, 10, 10], (Kind::Float, Device::Cpu));
        let (_, rows) = trace::shapes(|| layer.forward(&x));
        assert_eq!((rows[0].params, rows[0].macs), (16 * 2 * 9 + 16, 100 * 16 * 2 * 9));
    }
}
