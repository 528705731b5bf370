//! Convolution, norm over time, and what comes then: neurons, SiLU, or nothing.

use mmy_nn::{
    Scope,
    layers::{Activation, Conv},
};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer, in_range},
    layers::spiking::{Kernels, Membrane, NORM_SCALE, Neurons, SpikingConv2d, TimeNorm},
};

/// What comes behind the norm.
#[derive(Debug, Clone, Copy)]
enum Behind {
    Currents,
    Silu,
    Neurons(Membrane),
}

/// One name: a config type of its own, since a registered name has one.
macro_rules! block {
    ($config:ident, $name:literal, $behind:expr, $about:literal) => {
        register!(Block, $name, $config);

        #[doc = concat!("Convolution and norm over time of EMS-YOLO (arXiv 2307.11411), ", $about)]
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $config {
            /// Channels that it gives, before the list's width.
            pub c2: i64,
            /// Height and width of the kernel.
            #[serde(default = "one")]
            pub k: i64,
            /// Stride.
            #[serde(default = "one")]
            pub s: i64,
            /// Zeros around the input; half of the kernel by default.
            #[serde(default)]
            pub p: Option<i64>,
            /// Groups of channels.
            #[serde(default = "one")]
            pub g: i64,
            /// What the convolution multiplies by.
            #[serde(default)]
            pub kernels: Kernels,
        }

        impl Build<Block> for $config {
            fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
                let $config { c2, k, s, p, g, kernels } = *self;
                build(args, Sizes { c2, k, s, p, g }, kernels, $behind)
            }
        }
    };
}

block!(Conv1, "Conv_1", Behind::Currents, "which feed neurons: nothing comes behind them.");
block!(Conv2, "Conv_2", Behind::Currents, "which feed neurons: nothing comes behind them. The same as `Conv_1`.");
block!(ConvA, "Conv_A", Behind::Silu, "and SiLU of each step for itself.");
block!(
    MembraneConv,
    "MembraneConv",
    Behind::Neurons(Membrane::Silu),
    "and SiLU of a leaky potential, which is no spike: what the original calls `Conv`."
);
block!(LifConv, "LIFConv", Behind::Neurons(Membrane::Exact), "and neurons that spike.");
block!(
    LifConvQuant,
    "LIFConv_quant",
    Behind::Neurons(Membrane::Quantised),
    "and neurons that spike, whose potential is carried from step to step in two bits."
);

fn one() -> i64 {
    1
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    c2: i64,
    k: i64,
    s: i64,
    p: Option<i64>,
    g: i64,
}

fn build(args: BlockArgs<'_>, sizes: Sizes, kernels: Kernels, behind: Behind) -> Result<BuiltBlock, BuildError> {
    let input = args.input()?;
    let c2 = args.width(sizes.c2)?;
    in_range("k", sizes.k, 1..=31)?;
    in_range("s", sizes.s, 1..=32)?;
    let padding = sizes.p.unwrap_or(sizes.k / 2);
    in_range("p", padding, 0..=sizes.k)?;
    if sizes.g < 1 || input.channels % sizes.g != 0 || c2 % sizes.g != 0 {
        let message = format!("{} and {c2} channels are not {} groups", input.channels, sizes.g);
        return Err(BuildError::new(message).at("g"));
    }
    let conv = Conv::new(sizes.k, sizes.s).padding(padding).groups(sizes.g);
    let scope: &Scope = args.scope;
    let layer = SpikingConv {
        path: scope.path().to_owned(),
        conv: SpikingConv2d::new(&(scope / "conv"), (input.channels, c2), conv, kernels),
        norm: TimeNorm::new(&(scope / "bn"), c2, NORM_SCALE),
        behind: match behind {
            Behind::Neurons(membrane) => Some(Neurons::new(&(scope / "act"), args.list.time_steps, membrane)),
            _ => None,
        },
        silu: matches!(behind, Behind::Silu),
    };
    Ok(BuiltBlock::map(layer, FeatureInfo { channels: c2, stride: input.stride * sizes.s }))
}

#[derive(Debug)]
struct SpikingConv {
    path: String,
    conv: SpikingConv2d,
    norm: TimeNorm,
    behind: Option<Neurons>,
    silu: bool,
}

impl MapLayer for SpikingConv {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let y = self.norm.forward(&self.conv.forward(x), train);
        match &self.behind {
            Some(neurons) => neurons.forward(&y),
            None if self.silu => Activation::SiLU.forward(y, format_args!("{}.act", self.path)),
            None => y,
        }
    }
}
