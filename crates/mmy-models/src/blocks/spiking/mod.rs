//! Blocks of EMS-YOLO ("Deep Directly-Trained Spiking Neural Networks for Object Detection", arXiv 2307.11411).
//!
//! They take the list's `time_steps` and work on maps that hold time and batch in one axis; see
//! [`layers::spiking`](crate::layers::spiking). Names of weights are the original's.

pub mod basic;
pub mod concat;
pub mod conv;
pub mod pools;
mod residual;
pub mod sample;
pub mod zeropad;

use mmy_nn::{Scope, layers::Conv};
use tch::Tensor;

use crate::layers::spiking::{Kernels, SpikingConv2d, TimeNorm};

/// A convolution and a norm over time, which give currents: names are the caller's.
#[derive(Debug)]
struct ConvNorm {
    conv: SpikingConv2d,
    norm: TimeNorm,
}

impl ConvNorm {
    fn new(
        (conv, norm): (&Scope, &Scope),
        channels: (i64, i64),
        (kernel, stride): (i64, i64),
        kernels: Kernels,
        scale: f64,
    ) -> Self {
        ConvNorm {
            conv: SpikingConv2d::new(conv, channels, Conv::new(kernel, stride), kernels),
            norm: TimeNorm::new(norm, channels.1, scale),
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.norm.forward(&self.conv.forward(x), train)
    }
}
