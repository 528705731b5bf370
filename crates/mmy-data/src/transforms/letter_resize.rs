//! `LetterResize`: fits the picture into a fixed size, with bars on two sides.

use mmy_registry::{Build, BuildError, Outline, register};
use mmy_structures::{Image, Sample};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Buffers, Context, DataError, SizeStep, Transform, TransformStep,
    ops::{Interpolation, resize},
};

/// Fits the picture into `scale`, or into its batch's shape where it has one, with bars on two sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Width and height in pixels.
    pub scale: [usize; 2],
    /// Grey level of the bars.
    pub pad_val: PadVal,
    /// Pads only up to a multiple of 32 pixels.
    pub use_mini_pad: bool,
    /// Stretches the picture over the whole size, without bars.
    pub stretch_only: bool,
    /// Whether pictures smaller than the size grow.
    pub allow_scale_up: bool,
    /// Whether `pad_param` says half of the padding on each side, where an odd number of pixels makes a difference.
    pub half_pad_param: bool,
    /// Whether boxes are cut off at the picture's edges.
    pub clip_object_border: bool,
}

/// What is written where there is no picture.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PadVal {
    /// Grey level, 0 to 255.
    pub img: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            scale: [640, 640],
            pad_val: PadVal::default(),
            use_mini_pad: false,
            stretch_only: false,
            allow_scale_up: true,
            half_pad_param: false,
            clip_object_border: true,
        }
    }
}

register!(Transform, "LetterResize", Config);

impl Build<Transform> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn TransformStep>, BuildError> {
        super::size("scale", self.scale)?;
        let grey = super::grey_level("pad_val.img", self.pad_val.img)?;
        Ok(Box::new(LetterResize { config: self.clone(), grey }))
    }

    fn outline(&self) -> Outline {
        let [width, height] = self.scale.map(|it| it as i64);
        Outline::default().fact(match self.use_mini_pad {
            true => SizeStep::Varies,
            false => SizeStep::Becomes { key: "scale", size: [width, height] },
        })
    }
}

struct LetterResize {
    config: Config,
    grey: u8,
}

/// Where the picture goes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fit {
    /// Height and width of the picture alone.
    inner: (usize, usize),
    /// Padding: top, bottom, left, right.
    pad: [usize; 4],
}

impl Config {
    fn fit(&self, (height, width): (usize, usize), batch_shape: Option<(usize, usize)>) -> Fit {
        let outer = batch_shape.unwrap_or((self.scale[1], self.scale[0]));
        if self.stretch_only && !self.use_mini_pad {
            return Fit { inner: outer, pad: [0; 4] };
        }
        let ratio = (outer.0 as f64 / height as f64).min(outer.1 as f64 / width as f64);
        let ratio = if self.allow_scale_up { ratio } else { ratio.min(1.0) };
        let side = |it: usize| ((it as f64 * ratio).round_ties_even() as usize).max(1);
        let inner = (side(height), side(width));
        let padding = [outer.0.saturating_sub(inner.0), outer.1.saturating_sub(inner.1)];
        let [vertical, horizontal] = if self.use_mini_pad { padding.map(|it| it % 32) } else { padding };
        let (top, left) = (vertical / 2, horizontal / 2);
        Fit { inner, pad: [top, vertical - top, left, horizontal - left] }
    }
}

impl TransformStep for LetterResize {
    fn apply(&self, mut sample: Sample, context: &mut Context<'_>) -> Result<Option<Sample>, DataError> {
        let (old_height, old_width) = sample.image.shape();
        let Fit { inner, pad } = self.config.fit((old_height, old_width), sample.meta.batch_shape);
        let image = resize(sample.image, inner.0, inner.1, Interpolation::Bilinear, context.buffers);
        sample.image = bars(image, pad, self.grey, context.buffers);
        let (height, width) = sample.image.shape();
        let scale = ((inner.1 as f64 / old_width as f64) as f32, (inner.0 as f64 / old_height as f64) as f32);
        let sides = pad.map(|it| it as f32);
        let pad_param = match self.config.half_pad_param {
            true => {
                [sides[0] + sides[1], sides[0] + sides[1], sides[2] + sides[3], sides[2] + sides[3]].map(|it| it / 2.0)
            }
            false => sides,
        };
        for it in &mut sample.instances {
            it.bbox = it.bbox.scale_shift(scale.0, scale.1, pad_param[2], pad_param[0]);
            if self.config.clip_object_border {
                it.bbox = it.bbox.clip(width as f32, height as f32);
            }
        }
        let meta = &mut sample.meta;
        meta.img_shape = (height, width);
        meta.scale_factor = (meta.scale_factor.0 * scale.0, meta.scale_factor.1 * scale.1);
        // Padding that is there already has been resized along.
        let factors = [scale.1, scale.1, scale.0, scale.0];
        for ((old, factor), new) in meta.pad_param.iter_mut().zip(factors).zip(pad_param) {
            *old = *old * factor + new;
        }
        Ok(Some(sample))
    }
}

/// Bars around a picture: top, bottom, left, right.
fn bars(image: Image, [top, bottom, left, right]: [usize; 4], grey: u8, buffers: &mut Buffers) -> Image {
    if [top, bottom, left, right] == [0; 4] {
        return image;
    }
    let (height, width) = image.shape();
    let mut out = buffers.image(top + height + bottom, left + width + right);
    for y in 0..out.height() {
        let row = out.row_mut(y);
        if y < top || y >= top + height {
            row.fill(grey);
        } else {
            let (before, rest) = row.split_at_mut(left * Image::CHANNELS);
            let (inside, after) = rest.split_at_mut(width * Image::CHANNELS);
            before.fill(grey);
            inside.copy_from_slice(image.row(y - top));
            after.fill(grey);
        }
    }
    buffers.give_image(image);
    out
}

