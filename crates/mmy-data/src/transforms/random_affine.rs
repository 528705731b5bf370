//! `YOLOv5RandomAffine`: turned, scaled, sheared and moved pictures.

use mmy_registry::{Build, BuildError, Outline, register};
use mmy_structures::{BBox, Sample};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Context, DataError, Rng, SizeStep, Transform, TransformStep, ops::warp_affine};

/// Turns, scales, shears and moves the picture about its centre at random, and drops boxes of which too little is left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Largest rotation, in degrees either way.
    pub max_rotate_degree: f64,
    /// Largest shift, as a part of the new size.
    pub max_translate_ratio: f64,
    /// Range of the scale.
    pub scaling_ratio_range: [f64; 2],
    /// Largest shear along each axis, in degrees either way.
    pub max_shear_degree: f64,
    /// Pixels added on each side: horizontally, vertically; negative after a mosaic, whose canvas is twice as large.
    pub border: [i64; 2],
    /// Colour where no picture is: blue, green, red.
    pub border_val: [f64; 3],
    /// Whether boxes are cut off at the picture's edges.
    pub bbox_clip_border: bool,
    /// Boxes stay whose width and height are above this, in pixels.
    pub min_bbox_size: f64,
    /// Boxes stay of whose area more than this part is left.
    pub min_area_ratio: f64,
    /// Boxes stay whose longer side is less than this many times the shorter one.
    pub max_aspect_ratio: f64,
    /// Boxes around the visible part of masks. Only false.
    pub use_mask_refine: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_rotate_degree: 10.0,
            max_translate_ratio: 0.1,
            scaling_ratio_range: [0.5, 1.5],
            max_shear_degree: 2.0,
            border: [0, 0],
            border_val: [114.0; 3],
            bbox_clip_border: true,
            min_bbox_size: 2.0,
            min_area_ratio: 0.1,
            max_aspect_ratio: 20.0,
            use_mask_refine: false,
        }
    }
}

register!(Transform, "YOLOv5RandomAffine", Config);

impl Build<Transform> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn TransformStep>, BuildError> {
        super::range("max_rotate_degree", [self.max_rotate_degree, 360.0], 0.0)?;
        super::probability("max_translate_ratio", self.max_translate_ratio)?;
        super::range("scaling_ratio_range", self.scaling_ratio_range, 1e-3)?;
        super::range("max_shear_degree", [self.max_shear_degree, 89.0], 0.0)?;
        if self.use_mask_refine {
            return Err(BuildError::new("there are no masks").at("use_mask_refine"));
        }
        let mut border_val = [0; 3];
        for (to, from) in border_val.iter_mut().zip(self.border_val) {
            *to = super::grey_level("border_val", from)?;
        }
        Ok(Box::new(RandomAffine { config: self.clone(), border_val }))
    }

    fn outline(&self) -> Outline {
        Outline::default().fact(SizeStep::Grows(self.border.map(|it| 2 * it)))
    }
}

struct RandomAffine {
    config: Config,
    border_val: [u8; 3],
}

/// One choice of the random numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Choice {
    rotate_degree: f64,
    scale: f64,
    shear_degree: [f64; 2],
    /// Where the old centre goes, as a part of the new width and height.
    centre: [f64; 2],
}

impl Choice {
    fn draw(config: &Config, rng: &mut Rng) -> Self {
        let mut around = |middle: f64, most: f64| rng.uniform(middle - most, middle + most);
        let rotate_degree = around(0.0, config.max_rotate_degree);
        let shear_degree = [around(0.0, config.max_shear_degree), around(0.0, config.max_shear_degree)];
        let centre = [around(0.5, config.max_translate_ratio), around(0.5, config.max_translate_ratio)];
        let [low, high] = config.scaling_ratio_range;
        Choice { rotate_degree, scale: rng.uniform(low, high), shear_degree, centre }
    }

