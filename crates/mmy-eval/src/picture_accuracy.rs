//! How often a picture's best detection has the class of its largest object: for classifiers that are trained on data
//! sets of boxes.

use mmy_registry::{Build, BuildError, register};
use mmy_structures::{Detections, ImageMeta, Instance};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EvalError, Evaluation, Metric, MetricArgs, MetricSink};

register!(Metric, "PictureAccuracy", Config);

/// The part of the pictures whose best detection has the class of the picture's largest object: `accuracy`, 0 to 1, and
/// −1 when no picture has an object. Pictures without objects do not count.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Put in front of the name with a slash. Empty for the plain name.
    pub prefix: String,
}

impl Build<Metric> for Config {
    fn build(&self, _: MetricArgs<'_>) -> Result<Box<dyn MetricSink>, BuildError> {
        Ok(Box::new(PictureAccuracy { prefix: self.prefix.clone(), right: 0, pictures: 0 }))
    }
}

struct PictureAccuracy {
    prefix: String,
    right: usize,
    pictures: usize,
}

impl MetricSink for PictureAccuracy {
    fn process(&mut self, _: &[ImageMeta], detections: &[Detections], ground_truth: &[Vec<Instance>]) {
        for (found, objects) in detections.iter().zip(ground_truth) {
            let objects = objects.iter().filter(|it| !it.ignore);
            let Some(largest) = objects.max_by(|a, b| a.bbox.area().total_cmp(&b.bbox.area())) else { continue };
            let best = found.iter().max_by(|a, b| a.1.total_cmp(&b.1));
            self.pictures += 1;
            self.right += usize::from(best.is_some_and(|it| it.2 == largest.label));
        }
    }

    fn evaluate(&mut self) -> Result<Evaluation, EvalError> {
        let name = if self.prefix.is_empty() { "accuracy".to_owned() } else { format!("{}/accuracy", self.prefix) };
        let value = if self.pictures == 0 { -1.0 } else { self.right as f64 / self.pictures as f64 };
        (self.right, self.pictures) = (0, 0);
        Ok(Evaluation { values: vec![(name, value)], table: None })
    }
}

#[cfg(test)]
mod tests {
    use mmy_structures::BBox;

    use super::*;

    #[test]
    fn the_largest_object_is_what_counts() {
        let object = |side: f32, label, ignore| Instance { bbox: BBox::new(0.0, 0.0, side, side), label, ignore };
        let found = |labels: &[u32], scores: &[f32]| Detections {
            bboxes: vec![BBox::new(0.0, 0.0, 1.0, 1.0); labels.len()],
            scores: scores.to_vec(),
            labels: labels.to_vec(),
        };
        let mut metric = Config { prefix: "top".into() }.build(MetricArgs { classes: &[] }).unwrap();
        let truth = [
            vec![object(2.0, 0, false), object(3.0, 1, false), object(9.0, 2, true)],
            vec![],
            vec![object(1.0, 2, false)],
        ];
        metric.process(&[], &[found(&[0, 1], &[0.2, 0.8]), found(&[1], &[1.0]), found(&[], &[])], &truth);
        assert_eq!(metric.evaluate().unwrap().values, [("top/accuracy".to_owned(), 0.5)]);
        assert_eq!(metric.evaluate().unwrap().values, [("top/accuracy".to_owned(), -1.0)]);
    }
}
