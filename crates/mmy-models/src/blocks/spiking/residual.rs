//! The branch that all blocks of EMS-ResNet have.

use mmy_nn::{Scope, layers::MaxPool2d};
use mmy_registry::BuildError;
use tch::Tensor;

use super::ConvNorm;
use crate::{
    kinds::in_range,
    layers::spiking::{Kernels, LAST_NORM_SCALE, Membrane, NORM_SCALE, Neurons},
};

/// Neurons, convolution, norm, twice: `residual_function.0` … `residual_function.5`.
#[derive(Debug)]
pub(super) struct Residual {
    first: (Neurons, ConvNorm),
    second: (Neurons, ConvNorm),
}

/// What a block of EMS-ResNet is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Channels that it takes.
    pub(super) from: i64,
    /// Channels between the two convolutions.
    pub(super) hidden: i64,
    /// Channels that it gives.
    pub(super) to: i64,
    /// Height and width of both kernels.
    pub(super) kernel: i64,
    /// Stride of the first convolution.
    pub(super) stride: i64,
    /// Time steps.
    pub(super) steps: i64,
    /// What the convolutions multiply by.
    pub(super) kernels: Kernels,
}

impl Sizes {
    /// Errors unless such a block can be made; keys are `k`, `s` and `e`.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        if self.kernel % 2 == 0 {
            return Err(BuildError::new(format!("a kernel of {} has no middle", self.kernel))
                .at("k")
                .help("use 1 or 3"));
        }
        in_range("k", self.kernel, 1..=7)?;
        in_range("s", self.stride, 1..=8)?;
        in_range("e", self.hidden, 1..=65_536)
    }
}

impl Residual {
    pub(super) fn new(scope: &Scope, sizes: Sizes) -> Self {
        let Sizes { from, hidden, to, kernel, stride, steps, kernels } = sizes;
        let scope = scope / "residual_function";
        let neurons = |i: i64| Neurons::new(&(&scope / i), steps, Membrane::Exact);
        let conv = |i: i64, channels, stride, scale| {
            ConvNorm::new((&(&scope / i), &(&scope / (i + 1))), channels, (kernel, stride), kernels, scale)
        };
        Residual {
            first: (neurons(0), conv(1, (from, hidden), stride, NORM_SCALE)),
            second: (neurons(3), conv(4, (hidden, to), 1, LAST_NORM_SCALE)),
        }
    }

    pub(super) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let y = self.first.1.forward(&self.first.0.forward(x), train);
        self.second.1.forward(&self.second.0.forward(&y), train)
    }
}

/// The way past the branch: a 1×1 convolution and a norm, behind neurons or not, at the places `at` and `at + 1` of
/// `shortcut`.
#[derive(Debug)]
pub(super) struct Shortcut {
    neurons: Option<Neurons>,
    conv: ConvNorm,
}

impl Shortcut {
    pub(super) fn new(scope: &Scope, sizes: Sizes, to: i64, neurons_at: Option<i64>, at: i64) -> Self {
        let scope = scope / "shortcut";
        let places = (&(&scope / at), &(&scope / (at + 1)));
        Shortcut {
            neurons: neurons_at.map(|it| Neurons::new(&(&scope / it), sizes.steps, Membrane::Exact)),
            conv: ConvNorm::new(places, (sizes.from, to), (1, 1), sizes.kernels, NORM_SCALE),
        }
    }

    pub(super) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        match &self.neurons {
            Some(neurons) => self.conv.forward(&neurons.forward(x), train),
            None => self.conv.forward(x, train),
        }
    }
}

/// Maximum over squares of `stride` pixels, which leaves the size of a branch of that stride.
pub(super) fn pool(scope: &Scope, stride: i64) -> Option<MaxPool2d> {
    (stride > 1).then(|| MaxPool2d::new(scope, stride, stride, 0))
}
