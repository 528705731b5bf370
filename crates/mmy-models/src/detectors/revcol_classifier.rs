//! RevCol with classifiers, for training its backbone before a detector does.

mod decoder;

use mmy_nn::{
    ParamStore, Scope, Start,
    layers::{LayerNorm, Linear},
};
use mmy_registry::{Build, BuildError, register};
use mmy_structures::{BBox, Batch, Detections, Targets};
use mmy_torch::autocast::Autocast;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

use self::decoder::Decoder;
use crate::{
    backbones::revcol::{self, RevCol},
    kinds::{Detector, DetectorModel, HeadMaps, Losses, Maps, ModelError, in_range},
};

register!(Detector, "RevColClassifier", Config);

/// RevCol (arXiv 2212.11696) with a classifier, to train a backbone before a detector does: `load_from` of a detector's
/// run takes its checkpoints, since the weights have the same names (`backbone.…`). A picture's class is that of its
/// largest box, and what it predicts is the whole picture with that class; measure it with `PictureAccuracy`. Pictures
/// are taken red first, 0 to 1.
///
/// With intermediate supervision, as the original trains, a quarter, half and three quarters of the columns have a
/// classifier of their own and a decoder that draws the picture again: the early columns learn to keep what is in a
/// picture, the late ones what it is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Number of classes.
    #[serde(default = "thousand")]
    pub num_classes: i64,
    /// The backbone, with the keys of `RevCol`; by default RevCol-tiny.
    pub backbone: revcol::Config,
    /// Whether columns on the way are supervised; the number of columns is then at least 4.
    #[serde(default = "yes")]
    pub inter_supv: bool,
    /// Factor of the losses of drawn pictures; the original's FCOE.
    #[serde(default = "picture_weight")]
    pub picture_weight: f64,
    /// Factor of the losses of the classifiers on the way; the original's CCOE.
    #[serde(default = "class_weight")]
    pub class_weight: f64,
}

fn thousand() -> i64 {
    1000
}

fn yes() -> bool {
    true
}

fn picture_weight() -> f64 {
    3.0
}

fn class_weight() -> f64 {
    0.7
}

/// Classifiers with intermediate supervision, the last column's included.
const CLASSIFIERS: usize = 4;

/// More classes than that, and the original draws pictures by one convolution.
const MANY_CLASSES: i64 = 1000;

impl Build<Detector> for Config {
    fn build(&self, scope: &Scope) -> Result<Box<dyn DetectorModel>, BuildError> {
        if !scope.store().is_dry() {
            self.assemble(&ParamStore::dry().root())?;
        }
        let model = self.assemble(scope)?;
        scope.store().check().map_err(|it| BuildError::new(it.to_string()))?;
        Ok(Box::new(model))
    }
}

impl Config {
    fn assemble(&self, scope: &Scope) -> Result<RevColClassifier, BuildError> {
        in_range("num_classes", self.num_classes, 2..=100_000)?;
        in_range("picture_weight", self.picture_weight, 0.0..=1000.0)?;
        in_range("class_weight", self.class_weight, 0.0..=1000.0)?;
        let columns = self.backbone.columns as usize;
        if self.inter_supv && columns < CLASSIFIERS {
            let message = format!("{columns} columns cannot be supervised at {CLASSIFIERS} places");
            let help = format!("use {CLASSIFIERS} columns or more, or set inter_supv = false");
            return Err(BuildError::new(message).at("backbone.columns").help(help));
        }
        let backbone = self.backbone.net(&(scope / "backbone")).map_err(|it| it.at("backbone"))?;
        let scope = scope.starting(Start::Normal { std: 0.02 });
        let channels = &self.backbone.channels;
        let widest = channels[channels.len() - 1];
        let classifier = |scope: &Scope| {
            let scope = scope / "classifier";
            Classifier {
                norm: LayerNorm::new(&(&scope / 0), widest, 1e-6),
                linear: Linear::new(&(&scope / 1), widest, self.num_classes),
            }
        };
        let (classifiers, decoders) = match self.inter_supv {
            true => (
                (0..CLASSIFIERS).map(|i| classifier(&(&scope / "cls_blocks" / i))).collect(),
                (0..CLASSIFIERS - 1)
                    .map(|i| {
                        let scope = &scope / "decoder_blocks" / i;
                        match self.num_classes > MANY_CLASSES {
                            true => Decoder::direct(&scope, widest),
                            false => Decoder::stepwise(&scope, channels),
                        }
                    })
                    .collect(),
            ),
            false => (vec![classifier(&(&scope / "cls"))], Vec::new()),
        };
        Ok(RevColClassifier {
            backbone,
            classifiers,
            decoders,
            interval: if self.inter_supv { columns / CLASSIFIERS } else { columns },
            config: self.clone(),
        })
    }
}

