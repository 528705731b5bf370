//! From a column's coarsest map back to the picture.

use mmy_nn::{
    Scope,
    layers::{Activation, Conv, Conv2d, DropPath, LayerNorm},
};
use tch::Tensor;

use crate::layers::ConvNextBlock;

/// A decoder: (B, C, H/32, W/32) to logits of the picture (B, 3, H, W).
#[derive(Debug)]
pub(super) enum Decoder {
    /// Three times larger step by step: `proj_layers.i`, `normal_layers.i.0`, `projback.0`.
    Stepwise { steps: Vec<Step>, last: Conv2d },
    /// One convolution that gives each cell's pixels, as the original has it for more than a thousand classes:
    /// `projback.0`, `projback.1`.
    Direct { norm: LayerNorm, last: Conv2d },
}

#[derive(Debug)]
pub(super) struct Step {
    path: String,
    narrow: Conv2d,
    norm: LayerNorm,
    block: ConvNextBlock,
}

impl Decoder {
    /// For levels of these channels, finest first.
    pub(super) fn stepwise(scope: &Scope, channels: &[i64]) -> Self {
        let pairs = channels.windows(2).rev().enumerate();
        let steps: Vec<_> = pairs
            .map(|(i, pair)| {
                let (to, from) = (pair[0], pair[1]);
                let narrow = scope / "proj_layers" / i;
                (Conv2d::new(&(&narrow / 0), from, to, point()), LayerNorm::new(&(&narrow / 1), to, 1e-6), narrow, to)
            })
            .collect();
        // The original lists all of the one before all of the other.
        let steps = steps.into_iter().enumerate().map(|(i, (narrow, norm, at, to))| Step {
            path: at.path().to_owned(),
            narrow,
            norm,
            block: ConvNextBlock::new(&(scope / "normal_layers" / i / 0), to, to, 3, DropPath::new(0.0)),
        });
        let steps = steps.collect();
        let finest = channels.first().copied().unwrap_or(1);
        Decoder::Stepwise { steps, last: Conv2d::new(&(scope / "projback" / 0), finest, 3 * 16, point()) }
    }

    /// From a map of so many channels.
    pub(super) fn direct(scope: &Scope, channels: i64) -> Self {
        let scope = scope / "projback";
        Decoder::Direct {
            norm: LayerNorm::new(&(&scope / 0), channels, 1e-6),
            last: Conv2d::new(&(&scope / 1), channels, 3 * 32 * 32, point()),
        }
    }

    pub(super) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        match self {
            Decoder::Stepwise { steps, last } => {
                let x = steps.iter().fold(x.shallow_clone(), |x, it| it.forward(&x, train));
                last.forward(&x).pixel_shuffle(4)
            }
            Decoder::Direct { norm, last } => last.forward(&norm.forward_maps(x)).pixel_shuffle(32),
        }
    }
}

impl Step {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let x = self.norm.forward_maps(&self.narrow.forward(x));
        let x = Activation::GELU.forward(x, format_args!("{}.2", self.path));
        let size = x.size();
        let x = x.upsample_bilinear2d([2 * size[2], 2 * size[3]], true, None, None);
        self.block.forward(&x, train)
    }
}

fn point() -> Conv {
    Conv::new(1, 1).with_bias()
}
