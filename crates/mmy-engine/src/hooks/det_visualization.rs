//! Pictures with what should be found beside what was.

use std::path::{Path, PathBuf};

use mmy_data::{Buffers, ops};
use mmy_eval::draw;
use mmy_registry::{Build, BuildError, register};
use mmy_structures::{Detections, Image, Instance};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EvalContext, EvalIterContext, Hook, HookKind, Mode, Stage};
use crate::{EngineError, Priority, error::Result};

register!(HookKind, "DetVisualizationHook", Config);

/// Draws some of the pictures of each validation and test: on the left the annotations, on the right what was found.
///
/// They are `vis_data/vis_image/epoch_N/NAME.jpg` after a validation and `vis_data/vis_image/test/NAME.jpg` in a test.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether anything is drawn; off by default, as in MMDetection.
    pub draw: bool,
    /// Every how many pictures of a pass one is drawn, beginning with the first.
    pub interval: usize,
    /// Lowest score that is shown.
    pub score_thr: f32,
    /// When it runs among the hooks of one stage.
    pub priority: Priority,
}

impl Default for Config {
    fn default() -> Self {
        Config { draw: false, interval: 50, score_thr: 0.3, priority: Priority::NORMAL }
    }
}

impl Build<HookKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        if self.interval == 0 {
            return Err(BuildError::new("`interval` is 0").at("interval").help("use at least 1"));
        }
        Ok(Box::new(DetVisualization { config: self.clone(), seen: 0, buffers: Buffers::default() }))
    }
}

struct DetVisualization {
    config: Config,
    /// Pictures of this pass so far.
    seen: usize,
    buffers: Buffers,
}

impl std::fmt::Debug for DetVisualization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.config.fmt(f)
    }
}

impl DetVisualization {
    /// The stored picture twice, side by side, with annotations and detections.
    fn picture(&mut self, path: &Path, truth: &[Instance], found: &Detections, classes: &[String]) -> Result<Image> {
        let bytes = std::fs::read(path).map_err(EngineError::io("read", path))?;
        let mut left = ops::decode(&bytes, ops::ExifOrientation::Apply, &mut self.buffers)
            .map_err(|reason| EngineError::Unfit(format!("cannot read `{}`: {reason}", path.display())))?;
        let mut right = left.clone();
        draw::draw(&mut left, &annotated(truth), classes);
        draw::draw(&mut right, &above(found, self.config.score_thr), classes);
        Ok(side_by_side(&left, &right))
    }
}

/// Annotations in the form of detections that are certain; regions that nobody has to find are left out.
fn annotated(truth: &[Instance]) -> Detections {
    let shown = truth.iter().filter(|it| !it.ignore);
    let mut out = Detections::default();
    for Instance { bbox, label, .. } in shown {
        out.bboxes.push(*bbox);
        out.scores.push(1.0);
        out.labels.push(*label);
    }
    out
}

fn above(found: &Detections, least: f32) -> Detections {
    let mut out = Detections::default();
    for (bbox, score, label) in found.iter().filter(|it| it.1 >= least) {
        out.bboxes.push(bbox);
        out.scores.push(score);
        out.labels.push(label);
    }
    out
}

/// Two pictures of one height in one.
fn side_by_side(left: &Image, right: &Image) -> Image {
    let mut out = Image::filled(left.height(), left.width() + right.width(), [0; 3]);
    for y in 0..left.height() {
        let (a, b) = out.row_mut(y).split_at_mut(left.width() * 3);
        a.copy_from_slice(left.row(y));
        b.copy_from_slice(right.row(y));
    }
    out
}

impl Hook for DetVisualization {
    fn priority(&self) -> Priority {
        self.config.priority
    }

    fn stages(&self) -> &'static [Stage] {
        use Stage::{AfterTestIter, AfterValIter, BeforeTestEpoch, BeforeValEpoch};
        &[BeforeValEpoch, AfterValIter, BeforeTestEpoch, AfterTestIter]
    }

    fn changes_training(&self) -> bool {
        false
    }

    fn before_eval_epoch(&mut self, _: &mut EvalContext<'_>) -> Result<()> {
        self.seen = 0;
        Ok(())
    }

    fn after_eval_iter(&mut self, cx: &mut EvalIterContext<'_>) -> Result<()> {
        let first = self.seen;
        self.seen += cx.batch.len();
        if !self.config.draw {
            return Ok(());
        }
        let pass = match cx.eval.mode {
            Mode::Val => format!("epoch_{}", cx.eval.progress.epoch),
            Mode::Test => "test".to_owned(),
        };
        let folder: PathBuf = cx.eval.run.work_dir.vis_data().join("vis_image").join(pass);
        for (at, (meta, found)) in cx.batch.metas.iter().zip(cx.detections).enumerate() {
            if !(first + at).is_multiple_of(self.config.interval) {
                continue;
            }
            std::fs::create_dir_all(&folder).map_err(EngineError::io("make the folder", &folder))?;
            let truth = cx.batch.ground_truth.get(at).map_or(&[][..], Vec::as_slice);
            let stem = meta.img_path.file_stem().unwrap_or_default().to_string_lossy();
            let place = folder.join(format!("{stem}.jpg"));
            // A picture for people is no reason to end a run.
            let drawn = self.picture(&meta.img_path, truth, found, &cx.eval.run.classes);
            match drawn.map(|it| draw::save(&it, &place).map_err(|e| e.to_string())) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("DetVisualizationHook: {error}"),
                Err(error) => tracing::warn!("DetVisualizationHook: {error}"),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_stand_side_by_side() {
        let (left, right) = (Image::filled(2, 3, [1; 3]), Image::filled(2, 3, [2; 3]));
        let both = side_by_side(&left, &right);
        assert_eq!((both.shape(), both.pixel(2, 1), both.pixel(3, 0)), ((2, 6), [1; 3], [2; 3]));
    }

    #[test]
    fn what_nobody_has_to_find_is_not_drawn() {
        let bbox = mmy_structures::BBox::new(0.0, 0.0, 5.0, 5.0);
        let truth = [true, false].map(|ignore| Instance { bbox, label: 1, ignore });
        assert_eq!((annotated(&truth).len(), annotated(&truth).scores[0]), (1, 1.0));
        let found = Detections { bboxes: vec![bbox; 2], scores: vec![0.9, 0.1], labels: vec![0; 2] };
        assert_eq!(above(&found, 0.3).scores, [0.9]);
    }
}