#[derive(Debug)]
struct RevColClassifier {
    backbone: RevCol,
    classifiers: Vec<Classifier>,
    decoders: Vec<Decoder>,
    /// Columns from one classifier to the next.
    interval: usize,
    config: Config,
}

/// Mean over pixels, norm, linear map: `classifier.0`, `classifier.1`.
#[derive(Debug)]
struct Classifier {
    norm: LayerNorm,
    linear: Linear,
}

impl Classifier {
    fn forward(&self, x: &Tensor) -> Tensor {
        self.linear.forward(&self.norm.forward(&x.mean_dim([2i64, 3].as_slice(), false, x.kind())))
    }
}

/// What the supervised columns gave, first to last.
struct Outputs {
    maps: revcol::Maps,
    classes: Vec<Tensor>,
    pictures: Vec<Tensor>,
}

impl RevColClassifier {
    fn run(&self, x: &Tensor, train: bool) -> Outputs {
        let (mut classes, mut pictures) = (Vec::new(), Vec::new());
        let maps = self.backbone.maps(x, train, &mut |column, maps| {
            let (at, left) = ((column + 1) / self.interval, (column + 1) % self.interval);
            let Some(classifier) = at.checked_sub(1).and_then(|it| self.classifiers.get(it)).filter(|_| left == 0)
            else {
                return;
            };
            let map = &maps[maps.len() - 1];
            let last = at == self.classifiers.len();
            if train || last {
                classes.push(classifier.forward(map));
            }
            if let Some(decoder) = self.decoders.get(at - 1).filter(|_| train) {
                pictures.push(decoder.forward(map, train));
            }
        });
        Outputs { maps, classes, pictures }
    }

    /// Pictures (B, 3, H, W), blue first, u8 or float, to red first, 0 to 1.
    fn prepare(&self, inputs: &Tensor) -> Result<Tensor, ModelError> {
        let size = inputs.size();
        if size.len() != 4 || size[1] != 3 || size[0] == 0 {
            return Err(ModelError::Shape(size));
        }
        if !matches!(inputs.kind(), Kind::Uint8 | Kind::Float) {
            return Err(ModelError::NumberKind { expected: "Uint8 or Float", found: inputs.kind() });
        }
        self.check_size(&size)?;
        Ok(inputs.flip([1]).g_div_scalar(255.0))
    }

    fn check_size(&self, size: &[i64]) -> Result<(), ModelError> {
        let (height, width, divisor) = (size[2], size[3], self.size_divisor());
        let fits = height > 0 && width > 0 && height % divisor == 0 && width % divisor == 0;
        if fits { Ok(()) } else { Err(ModelError::Size { height, width, divisor }) }
    }
}

/// The class of each picture's largest box, −100 where there is none.
fn classes_of(targets: &Targets, pictures: i64, classes: i64) -> Result<Vec<i64>, ModelError> {
    let rows = Vec::<f32>::try_from(targets.bboxes_labels.to_kind(Kind::Float).contiguous().view([-1]))
        .map_err(|it| ModelError::Torch(it.to_string()))?;
    let mut largest = vec![(IGNORED, 0.0f32); pictures as usize];
    for (row, numbers) in rows.as_chunks::<6>().0.iter().enumerate() {
        let [picture, label, x1, y1, x2, y2] = *numbers;
        let fail = |reason: &str| Err(ModelError::Target { row, reason: reason.into() });
        if !(0.0..classes as f32).contains(&label) {
            return fail("there is no such class");
        }
        let Some(it) = largest.get_mut(picture as usize).filter(|_| picture >= 0.0) else {
            return fail("there is no such picture");
        };
        let area = (x2 - x1) * (y2 - y1);
        if area > it.1 {
            *it = (label as i64, area);
        }
    }
    Ok(largest.into_iter().map(|it| it.0).collect())
}