    /// From old pixels to new ones: centre, scale, rotate, shear, move, from right to left.
    fn matrix(&self, old: (usize, usize), new: (usize, usize)) -> [[f64; 3]; 2] {
        let (sin, cos) = self.rotate_degree.to_radians().sin_cos();
        let [shear_x, shear_y] = self.shear_degree.map(|it| it.to_radians().tan());
        let turned = [[cos * self.scale, -sin * self.scale], [sin * self.scale, cos * self.scale]];
        let mut out = [[0.0; 3]; 2];
        for column in 0..2 {
            out[0][column] = turned[0][column] + shear_x * turned[1][column];
            out[1][column] = shear_y * turned[0][column] + turned[1][column];
        }
        let middle = [old.1 as f64 / 2.0, old.0 as f64 / 2.0];
        let to = [self.centre[0] * new.1 as f64, self.centre[1] * new.0 as f64];
        for row in 0..2 {
            out[row][2] = to[row] - out[row][0] * middle[0] - out[row][1] * middle[1];
        }
        out
    }
}

/// The box around a box's four corners after the map.
fn project(bbox: BBox, matrix: &[[f64; 3]; 2]) -> BBox {
    let corners = [(bbox.x1, bbox.y1), (bbox.x2, bbox.y1), (bbox.x1, bbox.y2), (bbox.x2, bbox.y2)];
    let range = |row: [f64; 3]| {
        let values = corners.map(|(x, y)| row[0] * f64::from(x) + row[1] * f64::from(y) + row[2]);
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |it, v| (it.0.min(*v), it.1.max(*v)));
        (low as f32, high as f32)
    };
    let ((x1, x2), (y1, y2)) = (range(matrix[0]), range(matrix[1]));
    BBox::new(x1, y1, x2, y2)
}

impl Config {
    /// Whether enough is left of `old`, whose picture grew by `scale`.
    fn keeps(&self, old: BBox, new: BBox, scale: f64) -> bool {
        const TINY: f64 = 1e-16;
        let [w, h] = [new.width(), new.height()].map(f64::from);
        let area = f64::from(old.width()) * f64::from(old.height()) * scale * scale;
        let aspect = (w / (h + TINY)).max(h / (w + TINY));
        w > self.min_bbox_size
            && h > self.min_bbox_size
            && w * h / (area + TINY) > self.min_area_ratio
            && aspect < self.max_aspect_ratio
    }
}

impl RandomAffine {
    fn warp(&self, mut sample: Sample, choice: &Choice, context: &mut Context<'_>) -> Result<Sample, DataError> {
        let old = sample.image.shape();
        let side = |old: usize, border: i64| usize::try_from(old as i64 + 2 * border).unwrap_or(0);
        let new = (side(old.0, self.config.border[1]), side(old.1, self.config.border[0]));
        let failed = |reason: &str| DataError::Transform {
            transform: "YOLOv5RandomAffine",
            index: context.index,
            path: sample.meta.img_path.clone(),
            reason: reason.into(),
        };
        if new.0 == 0 || new.1 == 0 {
            let [w, h] = self.config.border;
            return Err(failed(&format!("nothing is left of {}×{} after a border of [{w}, {h}]", old.1, old.0)));
        }
        let matrix = choice.matrix(old, new);
        let Some(image) = warp_affine(&sample.image, matrix, new.0, new.1, self.border_val, context.buffers) else {
            return Err(failed("shear and rotation squeeze the picture into a line"));
        };
        context.buffers.give_image(std::mem::replace(&mut sample.image, image));
        sample.instances.retain_mut(|it| {
            let old = it.bbox;
            it.bbox = project(old, &matrix);
            if self.config.bbox_clip_border {
                it.bbox = it.bbox.clip(new.1 as f32, new.0 as f32);
            }
            self.config.keeps(old, it.bbox, choice.scale)
        });
        sample.meta.img_shape = new;
        Ok(sample)
    }
}

