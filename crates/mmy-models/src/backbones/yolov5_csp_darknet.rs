//! YOLOv5's backbone as MMYOLO names it.

use mmy_nn::{
    Scope,
    layers::{Activation, Conv, ConvModule, Norm},
};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    backbones::check_out_indices,
    kinds::{Backbone, FeatureInfo, Features, in_range},
    layers::{CSPLayer, SPPFBottleneck},
    scaling::{check_factors, make_divisible, make_round},
};

register!(Backbone, "YOLOv5CSPDarknet", Config);

/// YOLOv5's CSPDarknet (v6): a 6×6 stem and stages of a strided convolution and a CSP layer, pooled at the end. YOLOv5
/// n, s, m, l, x are `(deepen_factor, widen_factor)` = (0.33, 0.25), (0.33, 0.5), (0.67, 0.75), (1, 1), (1.33, 1.25).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Number of stages and their widths.
    pub arch: Arch,
    /// Channels of the pictures.
    pub input_channels: i64,
    /// Factor of the number of blocks of each stage.
    pub deepen_factor: f64,
    /// Factor of all channels.
    pub widen_factor: f64,
    /// Stages whose maps go to the neck, finest first; 0 is the stem with stride 2, stage i has stride 2^(i+1).
    pub out_indices: Vec<usize>,
    /// The stem and the stages up to this one are not trained; −1 trains all.
    pub frozen_stages: i64,
    /// Whether training uses the running statistics of batch norms and leaves them as they are.
    pub norm_eval: bool,
    /// The normalisation.
    pub norm_cfg: Norm,
    /// The activation.
    pub act_cfg: Activation,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            arch: Arch::P5,
            input_channels: 3,
            deepen_factor: 1.0,
            widen_factor: 1.0,
            out_indices: vec![2, 3, 4],
            frozen_stages: -1,
            norm_eval: false,
            norm_cfg: Norm::default(),
            act_cfg: Activation::SiLU,
        }
    }
}

/// Stages of a [`Config`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Arch {
    /// Four stages, down to stride 32.
    #[default]
    P5,
    /// Five stages, down to stride 64.
    P6,
}

impl Arch {
    /// For each stage: channels before and after, blocks, whether blocks have a way past them, whether it ends pooled.
    fn stages(self) -> &'static [(i64, i64, i64, bool, bool)] {
        match self {
            Arch::P5 => &[
                (64, 128, 3, true, false),
                (128, 256, 6, true, false),
                (256, 512, 9, true, false),
                (512, 1024, 3, true, true),
            ],
            Arch::P6 => &[
                (64, 128, 3, true, false),
                (128, 256, 6, true, false),
                (256, 512, 9, true, false),
                (512, 768, 3, true, false),
                (768, 1024, 3, true, true),
            ],
        }
    }
}

impl Build<Backbone> for Config {
    fn build(&self, scope: &Scope) -> Result<Box<dyn Features>, BuildError> {
        check_factors(self.deepen_factor, self.widen_factor)?;
        in_range("input_channels", self.input_channels, 1..=1024)?;
        let stages = self.arch.stages();
        in_range("frozen_stages", self.frozen_stages, -1..=stages.len() as i64)?;
        check_out_indices(&self.out_indices, stages.len() + 1)?;

        let (norm, act) = (self.norm_cfg, self.act_cfg);
        let width = |channels| make_divisible(channels, self.widen_factor);
        let scope = if self.norm_eval { scope.norm_eval() } else { scope.clone() };
        let place = |name: String, stage: usize| {
            let scope = &scope / name;
            if stage as i64 <= self.frozen_stages { scope.freeze() } else { scope }
        };
        let stem_conv = Conv::new(6, 2).padding(2);
        let stem =
            ConvModule::new(&place("stem".into(), 0), self.input_channels, width(stages[0].0), stem_conv, norm, act);
        let stages = (1..).zip(stages).map(|(i, &(from, to, blocks, add_identity, pooled))| {
            let (scope, from, to) = (place(format!("stage{i}"), i), width(from), width(to));
            let blocks = make_round(blocks, self.deepen_factor);
            Stage {
                down: ConvModule::new(&(&scope / 0), from, to, Conv::new(3, 2), norm, act),
                csp: CSPLayer::new(&(&scope / 1), (to, to), blocks, add_identity, norm, act),
                spp: pooled.then(|| SPPFBottleneck::new(&(&scope / 2), to, to, norm, act)),
                channels: to,
            }
        });
        let stages = stages.collect();
        let stem_channels = width(self.arch.stages()[0].0);
        Ok(Box::new(CSPDarknet { stem, stem_channels, stages, out_indices: self.out_indices.clone() }))
    }
}

#[derive(Debug)]
struct CSPDarknet {
    stem: ConvModule,
    stem_channels: i64,
    stages: Vec<Stage>,
    out_indices: Vec<usize>,
}

#[derive(Debug)]
struct Stage {
    down: ConvModule,
    csp: CSPLayer,
    spp: Option<SPPFBottleneck>,
    channels: i64,
}

impl Features for CSPDarknet {
    fn feature_info(&self) -> Vec<FeatureInfo> {
        let channels = |i: usize| if i == 0 { self.stem_channels } else { self.stages[i - 1].channels };
        self.out_indices.iter().map(|&i| FeatureInfo { channels: channels(i), stride: 2 << i }).collect()
    }

    fn forward(&self, x: &Tensor, train: bool) -> Vec<Tensor> {
        let mut x = self.stem.forward(x, train);
        let mut outs = Vec::new();
        if self.out_indices.contains(&0) {
            outs.push(x.shallow_clone());
        }
        for (i, stage) in (1..).zip(&self.stages) {
            x = stage.csp.forward(&stage.down.forward(&x, train), train);
            if let Some(spp) = &stage.spp {
                x = spp.forward(&x, train);
            }
            if self.out_indices.contains(&i) {
                outs.push(x.shallow_clone());
            }
        }
        outs
    }
}
