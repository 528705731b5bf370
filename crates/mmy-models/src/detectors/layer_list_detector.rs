//! A detector written as a list of layers.

use mmy_nn::{
    Scope,
    layers::{Activation, Norm},
};
use mmy_registry::{Build, BuildError, Slot, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    detectors::{
        one_stage::{Body, BodyMaps, OneStage},
        yolo_detector::default_data_preprocessor,
    },
    heads::{
        TestCfg,
        yolov5_head::{Lessons, default_bbox_coder, default_near_neighbor_thr, default_prior_match_thr},
    },
    kinds::{BBoxCoder, BoxLoss, DataPreprocessor, Detector, DetectorModel, FeatureInfo, ListSettings, Loss, in_range},
    layer_list::{Anchors, LayerEntry, LayerList, LineInfo, ListSource},
};

register!(Detector, "LayerListDetector", Config);

/// A one-stage detector written as YOLOv5 writes its models: a list of lines `[from, number, module, arguments]`, of which
/// the last one detects. Any registered block, backbone or neck can be a module.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Bytes to what the first line takes.
    #[serde(default = "default_data_preprocessor")]
    pub data_preprocessor: Slot<DataPreprocessor>,
    /// Number of classes.
    pub nc: i64,
    /// Factor of the numbers of repeats, rounded, at least 1.
    #[serde(default = "one")]
    pub depth_multiple: f64,
    /// Factor of the channels, rounded up to a multiple of 8.
    #[serde(default = "one")]
    pub width_multiple: f64,
    /// For each level of the detecting line, width and height of its anchors in pixels of the input.
    #[serde(default)]
    pub anchors: Anchors,
    /// The activation of blocks that are not told another.
    #[serde(default)]
    pub act_cfg: Activation,
    /// The normalisation of all blocks.
    #[serde(default)]
    pub norm_cfg: Norm,
    /// Time steps of a spiking model. Pictures are then repeated as often, or come as so many event frames, and the
    /// detecting line takes the mean over time.
    #[serde(default = "one_step")]
    pub time_steps: i64,
    /// The first lines.
    pub backbone: Vec<LayerEntry>,
    /// The lines after them. The two lists are one: the numbers of maps go on.
    #[serde(default)]
    pub head: Vec<LayerEntry>,
    /// How predictions are taught and read.
    pub bbox_head: HeadCfg,
    /// How found boxes are filtered.
    #[serde(default)]
    pub test_cfg: TestCfg,
}

/// How the predictions of a [`Config`] are taught and read.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadCfg {
    /// How predicted numbers become boxes.
    #[serde(default = "default_bbox_coder")]
    pub bbox_coder: Slot<BBoxCoder>,
    /// Loss of the classes of positive predictions; with a single class there is nothing to learn and it is 0.
    pub loss_cls: Slot<Loss>,
    /// Loss of the boxes of positive predictions.
    pub loss_bbox: Slot<BoxLoss>,
    /// Loss of the objectness of all predictions.
    pub loss_obj: Slot<Loss>,
    /// A box belongs to an anchor when neither side is this many times the other's or more.
    #[serde(default = "default_prior_match_thr")]
    pub prior_match_thr: f32,
    /// How near, in cells, a centre has to be to a neighbouring cell for that to learn the box too; at most 0.5.
    #[serde(default = "default_near_neighbor_thr")]
    pub near_neighbor_thr: f32,
    /// Factor of the objectness loss of each level, finest first; by default 4, 1, 0.4 for three levels and 4, 1, 0.25,
    /// 0.06, 0.02 for any other number.
    #[serde(default)]
    pub obj_level_weights: Option<Vec<f64>>,
}

fn one() -> f64 {
    1.0
}

fn one_step() -> i64 {
    1
}

impl HeadCfg {
    /// The factors of the objectness losses of so many levels.
    fn level_weights(&self, levels: usize) -> Vec<f64> {
        match (&self.obj_level_weights, levels) {
            (Some(weights), _) => weights.clone(),
            (None, 3) => vec![4.0, 1.0, 0.4],
            (None, _) => [4.0, 1.0, 0.25, 0.06].into_iter().chain(std::iter::repeat(0.02)).take(levels).collect(),
        }
    }
}

impl Build<Detector> for Config {
    fn build(&self, scope: &Scope) -> Result<Box<dyn DetectorModel>, BuildError> {
        OneStage::build(scope, |scope| self.assemble(scope))
    }
}

impl Config {
    fn assemble(&self, scope: &Scope) -> Result<OneStage<Lines>, BuildError> {
        in_range("nc", self.nc, 1..=100_000)?;
        in_range("depth_multiple", self.depth_multiple, 0.01..=16.0)?;
        in_range("width_multiple", self.width_multiple, 0.01..=16.0)?;
        in_range("time_steps", self.time_steps, 1..=1024)?;
        self.test_cfg.check().map_err(|it| it.at("test_cfg"))?;
        let preprocessor = self.data_preprocessor.build(())?;
        let settings = ListSettings {
            num_classes: self.nc,
            width_multiple: self.width_multiple,
            anchors: self.anchors.0.clone(),
            act: self.act_cfg,
            norm: self.norm_cfg,
            time_steps: self.time_steps,
        };
        let source = ListSource {
            parts: vec![("backbone", &self.backbone), ("head", &self.head)],
            depth_multiple: self.depth_multiple,
            settings: &settings,
            input: FeatureInfo { channels: 3, stride: 1 },
            outputs: &[],
        };
        let (list, detect) = LayerList::build(&source, &(scope / "model"))?;
        let Some(detect) = detect else {
            let part = if self.head.is_empty() { "backbone" } else { "head" };
            let message = "the last line does not detect anything";
            let help = "end the list with a line such as [[17, 20, 23], 1, \"Detect\", []]";
            return Err(BuildError::new(message).at(part).help(help));
        };
        let cfg = &self.bbox_head;
        let weights = cfg.level_weights(detect.priors.strides().len());
        let lessons = Lessons {
            bbox_coder: &cfg.bbox_coder,
            loss_cls: &cfg.loss_cls,
            loss_bbox: &cfg.loss_bbox,
            loss_obj: &cfg.loss_obj,
            prior_match_thr: cfg.prior_match_thr,
            near_neighbor_thr: cfg.near_neighbor_thr,
            obj_level_weights: &weights,
        };
        let head = lessons.head(detect.module, detect.priors, &self.test_cfg).map_err(|it| it.at("bbox_head"))?;
        let strides = list.lines().iter().flat_map(|it| &it.outputs).map(|it| it.stride);
        let size_divisor = strides.max().unwrap_or(1);
        Ok(OneStage { preprocessor, body: Lines { list, time_steps: self.time_steps }, head, size_divisor })
    }
}

#[derive(Debug)]
struct Lines {
    list: LayerList,
    time_steps: i64,
}

impl Body for Lines {
    fn forward(&self, x: &Tensor, train: bool) -> BodyMaps {
        BodyMaps { backbone: Vec::new(), neck: self.list.forward(x, train) }
    }

    fn time_steps(&self) -> i64 {
        self.time_steps
    }

    fn lines(&self) -> &[LineInfo] {
        self.list.lines()
    }
}
