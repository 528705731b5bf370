//! YOLOv5's head: anchors, assignment, losses, boxes.

use mmy_registry::{Build, BuildError, Code, Slot, register};
use mmy_structures::{Detections, ImageMeta, Targets};
use mmy_torch::autocast::Autocast;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{
    assigners::{Level, Positives, SideRatioAssigner, targets},
    heads::{TestCfg, gather::rows_and_column, predict},
    kinds::{
        BBoxCoder, BBoxHead, BoxDistance, BoxLoss, Decoder, DenseHead, HeadArgs, HeadMaps, HeadModule, HeadModuleArgs,
        Loss, Losses, ModelError, Predictor, PriorGenerator, Priors, ScoreLoss, default_slot, in_range,
    },
};

register!(BBoxHead, "YOLOv5Head", Config);

/// YOLOv5's anchor-based head. A prediction learns a box when the sides of its anchor fit; objectness learns how well
/// the predicted box overlaps.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The layers.
    pub head_module: Slot<HeadModule>,
    /// The anchors.
    #[serde(default = "default_prior_generator")]
    pub prior_generator: Slot<PriorGenerator>,
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
    /// Factor of the objectness loss of each level, finest first.
    #[serde(default = "default_obj_level_weights")]
    pub obj_level_weights: Vec<f64>,
}

fn default_prior_generator() -> Slot<PriorGenerator> {
    default_slot("YOLOAnchorGenerator")
}

/// YOLOv5's own.
pub(crate) fn default_bbox_coder() -> Slot<BBoxCoder> {
    default_slot("YOLOv5BBoxCoder")
}

pub(crate) fn default_prior_match_thr() -> f32 {
    4.0
}

pub(crate) fn default_near_neighbor_thr() -> f32 {
    0.5
}

fn default_obj_level_weights() -> Vec<f64> {
    vec![4.0, 1.0, 0.4]
}

impl Build<BBoxHead> for Config {
    fn build(&self, HeadArgs { scope, features, test_cfg }: HeadArgs<'_>) -> Result<Box<dyn DenseHead>, BuildError> {
        let priors = self.prior_generator.build(())?;
        let module = self.head_module.build(HeadModuleArgs { scope: &(scope / "head_module"), features })?;

        let error = |key: &str, message: String, help: String| {
            BuildError::new(message).code(Code::AnchorMismatch).at(key).help(help)
        };
        if priors.strides() != module.featmap_strides() {
            let (anchors, head) = (priors.strides(), module.featmap_strides());
            let error = error(
                "prior_generator.strides",
                format!("the anchors lie at strides {anchors:?}, the head module's maps at {head:?}"),
                format!("set strides = {head:?}, or the head module's featmap_strides = {anchors:?}"),
            );
            return Err(error.fix(head));
        }
        let (sizes, per_cell) = (priors.base_sizes(), module.num_base_priors());
        if let Some(count) = sizes.iter().map(Vec::len).find(|it| *it != per_cell) {
            let error = error(
                "head_module.num_base_priors",
                format!("the head module predicts {per_cell} boxes in each cell, but there are {count} anchors"),
                format!("set num_base_priors = {count}, or give {per_cell} anchors for each level"),
            );
            return Err(error.fix(count));
        }
        let lessons = Lessons {
            bbox_coder: &self.bbox_coder,
            loss_cls: &self.loss_cls,
            loss_bbox: &self.loss_bbox,
            loss_obj: &self.loss_obj,
            prior_match_thr: self.prior_match_thr,
            near_neighbor_thr: self.near_neighbor_thr,
            obj_level_weights: &self.obj_level_weights,
        };
        lessons.head(module, priors, test_cfg)
    }
}

/// How the predictions of a head are taught and read.
#[derive(Debug)]
pub(crate) struct Lessons<'a> {
    pub(crate) bbox_coder: &'a Slot<BBoxCoder>,
    pub(crate) loss_cls: &'a Slot<Loss>,
    pub(crate) loss_bbox: &'a Slot<BoxLoss>,
    pub(crate) loss_obj: &'a Slot<Loss>,
    pub(crate) prior_match_thr: f32,
    pub(crate) near_neighbor_thr: f32,
    pub(crate) obj_level_weights: &'a [f64],
}

impl Lessons<'_> {
    /// A head over layers and anchors that fit each other.
    pub(crate) fn head(
        &self,
        module: Box<dyn Predictor>,
        priors: Box<dyn Priors>,
        test_cfg: &TestCfg,
    ) -> Result<Box<dyn DenseHead>, BuildError> {
        in_range("prior_match_thr", self.prior_match_thr, 1.0..=1000.0)?;
        in_range("near_neighbor_thr", self.near_neighbor_thr, 0.0..=0.5)?;
        let (sizes, strides) = (priors.base_sizes(), priors.strides());
        if self.obj_level_weights.len() != strides.len() {
            let message = format!("{} weights for {} levels", self.obj_level_weights.len(), strides.len());
            let help = "give one weight for each level, finest first";
            let error = BuildError::new(message).code(Code::LevelMismatch).at("obj_level_weights").help(help);
            return Err(error.fix(vec![1.0; strides.len()]));
        }
        let in_cells = |(sizes, &stride): (&Vec<(f32, f32)>, &i64)| {
            sizes.iter().map(|(w, h)| (w / stride as f32, h / stride as f32)).collect()
        };
        Ok(Box::new(Yolov5Head {
            anchors: sizes.iter().zip(strides).map(in_cells).collect(),
            module,
            priors,
            coder: self.bbox_coder.build(())?,
            loss_cls: self.loss_cls.build(())?,
            loss_bbox: self.loss_bbox.build(())?,
            loss_obj: self.loss_obj.build(())?,
            assigner: SideRatioAssigner { match_thr: self.prior_match_thr, neighbor_thr: self.near_neighbor_thr },
            obj_level_weights: self.obj_level_weights.to_vec(),
            test_cfg: test_cfg.clone(),
        }))
    }
}

