//! `Mosaic`: four pictures around a random centre.

use mmy_registry::{Build, BuildError, Outline, Slot, register};
use mmy_structures::{BBox, Image, Sample};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Buffers, Context, DataError, Pipeline, SizeStep, Transform, TransformStep,
    ops::{Interpolation, resize},
};

/// Puts this picture and three random ones around a random centre, on a canvas of twice `img_scale` (YOLOv4, YOLOv5).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Width and height that each picture is fitted into, in pixels; the canvas is twice as wide and high.
    pub img_scale: [usize; 2],
    /// The centre lies between these multiples of `img_scale`.
    pub center_ratio_range: [f64; 2],
    /// Whether boxes are cut off at the canvas's edges; if not, those outside are dropped.
    pub bbox_clip_border: bool,
    /// Grey level where no picture is.
    pub pad_val: f64,
    /// What is done to the other three pictures first: the loading steps that stand before this one.
    pub pre_transform: Vec<Slot<Transform>>,
    /// Probability, 0 to 1; without it the picture stays as it is.
    pub prob: f64,
    /// Keeps pictures for later mosaics. Taken, without effect: a sample depends on (seed, epoch, index) alone.
    pub use_cached: bool,
    /// Taken, without effect.
    pub max_cached_images: usize,
    /// Taken, without effect.
    pub random_pop: bool,
    /// How often other pictures are drawn when the pipeline turns one down.
    pub max_refetch: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            img_scale: [640, 640],
            center_ratio_range: [0.5, 1.5],
            bbox_clip_border: true,
            pad_val: 114.0,
            pre_transform: Vec::new(),
            prob: 1.0,
            use_cached: false,
            max_cached_images: 40,
            random_pop: true,
            max_refetch: 15,
        }
    }
}

register!(Transform, "Mosaic", Config);

impl Build<Transform> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn TransformStep>, BuildError> {
        super::size("img_scale", self.img_scale)?;
        super::probability("prob", self.prob)?;
        super::range("center_ratio_range", self.center_ratio_range, 0.0)?;
        if self.center_ratio_range[1] > 2.0 {
            return Err(BuildError::new("the centre must lie on the canvas, at most at 2").at("center_ratio_range"));
        }
        if self.max_refetch == 0 {
            return Err(BuildError::new("must be at least 1").at("max_refetch"));
        }
        let grey = super::grey_level("pad_val", self.pad_val)?;
        Ok(Box::new(Mosaic { config: self.clone(), pre_transform: Pipeline::build(&self.pre_transform)?, grey }))
    }

    fn outline(&self) -> Outline {
        let size = self.img_scale.map(|it| 2 * it as i64);
        let out = Outline::default();
        if self.prob < 1.0 {
            out.fact(SizeStep::Varies)
        } else {
            out.fact(SizeStep::Becomes { key: "img_scale", size })
        }
    }
}

struct Mosaic {
    config: Config,
    pre_transform: Pipeline,
    grey: u8,
}

impl TransformStep for Mosaic {
    fn apply(&self, sample: Sample, context: &mut Context<'_>) -> Result<Option<Sample>, DataError> {
        let mut rng = context.draw.rng();
        if !rng.chance(self.config.prob) {
            return Ok(Some(sample));
        }
        let [low, high] = self.config.center_ratio_range;
        let centre = self.config.img_scale.map(|side| (rng.uniform(low, high) * side as f64) as usize);
        let mut samples = vec![sample];
        for place in 0..3 {
            match super::mixed(&self.pre_transform, context, &mut rng, place, self.config.max_refetch)? {
                Some(other) => samples.push(other),
                None => return Ok(None),
            }
        }
        let samples: [Sample; 4] = samples.try_into().expect("this picture and three others");
        Ok(Some(self.combine(samples, centre, context.buffers)))
    }
}

/// A place on the canvas and the part of a picture that goes there: left, top, right, bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patch {
    paste: [usize; 4],
    crop: [usize; 4],
}

/// Where picture `n` (top left, top right, bottom left, bottom right) of `size` goes; sizes and places are x, y.
fn patch(n: usize, centre: [usize; 2], size: [usize; 2], canvas: [usize; 2]) -> Patch {
    let mut out = Patch { paste: [0; 4], crop: [0; 4] };
    for axis in 0..2 {
        let (centre, size) = (centre[axis], size[axis]);
        let after = n >> axis & 1 == 1;
        let (start, end) =
            if after { (centre, (centre + size).min(canvas[axis])) } else { (centre.saturating_sub(size), centre) };
        // Of a picture before the centre the end shows, of one after it the start.
        let first = if after { 0 } else { size - (end - start) };
        (out.paste[axis], out.paste[axis + 2]) = (start, end);
        (out.crop[axis], out.crop[axis + 2]) = (first, first + (end - start));
    }
    out
}