#[cfg(test)]
mod tests {
    use mmy_structures::{BBox, ImageMeta, Instance};

    use super::*;
    use crate::{Draw, FileDataset, MetaInfo, Pipeline, ops::golden, transforms::keep_ratio_resize};

    fn run(steps: &[&dyn TransformStep], image: Image, bbox: BBox, batch_shape: Option<(usize, usize)>) -> Sample {
        let source = FileDataset::of_files([], Pipeline::build(&[]).unwrap());
        let mut buffers = Buffers::default();
        let mut context = Context { source: &source, index: 0, draw: Draw::new(0, 0, 0), buffers: &mut buffers };
        let instances = vec![Instance { bbox, label: 0, ignore: false }];
        let meta = ImageMeta { batch_shape, scale_factor: (1.0, 1.0), ..ImageMeta::default() };
        let start = Sample { image, instances, meta };
        steps.iter().fold(start, |it, step| step.apply(it, &mut context).unwrap().unwrap())
    }

    #[test]
    fn geometry_equals_mmyolo() {
        let numbers = golden::json();
        let cases = numbers["letter"].as_array().unwrap();
        assert_eq!(cases.len(), 65);
        let keep = keep_ratio_resize::Config::default().build(()).unwrap();
        let letter = Config { allow_scale_up: false, ..Config::default() }.build(()).unwrap();
        for case in cases {
            let list = |key: &str| -> Vec<f64> {
                case[key].as_array().map(|it| it.iter().map(|it| it.as_f64().unwrap()).collect()).unwrap_or_default()
            };
            let pair = |key: &str| match list(key)[..] {
                [h, w] => Some((h as usize, w as usize)),
                _ => None,
            };
            let (h, w) = pair("hw").unwrap();
            let bbox = BBox::new(1.0, 2.0, w as f32 / 2.0, h as f32 / 2.0);
            let resized = run(&[&*keep], Image::filled(h, w, [0; 3]), bbox, None);
            assert_eq!(resized.image.shape(), pair("keep_ratio_hw").unwrap(), "{case}");
            let sample = run(&[&*keep, &*letter], Image::filled(h, w, [0; 3]), bbox, pair("batch_shape"));
            assert_eq!(sample.image.shape(), pair("out_hw").unwrap(), "{case}");
            assert_eq!(sample.meta.pad_param.map(f64::from).to_vec(), list("pad_param"), "{case}");
            // The original keeps its factors as 64-bit floats: 1e-7 is a rounding in 32 bits.
            let factors = [sample.meta.scale_factor.0, sample.meta.scale_factor.1].map(f64::from);
            let boxes = sample.instances[0].bbox.xyxy().map(f64::from);
            for (ours, theirs) in factors.iter().zip(list("scale_factor")).chain(boxes.iter().zip(list("box"))) {
                assert!((ours - theirs).abs() <= 1.2e-7 * theirs.abs(), "{ours} {theirs}: {case}");
            }
        }
    }

    #[test]
    fn pixels_equal_mmyolo() {
        for size in [160, 80] {
            let keep = keep_ratio_resize::Config { scale: [size, size], ..Default::default() }.build(()).unwrap();
            let letter = Config {
                scale: [size, size],
                pad_val: PadVal { img: 114.0 },
                allow_scale_up: false,
                ..Config::default()
            };
            let sample = run(&[&*keep, &*letter.build(()).unwrap()], golden::picture("im"), BBox::default(), None);
            let theirs = golden::picture(&format!("letter{size}.img"));
            assert_eq!(golden::difference(&sample.image, &theirs), (0, 0), "letter{size}");
        }
    }

    #[test]
    fn options_change_the_fit() {
        let fit = |config: Config| config.fit((50, 100), None);
        let base = Config { scale: [200, 180], ..Config::default() };
        assert_eq!(fit(base.clone()), Fit { inner: (100, 200), pad: [40, 40, 0, 0] });
        assert_eq!(fit(Config { use_mini_pad: true, ..base.clone() }), Fit { inner: (100, 200), pad: [8, 8, 0, 0] });
        assert_eq!(fit(Config { stretch_only: true, ..base.clone() }), Fit { inner: (180, 200), pad: [0; 4] });
        assert_eq!(
            fit(Config { allow_scale_up: false, ..base.clone() }),
            Fit { inner: (50, 100), pad: [65, 65, 50, 50] }
        );
        assert_eq!(
            Config { scale: [101, 101], ..base }.fit((50, 100), None),
            Fit { inner: (50, 101), pad: [25, 26, 0, 0] }
        );
    }

    #[test]
    fn half_of_an_odd_padding() {
        let letter = Config { scale: [101, 101], half_pad_param: true, ..Config::default() }.build(()).unwrap();
        let sample = run(&[&*letter], Image::filled(50, 100, [0; 3]), BBox::default(), None);
        assert_eq!(sample.meta.pad_param, [25.5, 25.5, 0.0, 0.0]);
        assert_eq!(sample.image.shape(), (101, 101));
    }

    #[test]
    fn metainfo_is_empty_for_bare_files() {
        let source = FileDataset::of_files([], Pipeline::build(&[]).unwrap());
        assert_eq!(crate::DatasetSource::metainfo(&source), &MetaInfo::default());
    }
}
