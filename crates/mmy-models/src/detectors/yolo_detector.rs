//! Backbone, neck and head in a row.

use mmy_nn::{ParamStore, Scope, trace};
use mmy_registry::{Build, BuildError, Slot, register};
use mmy_structures::{Batch, Detections};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{
    heads::TestCfg,
    kinds::{
        BBoxHead, Backbone, DataPreprocessor, DenseHead, Detector, DetectorModel, FeatureMixer, Features, HeadArgs,
        Losses, Maps, ModelError, Neck, NeckArgs, Preprocess, default_slot,
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

fn default_data_preprocessor() -> Slot<DataPreprocessor> {
    default_slot("DetDataPreprocessor")
}

impl Build<Detector> for Config {
    fn build(&self, scope: &Scope) -> Result<Box<dyn DetectorModel>, BuildError> {
        if !scope.store().is_dry() {
            // Everything that cannot fit is found before memory is asked for. What this build would warn of, the real
            // one warns of again.
            let silent = tracing::subscriber::NoSubscriber::default();
            tracing::subscriber::with_default(silent, || self.assemble(&ParamStore::dry().root()))?;
        }
        let model = self.assemble(scope)?;
        scope.store().check().map_err(|it| BuildError::new(it.to_string()))?;
        Ok(Box::new(model))
    }
}

impl Config {
    fn assemble(&self, scope: &Scope) -> Result<YoloDetector, BuildError> {
        self.test_cfg.check().map_err(|it| it.at("test_cfg"))?;
        let preprocessor = self.data_preprocessor.build(())?;
        let backbone = self.backbone.build(&(scope / "backbone"))?;
        let features = backbone.feature_info();
        let neck = self.neck.build(NeckArgs { scope: &(scope / "neck"), features: &features })?;
        let features = neck.feature_info();
        let head = HeadArgs { scope: &(scope / "bbox_head"), features: &features, test_cfg: &self.test_cfg };
        let head = self.bbox_head.build(head)?;
        let size_divisor = features.iter().map(|it| it.stride).max().unwrap_or(1);
        Ok(YoloDetector { preprocessor, backbone, neck, head, size_divisor })
    }
}

#[derive(Debug)]
struct YoloDetector {
    preprocessor: Box<dyn Preprocess>,
    backbone: Box<dyn Features>,
    neck: Box<dyn FeatureMixer>,
    head: Box<dyn DenseHead>,
    size_divisor: i64,
}

impl YoloDetector {
    /// Errors unless the layers can take such a batch.
    fn check(&self, x: &Tensor) -> Result<(i64, i64), ModelError> {
        let size = x.size();
        let &[batch, 3, height, width] = size.as_slice() else { return Err(ModelError::Shape(size)) };
        if batch == 0 || height == 0 || width == 0 {
            return Err(ModelError::Shape(size));
        }
        let divisor = self.size_divisor;
        if height % divisor != 0 || width % divisor != 0 {
            return Err(ModelError::Size { height, width, divisor });
        }
        Ok((height, width))
    }

    /// Preprocessed pictures to the head's raw predictions, and the pictures' size.
    fn raw(&self, batch: &Batch, train: bool) -> Result<(Vec<Tensor>, (i64, i64)), ModelError> {
        let pictures = batch.inputs.size();
        if pictures.len() != 4 || pictures[1] != 3 {
            return Err(ModelError::Shape(pictures));
        }
        if !matches!(batch.inputs.kind(), Kind::Uint8 | Kind::Float) {
            return Err(ModelError::NumberKind { expected: "Uint8 or Float", found: batch.inputs.kind() });
        }
        let inputs = self.preprocessor.forward(&batch.inputs);
        let size = self.check(&inputs)?;
        let features = self.backbone.forward(&inputs, train);
        let features = self.neck.forward(&features, train);
        Ok((self.head.forward(&features, train), size))
    }
}

impl DetectorModel for YoloDetector {
    fn num_classes(&self) -> usize {
        self.head.num_classes()
    }

    fn size_divisor(&self) -> i64 {
        self.size_divisor
    }

    fn loss(&self, batch: &Batch) -> Result<Losses, ModelError> {
        let (raw, size) = self.raw(batch, true)?;
        self.head.loss(&raw, &batch.targets, size)
    }

    fn predict(&self, batch: &Batch) -> Result<Vec<Detections>, ModelError> {
        let pictures = batch.inputs.size().first().map_or(0, |it| *it as usize);
        if batch.metas.len() != pictures {
            return Err(ModelError::Metas { metas: batch.metas.len(), pictures });
        }
        tch::no_grad(|| {
            let (raw, _) = self.raw(batch, false)?;
            self.head.predict(&raw, &batch.metas)
        })
    }

    fn forward(&self, inputs: &Tensor, train: bool) -> Result<Maps, ModelError> {
        if inputs.kind() != Kind::Float {
            return Err(ModelError::NumberKind { expected: "Float", found: inputs.kind() });
        }
        self.check(inputs)?;
        let backbone = self.backbone.forward(inputs, train);
        let neck = self.neck.forward(&backbone, train);
        let head = self.head.split(&self.head.forward(&neck, train));
        Ok(Maps { backbone, neck, head })
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
