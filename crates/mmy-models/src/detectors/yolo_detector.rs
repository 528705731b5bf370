//! Backbone, neck and head in a row.

use mmy_nn::{Scope, trace};
use mmy_registry::{Build, BuildError, Slot, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{
    detectors::one_stage::{Body, BodyMaps, OneStage},
    heads::TestCfg,
    kinds::{
        BBoxHead, Backbone, DataPreprocessor, Detector, DetectorModel, FeatureMixer, Features, HeadArgs, ModelError,
        Neck, NeckArgs, default_slot,
    },
};

register!(Detector, "YOLODetector", Config);

/// A one-stage detector: pictures go through a backbone, a neck and a head.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Bytes to what the backbone takes.
    #[serde(default = "default_data_preprocessor")]
    pub data_preprocessor: Slot<DataPreprocessor>,
    /// Pictures to feature maps.
    pub backbone: Slot<Backbone>,
    /// Feature maps to feature maps.
    pub neck: Slot<Neck>,
    /// Feature maps to losses and boxes.
    pub bbox_head: Slot<BBoxHead>,
    /// Taken because MMYOLO's configs give it; this detector has nothing to set for training.
    #[serde(default)]
    pub train_cfg: TrainCfg,
    /// How found boxes are filtered.
    #[serde(default)]
    pub test_cfg: TestCfg,
}

/// What training sets: nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainCfg {}

pub(super) fn default_data_preprocessor() -> Slot<DataPreprocessor> {
    default_slot("DetDataPreprocessor")
}

impl Build<Detector> for Config {
    fn build(&self, scope: &Scope) -> Result<Box<dyn DetectorModel>, BuildError> {
        OneStage::build(scope, |scope| self.assemble(scope))
    }
}

impl Config {
    fn assemble(&self, scope: &Scope) -> Result<OneStage<BackboneAndNeck>, BuildError> {
        self.test_cfg.check().map_err(|it| it.at("test_cfg"))?;
        let preprocessor = self.data_preprocessor.build(())?;
        let backbone = self.backbone.build(&(scope / "backbone"))?;
        let features = backbone.feature_info();
        let neck = self.neck.build(NeckArgs { scope: &(scope / "neck"), features: &features })?;
        let features = neck.feature_info();
        let head = HeadArgs { scope: &(scope / "bbox_head"), features: &features, test_cfg: &self.test_cfg };
        let head = self.bbox_head.build(head)?;
        let size_divisor = features.iter().map(|it| it.stride).max().unwrap_or(1);
        Ok(OneStage { preprocessor, body: BackboneAndNeck { backbone, neck }, head, size_divisor })
    }
}

#[derive(Debug)]
struct BackboneAndNeck {
    backbone: Box<dyn Features>,
    neck: Box<dyn FeatureMixer>,
}

impl Body for BackboneAndNeck {
    fn forward(&self, x: &Tensor, train: bool) -> BodyMaps {
        let backbone = self.backbone.forward(x, train);
        let neck = self.neck.forward(&backbone, train);
        BodyMaps { backbone, neck }
    }
}

/// The layers that a picture of `height` × `width` pixels goes through, without computing anything.
///
/// # Errors
/// As [`DetectorModel::forward`].
pub fn layer_table(model: &dyn DetectorModel, (height, width): (i64, i64)) -> Result<Vec<trace::LayerRow>, ModelError> {
    let input = Tensor::zeros([1], (Kind::Float, tch::Device::Cpu)).expand([1, 3, height, width], false);
    let (maps, rows) = trace::shapes(|| model.forward(&input, false));
    maps.map(|_| rows)
}
