//! YOLOv5's classifying layer, in both of its forms.

use mmy_nn::layers::{Conv, Conv2d, ConvModule, Linear};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{
    blocks::args::{check_groups, check_kernel, number_or_none, one},
    kinds::{Block, BlockArgs, BuiltBlock, Layer, in_range},
};

register!(Block, "Classify", Config);

/// Scores for the classes of a whole picture, (B, classes), after which a list can only end. The sixth version's form
/// (`conv.conv`, `conv.bn`, `linear`) convolves, takes the mean over the pixels and maps 1,280 channels to classes; the
/// early one (`conv`) takes the mean first and is one convolution. In order: classes, kernel, stride, padding, groups,
/// dropout, form.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Number of classes.
    pub c2: i64,
    /// Width and height of the kernel.
    #[serde(default = "one")]
    pub k: i64,
    /// Pixels from one window to the next.
    #[serde(default = "one")]
    pub s: i64,
    /// Zeros around the input; by default as many as keep its size at stride 1.
    #[serde(default, deserialize_with = "number_or_none")]
    pub p: Option<i64>,
    /// Groups of the convolution.
    #[serde(default = "one")]
    pub g: i64,
    /// Share of the 1,280 channels that training drops, 0 to below 1.
    #[serde(default)]
    pub dropout_p: f64,
    /// Whether it is the early form.
    #[serde(default)]
    pub early: bool,
}

/// Channels before the last map of the sixth version's form.
const HIDDEN: i64 = 1280;

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        in_range("c2", self.c2, 1..=100_000)?;
        check_kernel(self.k, self.s)?;
        in_range("dropout_p", self.dropout_p, 0.0..=0.99)?;
        let padding = self.p.unwrap_or(self.k / 2);
        in_range("p", padding, 0..=1024)?;
        let channels = args.inputs.iter().map(|it| it.channels).sum();
        let conv = Conv::new(self.k, self.s).padding(padding).groups(self.g);
        let layer: Box<dyn Layer> = if self.early {
            check_groups(self.g, &[channels, self.c2])?;
            Box::new(MeanFirst(Conv2d::new(&(args.scope / "conv"), channels, self.c2, conv)))
        } else {
            check_groups(self.g, &[channels, HIDDEN])?;
            if args.inputs.iter().any(|it| it.stride != args.inputs[0].stride) {
                return Err(BuildError::new("maps of different sizes cannot be joined").at("early"));
            }
            Box::new(Classify {
                conv: args.list.conv(&(args.scope / "conv"), channels, HIDDEN, conv),
                linear: Linear::new(&(args.scope / "linear"), HIDDEN, self.c2),
                dropout: self.dropout_p,
            })
        };
        Ok(BuiltBlock::Layer { layer, outputs: Vec::new() })
    }
}

/// The early form.
#[derive(Debug)]
struct MeanFirst(Conv2d);

impl Layer for MeanFirst {
    fn forward(&self, inputs: &[Tensor], _train: bool) -> Vec<Tensor> {
        let means: Vec<_> = inputs.iter().map(|it| it.mean_dim([2i64, 3].as_slice(), true, None::<Kind>)).collect();
        vec![self.0.forward(&Tensor::cat(&means, 1)).flatten(1, -1)]
    }
}

/// The sixth version's form.
#[derive(Debug)]
struct Classify {
    conv: ConvModule,
    linear: Linear,
    dropout: f64,
}

impl Layer for Classify {
    fn forward(&self, inputs: &[Tensor], train: bool) -> Vec<Tensor> {
        let y = self.conv.forward(&Tensor::cat(inputs, 1), train);
        let means = y.mean_dim([2i64, 3].as_slice(), false, None::<Kind>);
        vec![self.linear.forward(&means.dropout(self.dropout, train))]
    }
}
