//! YOLOv5's neck (PANet, arXiv 1803.01534, of CSP layers) as MMYOLO names it.

use mmy_nn::layers::{Activation, Conv, ConvModule, Norm, upsample_nearest};
use mmy_registry::{Build, BuildError, Code, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    kinds::{FeatureInfo, FeatureMixer, Neck, NeckArgs, in_range},
    layers::CSPLayer,
    scaling::{check_factors, check_in_channels, make_divisible, make_round},
};

register!(Neck, "YOLOv5PAFPN", Config);

/// YOLOv5's path aggregation network: coarse maps are enlarged and joined to finer ones, then fine maps are reduced and
/// joined to coarser ones, each join followed by a CSP layer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Channels of the backbone's maps before `widen_factor`, finest first.
    pub in_channels: Vec<i64>,
    /// Taken because MMYOLO's configs give it; the neck gives as many channels as it is given.
    pub out_channels: Vec<i64>,
    /// Factor of `num_csp_blocks`.
    pub deepen_factor: f64,
    /// Factor of `in_channels`.
    pub widen_factor: f64,
    /// Bottlenecks in each CSP layer, before `deepen_factor`.
    pub num_csp_blocks: i64,
    /// Whether the whole neck is left untrained.
    pub freeze_all: bool,
    /// The normalisation.
    pub norm_cfg: Norm,
    /// The activation.
    pub act_cfg: Activation,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            in_channels: vec![256, 512, 1024],
            out_channels: vec![256, 512, 1024],
            deepen_factor: 1.0,
            widen_factor: 1.0,
            num_csp_blocks: 1,
            freeze_all: false,
            norm_cfg: Norm::default(),
            act_cfg: Activation::SiLU,
        }
    }
}

impl Build<Neck> for Config {
    fn build(&self, NeckArgs { scope, features }: NeckArgs<'_>) -> Result<Box<dyn FeatureMixer>, BuildError> {
        check_factors(self.deepen_factor, self.widen_factor)?;
        in_range("num_csp_blocks", self.num_csp_blocks, 1..=100)?;
        if let Some(channels) = self.in_channels.iter().find(|it| !(1..=65_536).contains(*it)) {
            return Err(BuildError::new(format!("{channels} is no number of channels")).at("in_channels"));
        }
        check_in_channels(&self.in_channels, self.widen_factor, "backbone", features)?;
        if features.len() < 2 {
            let error = BuildError::new("there is nothing to mix in a single map").code(Code::LevelMismatch);
            return Err(error.at("in_channels").help("name at least two stages in the backbone's out_indices"));
        }
        self.check_strides(features)?;
        self.check_joins()?;

        let scope = if self.freeze_all { scope.freeze() } else { scope.clone() };
        let (norm, act) = (self.norm_cfg, self.act_cfg);
        let blocks = make_round(self.num_csp_blocks, self.deepen_factor);
        let width: Vec<_> = features.iter().map(|it| it.channels).collect();
        let top = width.len() - 1;
        let csp = |name: &str, i: usize, path: &str, from, to| {
            let scope = &scope / name / i;
            let scope = if path.is_empty() { scope } else { scope / path };
            CSPLayer::new(&scope, (from, to), blocks, false, norm, act)
        };
        // Names count the way that the layers are used in, from the coarsest map on; so they are made in that order.
        let reduce = scope.clone() / "reduce_layers" / top;
        let reduce = ConvModule::new(&reduce, width[top], width[top - 1], Conv::new(1, 1), norm, act);
        let mut top_down = Vec::new();
        for (place, level) in (1..=top).rev().enumerate() {
            let (from, to) = (2 * width[level - 1], width[level - 1]);
            top_down.push(if level == 1 {
                (csp("top_down_layers", place, "", from, to), None)
            } else {
                let layer = csp("top_down_layers", place, "0", from, to);
                let narrow = &scope / "top_down_layers" / place / 1;
                let narrow = ConvModule::new(&narrow, to, width[level - 2], Conv::new(1, 1), norm, act);
                (layer, Some(narrow))
            });
        }
        let down = |level: usize| {
            let scope = &scope / "downsample_layers" / level;
            ConvModule::new(&scope, width[level], width[level], Conv::new(3, 2), norm, act)
        };
        let downsample = (0..top).map(down).collect();
        let up = |level: usize| csp("bottom_up_layers", level, "", 2 * width[level], width[level + 1]);
        let bottom_up = (0..top).map(up).collect();
        Ok(Box::new(Pafpn { reduce, top_down, downsample, bottom_up, features: features.to_vec() }))
    }
}

impl Config {
    /// The neck enlarges and reduces by two.
    fn check_strides(&self, features: &[FeatureInfo]) -> Result<(), BuildError> {
        let strides: Vec<_> = features.iter().map(|it| it.stride).collect();
        if strides.windows(2).all(|it| it[1] == 2 * it[0]) {
            return Ok(());
        }
        let message = format!("the backbone's maps have strides {strides:?}, but the neck needs each twice the last");
        Err(BuildError::new(message)
            .code(Code::StrideMismatch)
            .help("choose neighbouring stages in the backbone's out_indices"))
    }

    /// Two maps joined have to have as many channels as the layer that takes them, which MMYOLO scales as a whole.
    fn check_joins(&self) -> Result<(), BuildError> {
        let width = |channels| make_divisible(channels, self.widen_factor);
        for &channels in &self.in_channels[..self.in_channels.len() - 1] {
            let (joined, expected) = (2 * width(channels), width(2 * channels));
            if joined != expected {
                let given: Vec<_> = self.in_channels.iter().map(|&it| width(it)).collect();
                let message = format!(
                    "widen_factor = {} makes {} channels of {channels}, and two such maps have {joined}, but {expected} \
                     of {}",
                    self.widen_factor,
                    width(channels),
                    2 * channels
                );
                let help = format!("set in_channels = {given:?} and widen_factor = 1.0");
                return Err(BuildError::new(message).code(Code::ChannelMismatch).at("in_channels").help(help));
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Pafpn {
    reduce: ConvModule,
    /// From the coarsest join to the finest; all but the last are narrowed to the next finer map's width.
    top_down: Vec<(CSPLayer, Option<ConvModule>)>,
    downsample: Vec<ConvModule>,
    bottom_up: Vec<CSPLayer>,
    features: Vec<FeatureInfo>,
}

impl FeatureMixer for Pafpn {
    fn feature_info(&self) -> Vec<FeatureInfo> {
        self.features.clone()
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Vec<Tensor> {
        let top = features.len() - 1;
        // What the way back down is joined to, coarsest first.
        let mut lateral = vec![self.reduce.forward(&features[top], train)];
        for ((csp, narrow), finer) in self.top_down.iter().zip(features[..top].iter().rev()) {
            let coarse = upsample_nearest(&lateral[lateral.len() - 1], 2);
            let joined = csp.forward(&Tensor::cat(&[&coarse, finer], 1), train);
            lateral.push(match narrow {
                Some(narrow) => narrow.forward(&joined, train),
                None => joined,
            });
        }
        let mut outs: Vec<_> = lateral.pop().into_iter().collect();
        for ((down, csp), lateral) in self.downsample.iter().zip(&self.bottom_up).zip(lateral.iter().rev()) {
            let fine = down.forward(&outs[outs.len() - 1], train);
            outs.push(csp.forward(&Tensor::cat(&[&fine, lateral], 1), train));
        }
        outs
    }
}