impl TransformStep for RandomAffine {
    fn apply(&self, sample: Sample, context: &mut Context<'_>) -> Result<Option<Sample>, DataError> {
        let choice = Choice::draw(&self.config, &mut context.draw.rng());
        self.warp(sample, &choice, context).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use mmy_structures::{Image, ImageMeta, Instance};

    use super::*;
    use crate::{Buffers, Draw, FileDataset, Pipeline, ops::golden};

    fn warp(sample: Sample, choice: &Choice, border: i64) -> Result<Sample, DataError> {
        let affine = RandomAffine { config: Config { border: [border; 2], ..Config::default() }, border_val: [114; 3] };
        let source = FileDataset::of_files([], Pipeline::build(&[]).unwrap());
        let mut buffers = Buffers::default();
        let mut context = Context { source: &source, index: 0, draw: Draw::new(0, 0, 0), buffers: &mut buffers };
        affine.warp(sample, choice, &mut context)
    }

    #[test]
    fn pictures_and_boxes_equal_mmyolo() {
        let numbers = golden::json();
        let labels = golden::integers("mosaic.labels");
        let boxes: Vec<[f32; 4]> = golden::floats("mosaic.boxes");
        let instance = |(it, label): (&[f32; 4], &i64)| Instance {
            bbox: BBox::new(it[0], it[1], it[2], it[3]),
            label: *label as u32,
            ignore: false,
        };
        for case in numbers["affine"].as_array().unwrap() {
            let number = |key: &str| case[key].as_f64().unwrap();
            let k = case["k"].as_u64().unwrap();
            let choice = Choice {
                rotate_degree: number("rotate_deg"),
                scale: number("scale"),
                shear_degree: [number("shear_x_deg"), number("shear_y_deg")],
                centre: [number("tx"), number("ty")],
            };
            let sample = Sample {
                image: golden::picture("mosaic.img"),
                instances: boxes.iter().zip(&labels).map(instance).collect(),
                meta: ImageMeta::default(),
            };
            let ours = warp(sample, &choice, -32).unwrap();
            assert_eq!(
                golden::difference(&ours.image, &golden::picture(&format!("affine{k}.img"))),
                (0, 0),
                "affine{k}"
            );
            let expect: Vec<[f32; 4]> = golden::floats(&format!("affine{k}.boxes"));
            assert_eq!(ours.instances.len(), expect.len(), "affine{k}");
            for (ours, expect) in ours.instances.iter().zip(expect) {
                // Sums of three 32-bit products below 128.
                assert!(ours.bbox.xyxy().iter().zip(expect).all(|(a, b)| (a - b).abs() < 3e-5), "{ours:?} {expect:?}");
            }
            let kept: Vec<_> = ours.instances.iter().map(|it| i64::from(it.label)).collect();
            assert_eq!(kept, golden::integers(&format!("affine{k}.labels")));
        }
    }

    #[test]
    fn little_of_a_box_is_dropped() {
        let config = Config::default();
        let old = BBox::new(0.0, 0.0, 100.0, 100.0);
        let keeps = |x2, y2| config.keeps(old, BBox::new(0.0, 0.0, x2, y2), 1.0);
        assert!(keeps(100.0, 100.0) && keeps(100.0, 10.1));
        assert!(!keeps(100.0, 10.0) && !keeps(30.0, 30.0) && !keeps(2.0, 100.0));
        let old = BBox::new(0.0, 0.0, 40.0, 3.0);
        assert!(config.keeps(old, BBox::new(0.0, 0.0, 59.9, 3.0), 1.0));
        assert!(!config.keeps(old, BBox::new(0.0, 0.0, 60.0, 3.0), 1.0));
    }

    #[test]
    fn a_border_that_leaves_nothing_is_an_error() {
        let sample = Sample { image: Image::filled(4, 4, [0; 3]), instances: vec![], meta: ImageMeta::default() };
        let choice = Choice { rotate_degree: 0.0, scale: 1.0, shear_degree: [0.0; 2], centre: [0.5; 2] };
        assert!(warp(sample, &choice, -2).unwrap_err().to_string().contains("nothing is left of 4×4"));
    }
}