/// The label of a picture that teaches no class.
const IGNORED: i64 = -100;

impl DetectorModel for RevColClassifier {
    fn num_classes(&self) -> usize {
        self.config.num_classes as usize
    }

    fn size_divisor(&self) -> i64 {
        32
    }

    fn loss(&self, batch: &Batch) -> Result<Losses, ModelError> {
        let x = self.prepare(&batch.inputs)?;
        let labels = classes_of(&batch.targets, x.size()[0], self.config.num_classes)?;
        let known = labels.iter().filter(|it| **it != IGNORED).count().max(1) as f64;
        let labels = Tensor::from_slice(&labels);
        let outputs = self.run(&x, true);
        let _full_precision = Autocast::disabled(x.device())?;
        let entropy = |logits: &Tensor| {
            let none = None::<Tensor>;
            logits.to_kind(Kind::Float).cross_entropy_loss(&labels, none, Reduction::Sum, IGNORED, 0.0) / known
        };
        let picture = x.clamp(0.01, 0.99);
        let zero = || Tensor::zeros([], (Kind::Float, x.device()));
        let (mut loss_cls, mut loss_img) = (zero(), zero());
        let last = outputs.classes.len() - 1;
        for (i, logits) in outputs.classes.iter().enumerate() {
            let weight = if i == last { 1.0 } else { self.config.class_weight * (i + 1) as f64 / CLASSIFIERS as f64 };
            loss_cls += entropy(logits) * weight;
        }
        for (i, logits) in outputs.pictures.iter().enumerate() {
            let none = None::<Tensor>;
            let logits = logits.to_kind(Kind::Float);
            let loss = logits.binary_cross_entropy_with_logits(&picture, none.as_ref(), none.as_ref(), Reduction::Mean);
            loss_img += loss * (self.config.picture_weight * (1.0 - i as f64 / self.decoders.len() as f64));
        }
        let mut parts = vec![("loss_cls", loss_cls)];
        if !outputs.pictures.is_empty() {
            parts.push(("loss_img", loss_img));
        }
        Ok(Losses(parts))
    }

    fn predict(&self, batch: &Batch) -> Result<Vec<Detections>, ModelError> {
        let pictures = batch.inputs.size().first().map_or(0, |it| *it as usize);
        if batch.metas.len() != pictures {
            return Err(ModelError::Metas { metas: batch.metas.len(), pictures });
        }
        tch::no_grad(|| {
            let x = self.prepare(&batch.inputs)?;
            let outputs = self.run(&x, false);
            let (scores, labels) = outputs.classes[0].to_kind(Kind::Float).softmax(-1, Kind::Float).max_dim(-1, false);
            let whole = |(i, meta): (i64, &mmy_structures::ImageMeta)| Detections {
                bboxes: vec![BBox::new(0.0, 0.0, meta.ori_shape.1 as f32, meta.ori_shape.0 as f32)],
                scores: vec![scores.double_value(&[i]) as f32],
                labels: vec![labels.int64_value(&[i]) as u32],
            };
            Ok((0..).zip(&batch.metas).map(whole).collect())
        })
    }

    fn forward(&self, inputs: &Tensor, train: bool) -> Result<Maps, ModelError> {
        let size = inputs.size();
        if size.len() != 4 || size[1] != 3 {
            return Err(ModelError::Shape(size));
        }
        if inputs.kind() != Kind::Float {
            return Err(ModelError::NumberKind { expected: "Float", found: inputs.kind() });
        }
        self.check_size(&size)?;
        let outputs = self.run(inputs, train);
        let cls = outputs.classes.into_iter().map(|it| it.unsqueeze(-1).unsqueeze(-1)).collect();
        Ok(Maps {
            backbone: outputs.maps.into(),
            neck: outputs.pictures,
            head: HeadMaps { cls, ..HeadMaps::default() },
        })
    }
}

#[cfg(test)]
mod tests {
    use mmy_nn::testing::{assert_close, field};
    use mmy_structures::ImageMeta;
    use tch::Device;

