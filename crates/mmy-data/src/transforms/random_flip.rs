//! `RandomFlip`: mirror images.

use mmy_registry::{Build, BuildError, register};
use mmy_structures::{BBox, Sample};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Context, DataError, Transform, TransformStep, ops};

/// Mirrors picture and boxes at random.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Probability of a mirror image, 0 to 1.
    pub prob: f64,
    /// Which way.
    pub direction: Direction,
}

/// Which way a picture is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Left and right change places.
    #[default]
    Horizontal,
    /// Top and bottom change places.
    Vertical,
    /// Both.
    Diagonal,
}

impl Default for Config {
    fn default() -> Self {
        Config { prob: 0.5, direction: Direction::Horizontal }
    }
}

register!(Transform, "RandomFlip", Config);

impl Build<Transform> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn TransformStep>, BuildError> {
        super::probability("prob", self.prob)?;
        Ok(Box::new(self.clone()))
    }
}

impl TransformStep for Config {
    fn apply(&self, mut sample: Sample, context: &mut Context<'_>) -> Result<Option<Sample>, DataError> {
        if context.draw.rng().chance(self.prob) {
            flip(&mut sample, self.direction);
        }
        Ok(Some(sample))
    }
}

fn flip(sample: &mut Sample, direction: Direction) {
    let (height, width) = sample.image.shape();
    let (w, h) = (width as f32, height as f32);
    if direction != Direction::Vertical {
        ops::flip_columns(&mut sample.image);
        for it in &mut sample.instances {
            it.bbox = BBox { x1: w - it.bbox.x2, x2: w - it.bbox.x1, ..it.bbox };
        }
    }
    if direction != Direction::Horizontal {
        ops::flip_rows(&mut sample.image);
        for it in &mut sample.instances {
            it.bbox = BBox { y1: h - it.bbox.y2, y2: h - it.bbox.y1, ..it.bbox };
        }
    }
}

#[cfg(test)]
mod tests {
    use mmy_structures::{Image, ImageMeta, Instance};

    use super::*;
    use crate::ops::golden;

    fn check(direction: Direction, expect: &[[f32; 4]]) {
        let boxes = [BBox::new(3.0, 4.0, 20.0, 30.0), BBox::new(10.0, 10.0, 60.0, 60.0)];
        let instances = boxes.map(|bbox| Instance { bbox, label: 0, ignore: false }).to_vec();
        let mut sample = Sample { image: Image::filled(64, 64, [0; 3]), instances, meta: ImageMeta::default() };
        sample.image.row_mut(0)[0] = 1;
        flip(&mut sample, direction);
        assert_eq!(sample.instances.iter().map(|it| it.bbox.xyxy()).collect::<Vec<_>>(), expect);
        let (x, y) = match direction {
            Direction::Horizontal => (63, 0),
            Direction::Vertical => (0, 63),
            Direction::Diagonal => (63, 63),
        };
        assert_eq!(sample.image.pixel(x, y), [1, 0, 0]);
    }

    #[test]
    fn boxes_go_with_the_picture() {
        check(Direction::Horizontal, &golden::floats("flip.boxes"));
        check(Direction::Vertical, &[[3.0, 34.0, 20.0, 60.0], [10.0, 4.0, 60.0, 54.0]]);
        check(Direction::Diagonal, &[[44.0, 34.0, 61.0, 60.0], [4.0, 4.0, 54.0, 54.0]]);
    }
}
