//! Pascal VOC's average precision: one number for each class and IoU threshold, over 11 points of recall or the area under
//! the curve (Everingham et al. 2010; the development kits of VOC2007 and VOC2012).

mod ap;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use mmy_registry::{Build, BuildError, register};
use mmy_structures::{Detections, ImageMeta, Instance};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::warn;

use self::ap::{Curve, Found};
use crate::{EvalError, Evaluation, Metric, MetricArgs, MetricSink, Table, table::Row};

register!(Metric, "VOCMetric", Config);

/// Pascal VOC's average precision (AP), as MMDetection computes it.
///
/// The numbers are `mAP`, the mean over classes and thresholds, then `AP50` and so on for each threshold. A detection is
/// held against the object of its class that it overlaps most: it is a find if the overlap reaches the threshold and no
/// better detection found the object before; if the object is difficult or a crowd, neither a find nor a mistake. Sides of
/// boxes are counted as VOC's kit does, with the last pixel: one longer than the difference of the edges.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// IoU thresholds in (0, 1].
    pub iou_thrs: Vec<f64>,
    /// What to measure.
    pub metric: Measure,
    /// How precision is averaged over recall.
    pub eval_mode: EvalMode,
    /// Whether to report `<class>_AP50` and so on for every class as well, after the overall numbers.
    pub classwise: bool,
    /// Put in front of every name with a slash: `pascal_voc/mAP`. Empty for plain names.
    pub prefix: String,
    /// Taken for MMDetection's configs; without effect.
    pub backend_args: Option<BTreeMap<String, serde_json::Value>>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Measure {
    /// Mean average precision.
    #[default]
    #[serde(rename = "mAP")]
    MeanAp,
}

/// How precision is averaged over recall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum EvalMode {
    /// The area under the curve, made falling, as since VOC2010.
    #[default]
    #[serde(rename = "area")]
    Area,
    /// The mean of the best precision at recall 0, 0.1, … 1, as in VOC2007.
    #[serde(rename = "11points")]
    ElevenPoints,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            iou_thrs: vec![0.5],
            metric: Measure::MeanAp,
            eval_mode: EvalMode::Area,
            classwise: false,
            prefix: "pascal_voc".to_owned(),
            backend_args: None,
        }
    }
}

impl Build<Metric> for Config {
    fn build(&self, args: MetricArgs<'_>) -> Result<Box<dyn MetricSink>, BuildError> {
        if self.iou_thrs.is_empty() || !self.iou_thrs.iter().all(|it| *it > 0.0 && *it <= 1.0) {
            return Err(BuildError::new("needs at least one number, all in (0, 1]").at("iou_thrs"));
        }
        if args.classes.is_empty() {
            return Err(BuildError::new("the data set names no classes").help("set `metainfo.classes`"));
        }
        if self.backend_args.is_some() {
            warn!("`backend_args` of VOCMetric has no effect");
        }
        Ok(Box::new(VocMetric {
            config: self.clone(),
            classes: args.classes.to_vec(),
            pictures: Vec::new(),
            seen: HashSet::new(),
        }))
    }
}

struct VocMetric {
    config: Config,
    classes: Vec<String>,
    /// Number, detections and objects; no objects where the data set came without.
    pictures: Vec<(i64, Detections, Option<Vec<Instance>>)>,
    seen: HashSet<i64>,
}

impl MetricSink for VocMetric {
    fn process(&mut self, metas: &[ImageMeta], detections: &[Detections], ground_truth: &[Vec<Instance>]) {
        for (index, (meta, detections)) in metas.iter().zip(detections).enumerate() {
            // A sampler that fills up its last batch hands out pictures a second time.
            if self.seen.insert(meta.img_id) {
                self.pictures.push((meta.img_id, detections.clone(), ground_truth.get(index).cloned()));
            }
        }
    }

    fn evaluate(&mut self) -> Result<Evaluation, EvalError> {
        self.seen.clear();
        let mut pictures = std::mem::take(&mut self.pictures);
        // Detections of equal score are ranked by picture, so that the numbers do not depend on the order of batches.
        pictures.sort_by_key(|it| it.0);
        let pictures = pictures
            .into_iter()
            .map(|(img_id, found, objects)| Ok((found, objects.ok_or(EvalError::NoGroundTruth { img_id })?)));
        let pictures = pictures.collect::<Result<Vec<_>, EvalError>>()?;
        self.warn_of_unusable(&pictures);
        let curve = |label: usize, thr: f64| {
            let of =
                |(found, objects): &(Detections, Vec<Instance>)| Found::new(found, objects, label as u32, thr as f32);
            Curve::new(pictures.iter().map(of).collect())
        };
        let curves: Vec<Vec<Curve>> = (0..self.classes.len())
            .map(|label| self.config.iou_thrs.iter().map(|thr| curve(label, *thr)).collect())
            .collect();
        Ok(self.report(&curves))
    }
}

impl VocMetric {
    fn warn_of_unusable(&self, pictures: &[(Detections, Vec<Instance>)]) {
        let all = pictures.iter().flat_map(|it| it.0.iter());
        let unusable = all.filter(|it| !ap::is_usable(it.0, it.1) || it.2 as usize >= self.classes.len()).count();
        if unusable > 0 {
            warn!("{unusable} detections with a NaN, an infinity or an unknown label are left out");
        }
    }

    /// From the curves by class, then by threshold.
    fn report(&self, curves: &[Vec<Curve>]) -> Evaluation {
        let mode = self.config.eval_mode;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        // Classes without an object have no part in the mean; without any, it is 0, as in the original.
        let over_classes =
            |at: usize| mean(&curves.iter().filter_map(|it| it[at].average_precision(mode)).collect::<Vec<_>>());
        let name = |thr: f64| format!("AP{:02}", (thr * 100.0 + 1e-9) as usize);
        let prefix = if self.config.prefix.is_empty() { String::new() } else { format!("{}/", self.config.prefix) };
        let by_thr: Vec<_> = (0..self.config.iou_thrs.len()).map(over_classes).collect();
        let mut values = vec![(format!("{prefix}mAP"), mean(&by_thr))];
        let names: Vec<_> = self.config.iou_thrs.iter().map(|it| name(*it)).collect();
        values.extend(names.iter().zip(&by_thr).map(|(name, value)| (format!("{prefix}{name}"), *value)));
        if self.config.classwise {
            for (class, curves) in self.classes.iter().zip(curves) {
                for (name, curve) in names.iter().zip(curves) {
                    values.push((format!("{prefix}{class}_{name}"), curve.average_precision(mode).unwrap_or(-1.0)));
                }
            }
        }
        let row = |(class, curves): (&String, &Vec<Curve>)| Row {
            name: class.clone(),
            instances: curves[0].objects,
            values: std::iter::once(curves[0].recall())
                .chain(curves.iter().map(|it| it.average_precision(mode)))
                .collect(),
        };
        let all = Row {
            name: "all".to_owned(),
            instances: curves.iter().map(|it| it[0].objects).sum(),
            values: std::iter::once(None).chain(by_thr.iter().map(|it| Some(*it))).collect(),
        };
        let rows = std::iter::once(all).chain(self.classes.iter().zip(curves).map(row)).collect();
        let head = ["class", "objects", "recall"].map(str::to_owned);
        Evaluation { values, table: Some(Table { columns: head.into_iter().chain(names).collect(), rows }) }
    }
}
