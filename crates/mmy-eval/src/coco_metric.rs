//! COCO's twelve numbers: average precision and recall over IoU thresholds, object sizes and detection caps
//! (Lin et al. 2014, <https://cocodataset.org/#detection-eval>), computed by `hotcoco`.

mod curves;
#[cfg(test)]
mod tests;
mod truth;

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::{self, BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use hotcoco::{Annotation, Category, Dataset, Image};
use mmy_registry::{Build, BuildError, register};
use mmy_structures::{Detections, ImageMeta, Instance};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use self::{
    curves::{Curve, Curves, Item},
    truth::{AnnFile, Truth},
};
use crate::{EvalError, Evaluation, Metric, MetricArgs, MetricSink, Table, table::Row};

register!(Metric, "CocoMetric", Config);

/// COCO's evaluation of boxes: mean average precision (AP) and average recall (AR).
///
/// The numbers are `bbox_mAP` (the mean over IoU 0.50 to 0.95), `bbox_mAP_50`, `bbox_mAP_75`, `bbox_mAP_s`,
/// `bbox_mAP_m`, `bbox_mAP_l` (objects under 32², up to 96², above), then recall: `bbox_AR@1`, `bbox_AR@10`,
/// `bbox_AR@100` for that many detections per picture, `bbox_AR_s@100`, `bbox_AR_m@100`, `bbox_AR_l@100`. All are in
/// full precision; −1 stands for "nothing to measure". Pictures are those that were processed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// COCO annotation file, whose areas and crowd flags count. Without it the ground truth is what the data set's
    /// pipeline loads: areas are those of the boxes, ignored objects count as crowd.
    pub ann_file: Option<PathBuf>,
    /// What to measure.
    pub metric: Task,
    /// Whether to report `<class>_precision` for every class as well, after the overall numbers.
    pub classwise: bool,
    /// Detections per picture and class at which recall is measured, in any order. AP, and recall by object size, use
    /// the largest. (MMDetection's default is 100, 300, 1000; this is COCO's own, as in MMYOLO's configs.)
    pub proposal_nums: Vec<usize>,
    /// IoU thresholds in (0, 1]; 0.50, 0.55, … 0.95 if not given. `bbox_mAP_50` and `_75` are −1 unless theirs is
    /// among them.
    pub iou_thrs: Option<Vec<f64>>,
    /// Which numbers to report and in which order, without the `bbox_`: `["mAP", "mAP_50", "AR@100"]`. All if not given.
    pub metric_items: Option<Vec<String>>,
    /// Whether to write the detections only and measure nothing, as for a test set whose annotations are not public.
    pub format_only: bool,
    /// Where detections are written: `a/b` gives `a/b.bbox.json`, in COCO's result format. Not written if not given.
    pub outfile_prefix: Option<PathBuf>,
    /// Put in front of every name with a slash: `coco/bbox_mAP`. Empty for plain names.
    pub prefix: String,
    /// Taken for MMYOLO's configs; without effect, since files are read from the file system.
    pub backend_args: Option<BTreeMap<String, serde_json::Value>>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            ann_file: None,
            metric: Task::Bbox,
            classwise: false,
            proposal_nums: vec![1, 10, 100],
            iou_thrs: None,
            metric_items: None,
            format_only: false,
            outfile_prefix: None,
            prefix: "coco".to_owned(),
            backend_args: None,
        }
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Boxes.
    #[default]
    Bbox,
}

