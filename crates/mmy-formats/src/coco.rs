//! COCO annotation files.

mod whole;

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny},
};

pub use whole::{
    Annotation as WholeAnnotation, Category as WholeCategory, Extra, Picture as WholePicture, Whole, parse_whole,
};

pub use crate::json::Row;
use crate::json::{Lists, without_nan};

/// What is read of a COCO file; all else (segmentations above all) is skipped without being kept.
#[derive(Debug, Deserialize)]
pub struct File {
    /// The pictures.
    pub images: Vec<Picture>,
    /// The objects in them.
    #[serde(default)]
    pub annotations: Vec<Annotation>,
    /// The classes.
    #[serde(default)]
    pub categories: Vec<Category>,
}

/// A picture.
#[derive(Debug, Deserialize)]
pub struct Picture {
    /// Its number.
    pub id: i64,
    /// Its file, below the folder of the pictures.
    pub file_name: String,
    /// Columns; 0 where nothing is said.
    #[serde(default)]
    pub width: usize,
    /// Rows; 0 where nothing is said.
    #[serde(default)]
    pub height: usize,
}

impl Picture {
    /// `(height, width)`, zeros where nothing is said.
    pub fn shape(&self) -> (usize, usize) {
        if self.width == 0 || self.height == 0 { (0, 0) } else { (self.height, self.width) }
    }
}

/// An object.
#[derive(Debug, Deserialize)]
pub struct Annotation {
    /// Its number.
    #[serde(default)]
    pub id: Option<i64>,
    /// The picture's number.
    pub image_id: i64,
    /// The class's number.
    pub category_id: i64,
    /// Left, top, width, height; nothing where the writer had no number.
    pub bbox: [Option<f64>; 4],
    /// Whether it is a group, which is not learnt.
    #[serde(default, deserialize_with = "flag")]
    pub iscrowd: bool,
    /// Whether it is to be passed over.
    #[serde(default, deserialize_with = "flag")]
    pub ignore: bool,
}

impl Annotation {
    /// Left, top, right, bottom; NaN where the writer had no number.
    pub fn edges(&self) -> [f32; 4] {
        let [x, y, w, h] = self.bbox.map(|it| it.unwrap_or(f64::NAN));
        [x, y, x + w, y + h].map(|it| it as f32)
    }
}

/// A class.
#[derive(Debug, Deserialize)]
pub struct Category {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
}

/// 0, 1, false or true.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = bool;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("0 or 1")
        }
        fn visit_bool<E: de::Error>(self, it: bool) -> Result<bool, E> {
            Ok(it)
        }
        fn visit_u64<E: de::Error>(self, it: u64) -> Result<bool, E> {
            Ok(it != 0)
        }
        fn visit_i64<E: de::Error>(self, it: i64) -> Result<bool, E> {
            Ok(it != 0)
        }
        fn visit_unit<E: de::Error>(self) -> Result<bool, E> {
            Ok(false)
        }
    }
    deserializer.deserialize_any(Visitor)
}

/// Reads a file whose every entry has to be sound.
///
/// # Errors
/// The first fault, with its line and column.
pub fn parse(bytes: &[u8]) -> Result<File, serde_json::Error> {
    match serde_json::from_slice(bytes) {
        Ok(file) => Ok(file),
        Err(error) => match without_nan(bytes) {
            Cow::Owned(bytes) => serde_json::from_slice(&bytes),
            Cow::Borrowed(_) => Err(error),
        },
    }
}

/// Every entry of a file, the broken ones too.
#[derive(Debug)]
pub struct Survey {
    /// The pictures.
    pub images: Vec<Row<Picture>>,
    /// The objects in them.
    pub annotations: Vec<Row<Annotation>>,
    /// The classes.
    pub categories: Vec<Row<Category>>,
}

/// Reads a file entry by entry, so that one broken entry does not hide the others.
///
/// # Errors
/// When it is not JSON, or not an object with a list of `images`.
pub fn survey(bytes: &[u8]) -> Result<Survey, serde_json::Error> {
    #[derive(Deserialize)]
    struct Shape {
        #[expect(dead_code, reason = "only whether it is there and a list")]
        images: Vec<IgnoredAny>,
        #[expect(dead_code, reason = "only whether it is a list")]
        #[serde(default)]
        annotations: Vec<IgnoredAny>,
        #[expect(dead_code, reason = "only whether it is a list")]
        #[serde(default)]
        categories: Vec<IgnoredAny>,
    }
    let bytes = without_nan(bytes);
    serde_json::from_slice::<Shape>(&bytes)?;
    let lists = Lists::of(&bytes);
    Ok(Survey {
        images: lists.rows("images"),
        annotations: lists.rows("annotations"),
        categories: lists.rows("categories"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_json_lacks_become_null() {
        let check = |text: &str, expect: &str| {
            assert_eq!(without_nan(text.as_bytes()), expect.as_bytes());
        };
        check(r#"[1, NaN, -Infinity, Infinity]"#, "[1, null, null, null]");
        check(r#"{"NaN\"NaN": NaN, "a\\": -NaN}"#, r#"{"NaN\"NaN": null, "a\\": null}"#);
        check("[-1, null]\\", "[-1, null]\\");
    }

    #[test]
    fn a_survey_goes_on_behind_broken_entries() {
        let text = "{\"images\": [\n {\"id\": 1, \"file_name\": \"a\"},\n {\"id\": \"x\"}],\n\
                    \"annotations\": [{\"image_id\": 1,\n \"category_id\": 2, \"bbox\": [NaN, 0, 1, 1]},\n\
                    {\"image_id\": 1, \"category_id\": 2, \"bbox\": [1]}], \"info\": [3], \"a\": {\"images\": [1]}}";
        let survey = survey(text.as_bytes()).unwrap();
        let image = |at: usize| (survey.images[at].line, survey.images[at].value.as_ref().map(|it| it.id));
        assert_eq!(image(0), (2, Ok(1)));
        assert_eq!(image(1), (3, Err(&"invalid type: string \"x\", expected i64".to_owned())));
        let boxes: Vec<_> =
            survey.annotations.iter().map(|it| (it.line, it.value.as_ref().map(|it| it.bbox[0]))).collect();
        assert_eq!(boxes[0], (4, Ok(None)));
        assert_eq!(boxes[1].0, 6);
        assert!(boxes[1].1.as_ref().unwrap_err().contains("invalid length 1"));
        assert!(survey.categories.is_empty());
    }

    #[test]
    fn what_is_no_coco_file_is_an_error() {
        for text in ["", "[", "[]", "3", "{}", "{\"images\": 3}", &"[".repeat(100_000)] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
            assert!(survey(text.as_bytes()).is_err(), "{text}");
        }
    }
}
