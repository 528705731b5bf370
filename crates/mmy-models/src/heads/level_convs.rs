//! One convolution of 1×1 for each level, which predicts.

use mmy_nn::{
    Scope,
    layers::{Conv, Conv2d},
};
use tch::Tensor;

use crate::kinds::{FeatureInfo, Predictor};

/// One convolution of 1×1 for each level. Its biases start where eight objects in a picture of 640 pixels, each of any
/// class with probability 0.6 in all, would be a fair guess.
#[derive(Debug)]
pub(crate) struct LevelConvs {
    num_classes: i64,
    num_base_priors: i64,
    strides: Vec<i64>,
    convs: Vec<Conv2d>,
}

impl LevelConvs {
    /// Makes the convolution of level i at `scope / i`.
    pub(crate) fn new(
        scope: &Scope,
        features: &[FeatureInfo],
        strides: &[i64],
        num_classes: i64,
        num_base_priors: i64,
    ) -> Self {
        let outputs = num_base_priors * (5 + num_classes);
        let conv = |(i, it): (usize, &FeatureInfo)| {
            Conv2d::new(&(scope / i), it.channels, outputs, Conv::new(1, 1).with_bias())
        };
        let convs = features.iter().enumerate().map(conv).collect();
        let layers = LevelConvs { num_classes, num_base_priors, strides: strides.to_vec(), convs };
        if !scope.store().is_dry() {
            layers.start_biases();
        }
        layers
    }

    /// Adds the logits of the first guess to objectness and classes.
    fn start_biases(&self) {
        for (conv, &stride) in self.convs.iter().zip(&self.strides) {
            let Some(bias) = conv.bias() else { continue };
            let cells = 640.0 / stride as f64;
            tch::no_grad(|| {
                let bias = bias.view([self.num_base_priors, -1]);
                let _ = bias.select(1, 4).g_add_scalar_((8.0 / (cells * cells)).ln());
                let _ = bias.slice(1, 5, None, 1).g_add_scalar_((0.6 / (self.num_classes as f64 - 0.999_999)).ln());
            });
        }
    }
}

impl Predictor for LevelConvs {
    fn num_classes(&self) -> usize {
        self.num_classes as usize
    }

    fn num_base_priors(&self) -> usize {
        self.num_base_priors as usize
    }

    fn featmap_strides(&self) -> &[i64] {
        &self.strides
    }

    fn forward(&self, features: &[Tensor], _train: bool) -> Vec<Tensor> {
        self.convs.iter().zip(features).map(|(conv, x)| conv.forward(x)).collect()
    }
}