impl Mosaic {
    fn combine(&self, samples: [Sample; 4], centre: [usize; 2], buffers: &mut Buffers) -> Sample {
        let canvas = self.config.img_scale.map(|it| 2 * it);
        let mut image = buffers.image(canvas[1], canvas[0]);
        let mut instances = Vec::with_capacity(samples.iter().map(|it| it.instances.len()).sum());
        let mut meta = None;
        for (n, sample) in samples.into_iter().enumerate() {
            let (height, width) = sample.image.shape();
            let [fit_x, fit_y] = self.config.img_scale;
            let ratio = (fit_y as f64 / height as f64).min(fit_x as f64 / width as f64);
            let side = |it: usize| ((it as f64 * ratio) as usize).max(1);
            let part = resize(sample.image, side(height), side(width), Interpolation::Bilinear, buffers);
            let patch = patch(n, centre, [part.width(), part.height()], canvas);
            paste(&mut image, &part, n, centre, patch, self.grey);
            buffers.give_image(part);
            let (dx, dy) = (patch.paste[0] as f32 - patch.crop[0] as f32, patch.paste[1] as f32 - patch.crop[1] as f32);
            let ratio = ratio as f32;
            let moved = |bbox: BBox| bbox.scale_shift(ratio, ratio, dx, dy);
            instances
                .extend(sample.instances.into_iter().map(|it| mmy_structures::Instance { bbox: moved(it.bbox), ..it }));
            meta.get_or_insert(sample.meta);
        }
        let (width, height) = (canvas[0] as f32, canvas[1] as f32);
        if self.config.bbox_clip_border {
            instances.iter_mut().for_each(|it| it.bbox = it.bbox.clip(width, height));
        } else {
            instances.retain(|it| it.bbox.x1 < width && it.bbox.x2 > 0.0 && it.bbox.y1 < height && it.bbox.y2 > 0.0);
        }
        let mut meta = meta.unwrap_or_default();
        meta.img_shape = image.shape();
        Sample { image, instances, meta }
    }
}

/// Writes picture `n` and the grey around it into its quarter of the canvas, each byte once.
fn paste(canvas: &mut Image, part: &Image, n: usize, centre: [usize; 2], patch: Patch, grey: u8) {
    let ends = [canvas.width(), canvas.height()];
    let quarter = |axis: usize| if n >> axis & 1 == 1 { (centre[axis], ends[axis]) } else { (0, centre[axis]) };
    let ((left, right), (top, bottom)) = (quarter(0), quarter(1));
    let [x1, y1, x2, y2] = patch.paste;
    let bytes = |it: usize| it * Image::CHANNELS;
    for y in top..bottom {
        let row = canvas.row_mut(y);
        if (y1..y2).contains(&y) {
            row[bytes(left)..bytes(x1)].fill(grey);
            let from = part.row(y - y1 + patch.crop[1]);
            row[bytes(x1)..bytes(x2)].copy_from_slice(&from[bytes(patch.crop[0])..bytes(patch.crop[2])]);
            row[bytes(x2)..bytes(right)].fill(grey);
        } else {
            row[bytes(left)..bytes(right)].fill(grey);
        }
    }
}

#[cfg(test)]
mod tests {
    use mmy_structures::{ImageMeta, Instance};

    use super::*;
    use crate::ops::golden;

    #[test]
    fn patches_equal_mmyolo() {
        let numbers = golden::json();
        let cases = numbers["mosaic"].as_array().unwrap();
        assert_eq!(cases.len(), 48);
        for case in cases {
            let list = |key: &str| -> Vec<usize> {
                case[key].as_array().unwrap().iter().map(|it| it.as_u64().unwrap() as usize).collect()
            };
            let pair = |key: &str| list(key).try_into().unwrap();
            let n = ["top_left", "top_right", "bottom_left", "bottom_right"].iter().position(|it| case["loc"] == *it);
            let ours = patch(n.unwrap(), pair("center"), pair("wh"), [128, 128]);
            // An empty patch may lie anywhere.
            let theirs = Patch { paste: list("paste").try_into().unwrap(), crop: list("crop").try_into().unwrap() };
            assert_eq!(ours, theirs, "{case}");
        }
    }

    #[test]
    fn picture_and_boxes_equal_mmyolo() {
        let mosaic = Mosaic {
            config: Config { img_scale: [64, 64], ..Config::default() },
            pre_transform: Pipeline::build(&[]).unwrap(),
            grey: 114,
        };
        let sizes = [(48, 64), (64, 40), (30, 30), (80, 100)];
        let samples = || {
            [0, 1, 2, 3].map(|n: usize| {
                let (h, w) = sizes[n];
                let (fw, fh) = (w as f64, h as f64);
                let boxes = [[2.0, 3.0, 0.6 * fw, 0.7 * fh], [0.3 * fw, 0.2 * fh, fw - 1.0, fh - 1.0]];
                let instance = |(label, it): (u32, [f64; 4])| {
                    let [x1, y1, x2, y2] = it.map(|it| it as f32);
                    Instance { bbox: BBox::new(x1, y1, x2, y2), label, ignore: false }
                };
                let labels = [2 * n as u32, 2 * n as u32 + 1];
                let instances = labels.into_iter().zip(boxes).map(instance).collect();
                let image = golden::by_rule(&format!("m{n}"), h, w);
                Sample { image, instances, meta: ImageMeta::default() }
            })
        };
        // The golden does not say its centre, drawn between 0.7 and 1.2 of 64: one of them makes the very picture.
        let theirs = golden::picture("mosaic.img");
        let found = (44..77).flat_map(|x| (44..77).map(move |y| [x, y])).find_map(|centre| {
            let sample = mosaic.combine(samples(), centre, &mut Buffers::default());
            (golden::difference(&sample.image, &theirs) == (0, 0)).then_some(sample)
        });
        let sample = found.expect("a centre that makes the golden's picture");
        let boxes: Vec<[f32; 4]> = golden::floats("mosaic.boxes");
        let labels = golden::integers("mosaic.labels");
        assert_eq!(sample.instances.len(), 8);
        for ((ours, bbox), label) in sample.instances.iter().zip(boxes).zip(labels) {
            assert_eq!(i64::from(ours.label), label);
            // 4e-6: one rounding of a 32-bit float at 64.
            assert!(ours.bbox.xyxy().iter().zip(bbox).all(|(a, b)| (a - b).abs() <= 8e-6), "{ours:?} {bbox:?}");
        }
    }
}