impl Build<Metric> for Config {
    /// Reads the annotation file, so that a wrong one is known before the first epoch rather than after it.
    fn build(&self, args: MetricArgs<'_>) -> Result<Box<dyn MetricSink>, BuildError> {
        let mut caps = self.proposal_nums.clone();
        caps.sort_unstable();
        caps.dedup();
        if caps.first().is_none_or(|it| *it == 0) {
            return Err(BuildError::new("needs at least one number, all above 0").at("proposal_nums"));
        }
        if let Some(thrs) = &self.iou_thrs
            && (thrs.is_empty() || !thrs.iter().all(|it| *it > 0.0 && *it <= 1.0))
        {
            return Err(BuildError::new("needs at least one number, all in (0, 1]").at("iou_thrs"));
        }
        let every = Item::every(&caps);
        let items = match &self.metric_items {
            None => every,
            Some(names) => names
                .iter()
                .map(|name| {
                    every.iter().find(|it| it.name == *name).cloned().ok_or_else(|| {
                        let known: Vec<_> = every.iter().map(|it| it.name.as_str()).collect();
                        BuildError::new(format!("there is no `{name}`"))
                            .at("metric_items")
                            .help(format!("there are {}", known.join(", ")))
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        if self.format_only && self.outfile_prefix.is_none() {
            return Err(BuildError::new("is needed by `format_only`").at("outfile_prefix"));
        }
        if args.classes.is_empty() {
            return Err(BuildError::new("the data set names no classes").help("set `metainfo.classes`"));
        }
        if self.backend_args.is_some() {
            warn!("`backend_args` of CocoMetric has no effect");
        }
        let ann_file = self.ann_file.as_deref().map(|it| AnnFile::read(it, args.classes)).transpose()?;
        Ok(Box::new(CocoMetric {
            config: self.clone(),
            classes: args.classes.to_vec(),
            ann_file,
            caps,
            items,
            results: Vec::new(),
            seen: HashSet::new(),
        }))
    }
}

/// Results of one picture.
struct Picture {
    meta: ImageMeta,
    detections: Detections,
    /// From the data set; not kept when there is an annotation file, `None` when the data set had none.
    truth: Option<Vec<Truth>>,
}

struct CocoMetric {
    config: Config,
    classes: Vec<String>,
    ann_file: Option<AnnFile>,
    /// Detection caps in ascending order.
    caps: Vec<usize>,
    items: Vec<Item>,
    results: Vec<Picture>,
    seen: HashSet<i64>,
}

impl MetricSink for CocoMetric {
    fn process(&mut self, metas: &[ImageMeta], detections: &[Detections], ground_truth: &[Vec<Instance>]) {
        for (index, (meta, detections)) in metas.iter().zip(detections).enumerate() {
            // A sampler that fills up its last batch hands out pictures a second time.
            if !self.seen.insert(meta.img_id) {
                continue;
            }
            let truth = match &self.ann_file {
                Some(_) => None,
                None => ground_truth.get(index).map(|them| {
                    them.iter().map(truth_of).filter(|it| (it.label as usize) < self.classes.len()).collect()
                }),
            };
            self.results.push(Picture { meta: meta.clone(), detections: detections.clone(), truth });
        }
    }

    fn evaluate(&mut self) -> Result<Evaluation, EvalError> {
        self.seen.clear();
        let mut pictures = std::mem::take(&mut self.results);
        // COCO ranks detections of equal score by picture id.
        pictures.sort_by_key(|it| it.meta.img_id);
        let detections = self.annotations_of(&pictures);
        if let Some(prefix) = &self.config.outfile_prefix {
            let mut path = prefix.clone().into_os_string();
            path.push(".bbox.json");
            self.write_results(path.as_ref(), &pictures, &detections)
                .map_err(|source| EvalError::Write { path: path.into(), source })?;
        }
        if self.config.format_only {
            return Ok(Evaluation::default());
        }
        let truth = self.dataset(&pictures)?;
        let instances = self.count_instances(&truth);
        let curves = Curves::compute(truth, detections, &self.caps, self.config.iou_thrs.as_deref())?;
        Ok(self.report(&curves, &instances))
    }
}

impl CocoMetric {
    /// Ground truth of the pictures as a COCO data set whose image ids are positions in `pictures` and whose category
    /// ids are class indices.
    fn dataset(&self, pictures: &[Picture]) -> Result<Dataset, EvalError> {
        let mut annotations = Vec::new();
        for (index, picture) in pictures.iter().enumerate() {
            let meta = &picture.meta;
            let truths = match &self.ann_file {
                Some(file) => file.images.get(&meta.img_id).ok_or_else(|| EvalError::UnknownImage {
                    img_id: meta.img_id,
                    img_path: meta.img_path.clone(),
                    ann_file: file.path.clone(),
                })?,
                None => picture.truth.as_ref().ok_or(EvalError::NoGroundTruth { img_id: meta.img_id })?,
            };
            for it in truths {
                annotations.push(Annotation {
                    id: annotations.len() as u64 + 1,
                    image_id: index as u64,
                    category_id: u64::from(it.label),
                    bbox: Some(it.bbox),
                    area: Some(it.area),
                    iscrowd: it.crowd,
                    ..Annotation::default()
                });
            }
        }
        if let Some(file) = &self.ann_file
            && pictures.len() < file.images.len()
        {
            info!("measured on {} of the {} pictures in {}", pictures.len(), file.images.len(), file.path.display());
        }
        let images = (0..pictures.len()).map(|id| Image { id: id as u64, ..Image::default() }).collect();
        let categories = (0..)
            .zip(&self.classes)
            .map(|(id, name)| Category { id, name: name.clone(), ..Category::default() })
            .collect();
        Ok(Dataset { images, annotations, categories, ..Dataset::default() })
    }

    /// All detections in the same numbering, in the order of pictures. What cannot be ranked or placed is left out: a
    /// model that has diverged gives such boxes, and they are no finds.
    fn annotations_of(&self, pictures: &[Picture]) -> Vec<Annotation> {
        let mut out = Vec::new();
        let mut unusable = 0usize;
        for (index, picture) in pictures.iter().enumerate() {
            for (bbox, score, label) in picture.detections.iter() {
                if !score.is_finite()
                    || !bbox.xyxy().iter().all(|it| it.is_finite())
                    || label as usize >= self.classes.len()
                {
                    unusable += 1;
                    continue;
                }
                out.push(Annotation {
                    image_id: index as u64,
                    category_id: u64::from(label),
                    bbox: Some(xywh(bbox.xyxy())),
                    score: Some(f64::from(score)),
                    ..Annotation::default()
                });
            }
        }
        if unusable > 0 {
            warn!("{unusable} detections with a NaN, an infinity or an unknown label are left out");
        }
        out
    }

    /// Writes COCO's result format: a list of `{image_id, category_id, bbox, score}` in the annotation file's own ids.
    fn write_results(&self, path: &Path, pictures: &[Picture], detections: &[Annotation]) -> io::Result<()> {
        #[derive(Serialize)]
        struct Found {
            image_id: i64,
            category_id: u64,
            bbox: [f64; 4],
            score: f64,
        }
        let found = detections.iter().filter_map(|it| {
            let category_id = match &self.ann_file {
                Some(file) => file.category_ids[it.category_id as usize]?,
                None => it.category_id,
            };
            let image_id = pictures[it.image_id as usize].meta.img_id;
            Some(Found { image_id, category_id, bbox: it.bbox?, score: it.score? })
        });
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = BufWriter::new(fs::File::create(path)?);
        file.write_all(b"[")?;
        for (index, it) in found.enumerate() {
            file.write_all(if index == 0 { b"\n" } else { b",\n" })?;
            serde_json::to_writer(&mut file, &it)?;
        }
        file.write_all(b"\n]\n")?;
        file.flush()?;
        info!("detections are in {}", path.display());
        Ok(())
    }

    /// Objects to be found, class by class.
    fn count_instances(&self, truth: &Dataset) -> Vec<usize> {
        let mut out = vec![0; self.classes.len()];
        for it in truth.annotations.iter().filter(|it| !it.iscrowd) {
            out[it.category_id as usize] += 1;
        }
        out
    }

    fn report(&self, curves: &Curves, instances: &[usize]) -> Evaluation {
        let all = 0..self.classes.len();
        let prefix = if self.config.prefix.is_empty() { String::new() } else { format!("{}/", self.config.prefix) };
        let mut values: Vec<_> = self
            .items
            .iter()
            .map(|it| (format!("{prefix}bbox_{}", it.name), curves.mean(it, all.clone()).unwrap_or(-1.0)))
            .collect();
        let every = Item::every(&self.caps);
        if self.config.classwise {
            values.extend(self.classes.iter().enumerate().map(|(label, name)| {
                let ap = curves.mean(&every[0], label..label + 1).unwrap_or(-1.0);
                (format!("{prefix}{name}_precision"), ap)
            }));
        }

        // AP in all its slices, and the recall behind it.
        let columns: Vec<_> = every
            .iter()
            .filter(|it| it.kind == Curve::Precision || it.name == format!("AR@{}", self.caps[self.caps.len() - 1]))
            .collect();
        let row = |name: &str, classes: Range<usize>| Row {
            name: name.to_owned(),
            instances: instances[classes.clone()].iter().sum(),
            values: columns.iter().map(|it| curves.mean(it, classes.clone())).collect(),
        };
        let table = Table {
            columns: ["class", "objects"]
                .into_iter()
                .chain(columns.iter().map(|it| it.name.as_str()))
                .map(str::to_owned)
                .collect(),
            rows: std::iter::once(row("all", all))
                .chain(self.classes.iter().enumerate().map(|(label, name)| row(name, label..label + 1)))
                .collect(),
        };
        Evaluation { values, table: Some(table) }
    }
}

fn truth_of(it: &Instance) -> Truth {
    let bbox = xywh(it.bbox.xyxy());
    Truth { label: it.label, bbox, area: bbox[2] * bbox[3], crowd: it.ignore }
}

/// Left, top, width, height; the differences are taken in f64, as COCO's tools do.
fn xywh(xyxy: [f32; 4]) -> [f64; 4] {
    let [x1, y1, x2, y2] = xyxy.map(f64::from);
    [x1, y1, x2 - x1, y2 - y1]
}
