//! MobileOne's block (arXiv 2206.04040) with timm's names.

use mmy_nn::{
    Scope,
    layers::{Activation, Norm},
};
use tch::Tensor;

use crate::layers::{BranchNames, BranchSum, Branches, SqueezeExcite};

/// timm's names.
const NAMES: BranchNames = BranchNames {
    identity: "identity",
    kxk: |i| format!("conv_kxk.{i}"),
    scale: "conv_scale",
    deployed: "reparam_conv",
};

/// A sum of branches, then channels are weighted, if asked for, then ReLU: `identity`, `conv_kxk.I`, `conv_scale`, `attn`;
/// deployed `reparam_conv`, `attn`.
#[derive(Debug)]
pub struct MobileOneBlock {
    path: String,
    sum: BranchSum,
    attention: Option<SqueezeExcite>,
}

impl MobileOneBlock {
    /// `count` kernels of `kernel` × `kernel` side by side, from `from` to `to` channels; the input itself is a branch
    /// where it has the shape of the output.
    pub fn new(
        scope: &Scope,
        (from, to): (i64, i64),
        (kernel, stride, groups): (i64, i64, i64),
        count: i64,
        attention: bool,
    ) -> Self {
        let identity = from == to && stride == 1;
        let branches = Branches { kernel, stride, groups, count, identity, norm: Norm::TORCH };
        MobileOneBlock {
            path: scope.path().to_owned(),
            sum: BranchSum::new(scope, NAMES, (from, to), branches),
            attention: attention.then(|| SqueezeExcite::new(&(scope / "attn"), ["fc1", "fc2"], to)),
        }
    }

    /// (B, from, H, W) to (B, to, H / stride, W / stride).
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let y = self.sum.forward(x, train);
        let y = match &self.attention {
            Some(attention) => attention.forward(&y),
            None => y,
        };
        Activation::ReLU.forward(y, format_args!("{}.act", self.path))
    }
}
