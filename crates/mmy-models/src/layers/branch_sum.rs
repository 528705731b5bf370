//! Convolutions of one geometry side by side, which are one convolution once they are trained.

use mmy_nn::{
    Scope,
    layers::{Activation, BatchNorm2d, Conv, Conv2d, ConvModule, Norm, add_into},
    reparam::{Kernel, Trained},
};
use tch::Tensor;

/// What the branches of a [`BranchSum`] are called.
#[derive(Debug, Clone, Copy)]
pub struct BranchNames {
    /// The batch norm of the input itself.
    pub identity: &'static str,
    /// The kernels side by side, as a function of their index: each has `conv` and `bn`.
    pub kxk: fn(i64) -> String,
    /// The 1×1 convolution, with `conv` and `bn`.
    pub scale: &'static str,
    /// Deployed, the one convolution.
    pub deployed: &'static str,
}

/// Geometry of a [`BranchSum`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Branches {
    /// Width and height of the kernels.
    pub kernel: i64,
    /// Stride.
    pub stride: i64,
    /// Groups of channels that do not see each other.
    pub groups: i64,
    /// Kernels side by side.
    pub count: i64,
    /// Whether the input itself is a branch; it has to have the shape of the output then.
    pub identity: bool,
    /// The batch norm of each branch.
    pub norm: Norm,
}

/// Several convolutions, a 1×1 one if they are larger, and perhaps the input itself, each with a batch norm of its own,
/// are summed. Deployed, the sum is one convolution.
///
/// It is what MobileOne's and RepVGG's blocks are made of.
#[derive(Debug)]
pub enum BranchSum {
    /// As it is trained.
    Trained {
        /// The input's own norm.
        identity: Option<BatchNorm2d>,
        /// Kernels side by side.
        kxk: Vec<ConvModule>,
        /// The 1×1 convolution.
        scale: Option<Box<ConvModule>>,
    },
    /// Merged.
    Deployed(Conv2d),
}

impl BranchSum {
    /// From `from` to `to` channels.
    pub fn new(scope: &Scope, names: BranchNames, (from, to): (i64, i64), branches: Branches) -> Self {
        let Branches { kernel, stride, groups, count, identity, norm } = branches;
        let (conv, point) = (Conv::new(kernel, stride).groups(groups), Conv::new(1, stride).groups(groups));
        if !scope.is_deployed() {
            let branch =
                |name: &str, conv| ConvModule::new(&(scope / name), from, to, conv, norm, Activation::Identity);
            return BranchSum::Trained {
                identity: identity.then(|| BatchNorm2d::new(&(scope / names.identity), from, norm)),
                kxk: (0..count).map(|i| branch(&(names.kxk)(i), conv)).collect(),
                scale: (kernel > 1).then(|| Box::new(branch(names.scale, point))),
            };
        }
        let reader = |name: String, conv| {
            let read = ConvModule::reader(&(scope / &name), from, to, conv, Some(norm));
            (name, read)
        };
        let mut readers: Vec<_> = (0..count).map(|i| reader((names.kxk)(i), conv)).collect();
        readers.extend((kernel > 1).then(|| reader(names.scale.into(), point)));
        let merge = move |trained: &Trained<'_>| {
            let mut sum = Kernel::zero(to, from / groups, kernel);
            for (name, read) in &readers {
                sum = sum.plus(&read(&(trained / name))?.padded(kernel));
            }
            if identity {
                let input = Kernel::identity(from, groups, kernel);
                sum = sum.plus(&input.normed(&(trained / names.identity), norm.eps)?);
            }
            Ok(sum)
        };
        BranchSum::Deployed(Conv2d::merged(scope, names.deployed, (from, to), conv, merge))
    }

    /// (B, from, H, W) to (B, to, H / stride, W / stride).
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        match self {
            BranchSum::Deployed(conv) => conv.forward(x),
            BranchSum::Trained { identity, kxk, scale } => {
                let identity = identity.iter().map(|it| it.forward(x, train));
                let convs = scale.as_deref().into_iter().chain(kxk).map(|it| it.forward(x, train));
                // A batch norm's gradient does not need its result.
                identity.chain(convs).reduce(|sum, it| add_into(sum, &it)).unwrap_or_else(|| x.shallow_clone())
            }
        }
    }
}