    use super::*;

    fn config(num_classes: i64, inter_supv: bool, columns: i64, channels: &[i64]) -> Config {
        let backbone = revcol::Config { columns, channels: channels.to_vec(), drop_path: 0.0, ..Default::default() };
        Config { num_classes, backbone, inter_supv, picture_weight: 3.0, class_weight: 0.7 }
    }

    #[test]
    fn parameters_are_the_originals() {
        let tiny = [64, 128, 256, 512];
        for (supervised, params) in [(false, 30_456_168), (true, 33_063_984)] {
            let store = ParamStore::dry();
            config(1000, supervised, 4, &tiny).build(&store.root()).unwrap();
            assert_eq!(store.num_params(), params);
        }
        let error = config(1000, true, 3, &tiny).build(&ParamStore::dry().root()).unwrap_err();
        assert_eq!(error.path, ["backbone", "columns"]);
    }

    fn batch() -> Batch {
        // The second box of the first picture is larger; the third picture has none.
        let rows: [[f32; 6]; 3] =
            [[0.0, 1.0, 0.0, 0.0, 8.0, 8.0], [0.0, 2.0, 4.0, 4.0, 30.0, 30.0], [1.0, 0.0, 1.0, 1.0, 9.0, 9.0]];
        Batch {
            inputs: field("pictures", &[3, 3, 64, 64]) * 255.0,
            targets: Targets { bboxes_labels: Tensor::from_slice(&rows.concat()).view([-1, 6]) },
            metas: vec![ImageMeta { ori_shape: (50, 60), ..ImageMeta::default() }; 3],
            ground_truth: Vec::new(),
        }
    }

    #[test]
    fn the_compound_loss_is_its_parts() {
        let store = ParamStore::new(Device::Cpu, 0);
        let model = config(3, true, 4, &[8, 8, 16, 16]).assemble(&store.root()).unwrap();
        let batch = batch();
        assert_eq!(classes_of(&batch.targets, 3, 3).unwrap(), [2, 0, IGNORED]);
        let x = model.prepare(&batch.inputs).unwrap();
        let outputs = model.run(&x, true);
        assert_eq!((outputs.classes.len(), outputs.pictures.len()), (4, 3));
        assert_eq!(outputs.pictures[0].size(), [3, 3, 64, 64]);
        let class = |i: usize| {
            let log = outputs.classes[i].log_softmax(-1, Kind::Float);
            -(log.double_value(&[0, 2]) + log.double_value(&[1, 0])) / 2.0
        };
        let picture = |i: usize| {
            let (p, y) = (outputs.pictures[i].sigmoid(), x.clamp(0.01, 0.99));
            let (not_p, not_y): (Tensor, Tensor) = (1.0 - &p, 1.0 - &y);
            -(&y * p.log() + not_y * not_p.log()).mean(Kind::Float).double_value(&[])
        };
        let cls = 0.7 * (0.25 * class(0) + 0.5 * class(1) + 0.75 * class(2)) + class(3);
        let img = 3.0 * (picture(0) + 2.0 / 3.0 * picture(1) + 1.0 / 3.0 * picture(2));
        let losses = model.loss(&batch).unwrap();
        for ((name, got), want) in losses.0.iter().zip([cls, img]) {
            assert_close(name, &got.view([1]), &Tensor::from_slice(&[want as f32]), 1e-5);
        }
        losses.total().backward();
        assert!(store.entries().iter().all(|it| it.tensor.grad().defined()), "every parameter is taught");
        let found = model.predict(&batch).unwrap();
        assert_eq!((found.len(), found[0].bboxes[0]), (3, BBox::new(0.0, 0.0, 60.0, 50.0)));
    }

    #[test]
    fn many_classes_are_drawn_by_one_convolution() {
        let store = ParamStore::new(Device::Cpu, 0);
        let model = config(1001, true, 4, &[4, 4, 4, 8]).assemble(&store.root()).unwrap();
        assert_eq!(model.run(&field("x", &[1, 3, 64, 96]), true).pictures[2].size(), [1, 3, 64, 96]);
        assert!(store.get("decoder_blocks.2.projback.1.weight").is_some());
    }
}
