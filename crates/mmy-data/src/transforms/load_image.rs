//! `LoadImageFromFile`: reads the picture.

use std::fs;

use mmy_registry::{Build, BuildError, register};
use mmy_structures::Sample;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Context, DataError, Transform, TransformStep,
    ops::{self, ExifOrientation},
};

/// Reads the picture (JPEG, PNG, BMP or WebP) into three 8-bit channels, blue first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Pixels as floats. Only false: the model's own device turns bytes into floats.
    pub to_float32: bool,
    /// Whether a picture is turned upright as its EXIF data says.
    pub color_type: ColorType,
    /// Which library decodes. Taken, without effect.
    pub imdecode_backend: String,
    /// Where files come from.
    pub backend_args: Option<BackendArgs>,
    /// Leaves out a picture that cannot be read. Taken, without effect: the loader's `on_bad_image` decides.
    pub ignore_empty: bool,
}

/// OpenCV's names for how a picture is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColorType {
    /// Colour, turned upright by EXIF.
    #[default]
    Color,
    /// Colour, as stored.
    ColorIgnoreOrientation,
}

/// Where files come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BackendArgs {
    /// `local` is the only one.
    pub backend: Backend,
}

/// Where files come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// The file system.
    #[default]
    Local,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            to_float32: false,
            color_type: ColorType::Color,
            imdecode_backend: "cv2".into(),
            backend_args: None,
            ignore_empty: false,
        }
    }
}

register!(Transform, "LoadImageFromFile", Config);

impl Build<Transform> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn TransformStep>, BuildError> {
        if self.to_float32 {
            return Err(BuildError::new("pixels stay bytes until they reach the model").at("to_float32"));
        }
        Ok(Box::new(LoadImageFromFile {
            orientation: match self.color_type {
                ColorType::Color => ExifOrientation::Apply,
                ColorType::ColorIgnoreOrientation => ExifOrientation::Ignore,
            },
        }))
    }
}

struct LoadImageFromFile {
    orientation: ExifOrientation,
}

impl TransformStep for LoadImageFromFile {
    fn apply(&self, mut sample: Sample, context: &mut Context<'_>) -> Result<Option<Sample>, DataError> {
        let path = &sample.meta.img_path;
        let bytes = fs::read(path).map_err(|error| DataError::image(path, error))?;
        let image =
            ops::decode(&bytes, self.orientation, context.buffers).map_err(|error| DataError::image(path, error))?;
        let (said, is) = (sample.meta.ori_shape, image.shape());
        if said != (0, 0) && said != is {
            let reason = format!(
                "the picture is {}×{}, its annotations say {}×{}, so that its boxes would be off",
                is.1, is.0, said.1, said.0
            );
            return Err(DataError::image(path, reason));
        }
        sample.meta.ori_shape = is;
        sample.meta.img_shape = image.shape();
        sample.image = image;
        Ok(Some(sample))
    }
}