#[derive(Debug)]
struct Yolov5Head {
    module: Box<dyn Predictor>,
    priors: Box<dyn Priors>,
    coder: Box<dyn Decoder>,
    loss_cls: Box<dyn ScoreLoss>,
    loss_bbox: Box<dyn BoxDistance>,
    loss_obj: Box<dyn ScoreLoss>,
    assigner: SideRatioAssigner,
    obj_level_weights: Vec<f64>,
    /// Widths and heights of each level's anchors, in cells.
    anchors: Vec<Vec<(f32, f32)>>,
    test_cfg: TestCfg,
}

impl Yolov5Head {
    /// Numbers of one prediction.
    fn width(&self) -> i64 {
        5 + self.module.num_classes() as i64
    }

    /// All predictions of a level as a table (B · H · W · priors, 5 + classes): no copy when `map` is channels-last.
    fn table(&self, map: &Tensor) -> Tensor {
        map.permute([0, 2, 3, 1]).reshape([-1, self.width()])
    }

    /// Class and box loss of one level from its positive predictions (P, 5 + classes), and what the objectness of its
    /// `places` predictions is to learn.
    fn positive_losses(&self, pred: &Tensor, positives: &Positives, places: i64) -> (Option<Tensor>, Tensor, Tensor) {
        let (anchors, boxes, labels) = positives.tensors();
        let s = pred.narrow(1, 0, 4).sigmoid() * 2.0;
        let pred_boxes = Tensor::cat(&[s.narrow(1, 0, 2) - 0.5, s.narrow(1, 2, 2).square() * anchors], 1);
        let (loss_bbox, iou) = self.loss_bbox.forward(&pred_boxes, &boxes);

        // A parallel scatter promises no order, so each place is written once, by the one that comes last.
        let (last, winners) = positives.last_at_each_place();
        let iou = iou.detach().clamp_min(0.0).index_select(0, &Tensor::from_slice(&winners));
        let mut target_obj = Tensor::zeros([places], (Kind::Float, pred.device()));
        let target_obj = target_obj.index_copy_(0, &Tensor::from_slice(&last), &iou);

        let loss_cls = (self.module.num_classes() > 1).then(|| {
            let logits = pred.slice(1, 5, None, 1);
            let target = logits.zeros_like().scatter_value_(1, &labels.unsqueeze(1), 1.0);
            self.loss_cls.forward(&logits, &target)
        });
        (loss_cls, loss_bbox, target_obj)
    }
}

impl DenseHead for Yolov5Head {
    fn num_classes(&self) -> usize {
        self.module.num_classes()
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Vec<Tensor> {
        self.module.forward(features, train)
    }

    fn split(&self, raw: &[Tensor]) -> HeadMaps {
        let mut maps = HeadMaps::default();
        for map in raw {
            let size = map.size();
            let (b, h, w) = (size[0], size[2], size[3]);
            let each = map.view([b, self.module.num_base_priors() as i64, self.width(), h, w]);
            let part = |start, length| each.narrow(2, start, length).reshape([b, -1, h, w]);
            maps.bbox.push(part(0, 4));
            maps.obj.push(part(4, 1));
            maps.cls.push(part(5, self.width() - 5));
        }
        maps
    }

    fn loss(&self, raw: &[Tensor], table: &Targets, input: (i64, i64)) -> Result<Losses, ModelError> {
        let (batch, device) = (raw[0].size()[0], raw[0].device());
        let targets = targets(table, batch, self.num_classes())?;
        let _full_precision = Autocast::disabled(device)?;
        let zero = || Tensor::zeros([], (Kind::Float, device));
        let (mut loss_cls, mut loss_obj, mut loss_bbox) = (zero(), zero(), zero());
        for (level, map) in raw.iter().enumerate() {
            let size = map.size();
            let grid = Level { size: (size[2], size[3]), anchors: &self.anchors[level] };
            let positives = self.assigner.assign(&targets, input, grid);
            let (pred, logits) = rows_and_column(&self.table(map), &Tensor::from_slice(&positives.rows), 4)?;
            let mut target_obj = logits.zeros_like();
            if !positives.is_empty() {
                let (cls, bbox, obj) = self.positive_losses(&pred, &positives, logits.size()[0]);
                loss_bbox += bbox;
                target_obj = obj;
                if let Some(cls) = cls {
                    loss_cls += cls;
                }
            }
            loss_obj += self.loss_obj.forward(&logits, &target_obj) * self.obj_level_weights[level];
        }
        let parts = [("loss_cls", loss_cls), ("loss_obj", loss_obj), ("loss_bbox", loss_bbox)];
        Ok(Losses(parts.into_iter().map(|(name, it)| (name, it * batch as f64)).collect()))
    }

    fn predict(&self, raw: &[Tensor], metas: &[ImageMeta]) -> Result<Vec<Detections>, ModelError> {
        let _full_precision = Autocast::disabled(raw[0].device())?;
        let levels = raw.iter().enumerate().map(|(level, map)| {
            let size = map.size();
            predict::Level {
                predictions: map.permute([0, 2, 3, 1]).reshape([size[0], -1, self.width()]),
                priors: self.priors.grid_priors(level, (size[2], size[3])),
                stride: self.priors.strides()[level] as f32,
            }
        });
        let levels: Vec<_> = levels.collect();
        let picture = |(i, meta)| predict::picture(&levels, i, meta, &*self.coder, &self.test_cfg);
        (0..).zip(metas).map(picture).collect()
    }
}
