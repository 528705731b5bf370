//! COCO files with everything that is in them, to be written again.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use crate::{Fault, json::without_nan};

/// Keys that no code here has a use for, with their values.
pub type Extra = Map<String, Value>;

/// A file with everything that is in it.
#[derive(Debug, Default, PartialEq)]
pub struct Whole {
    /// The pictures.
    pub images: Vec<Picture>,
    /// The objects in them.
    pub annotations: Vec<Annotation>,
    /// The classes.
    pub categories: Vec<Category>,
    /// `info`, `licenses` and whatever else there is.
    pub extra: Extra,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Extra")]
pub struct Picture {
    /// Its number.
    pub id: i64,
    /// Its file, below the folder of the pictures.
    pub file_name: String,
    /// `(height, width)`, zeros where nothing is said.
    pub shape: (usize, usize),
    /// What else is said.
    pub extra: Extra,
}

/// A class.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Extra")]
pub struct Category {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// What else is said, such as `supercategory`.
    pub extra: Extra,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Extra")]
pub struct Annotation {
    /// The picture's number.
    pub image_id: i64,
    /// The class's number.
    pub category_id: i64,
    /// Left, top, width, height; not a number where the writer had none.
    pub bbox: [f64; 4],
    /// Polygons around its parts; none where it has a mask of another kind, which is among `extra`.
    pub outlines: Vec<Vec<[f64; 2]>>,
    /// What else is said, such as `id`, `area`, `iscrowd`.
    pub extra: Extra,
}

fn number(extra: &mut Extra, key: &str) -> Result<i64, String> {
    let value = extra.remove(key).ok_or_else(|| format!("missing field `{key}`"))?;
    value.as_i64().ok_or_else(|| format!("`{key}` is no whole number"))
}

fn text(extra: &mut Extra, key: &str) -> Result<String, String> {
    match extra.remove(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("`{key}` is no text")),
        None => Err(format!("missing field `{key}`")),
    }
}

impl TryFrom<Extra> for Picture {
    type Error = String;
    fn try_from(mut extra: Extra) -> Result<Self, String> {
        let (id, file_name) = (number(&mut extra, "id")?, text(&mut extra, "file_name")?);
        let mut side = |key: &str| extra.remove(key).and_then(|it| it.as_u64()).unwrap_or(0) as usize;
        let shape = match (side("height"), side("width")) {
            (0, _) | (_, 0) => (0, 0),
            known => known,
        };
        Ok(Picture { id, file_name, shape, extra })
    }
}

impl TryFrom<Extra> for Category {
    type Error = String;
    fn try_from(mut extra: Extra) -> Result<Self, String> {
        Ok(Category { id: number(&mut extra, "id")?, name: text(&mut extra, "name")?, extra })
    }
}

impl TryFrom<Extra> for Annotation {
    type Error = String;
    fn try_from(mut extra: Extra) -> Result<Self, String> {
        let (image_id, category_id) = (number(&mut extra, "image_id")?, number(&mut extra, "category_id")?);
        let bbox = match extra.remove("bbox") {
            Some(Value::Array(edges)) if edges.len() == 4 => {
                let edge = |at: usize| edges[at].as_f64().unwrap_or(f64::NAN);
                [edge(0), edge(1), edge(2), edge(3)]
            }
            Some(_) => return Err("`bbox` is no list of four numbers".into()),
            None => return Err("missing field `bbox`".into()),
        };
        let outlines = extra.get("segmentation").and_then(polygons);
        if outlines.is_some() {
            extra.remove("segmentation");
        }
        Ok(Annotation { image_id, category_id, bbox, outlines: outlines.unwrap_or_default(), extra })
    }
}

/// Lists of x, y, x, y …, of three corners at least; nothing for masks of another kind.
fn polygons(value: &Value) -> Option<Vec<Vec<[f64; 2]>>> {
    let polygon = |it: &Value| {
        let numbers = it.as_array()?.iter().map(Value::as_f64).collect::<Option<Vec<_>>>()?;
        (numbers.len() >= 6 && numbers.len() % 2 == 0).then(|| numbers.as_chunks::<2>().0.to_vec())
    };
    value.as_array()?.iter().map(polygon).collect()
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a list of `images`")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Whole, A::Error> {
                let (mut out, mut images) = (Whole::default(), None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "images" => images = Some(map.next_value()?),
                        "annotations" => out.annotations = map.next_value()?,
                        "categories" => out.categories = map.next_value()?,
                        _ => {
                            out.extra.insert(key, map.next_value()?);
                        }
                    }
                }
                out.images = images.ok_or_else(|| de::Error::missing_field("images"))?;
                Ok(out)
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Reads a file with everything that is in it.
///
/// # Errors
/// The first fault, with its place.
pub fn parse_whole(bytes: &[u8]) -> Result<Whole, Fault> {
    serde_json::from_slice(&without_nan(bytes)).map_err(|error| Fault::json(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_out() {
        let text = r#"{"info": {"year": 2017}, "images": [{"id": 7, "file_name": "a.jpg", "width": 9, "height": 8, "license": 3}],
            "annotations": [
                {"id": 1, "image_id": 7, "category_id": 2, "bbox": [1, 2, 3, NaN], "segmentation": [[1, 2, 3, 4, 5, 6]]},
                {"image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4.5], "segmentation": {"counts": [1], "size": [8, 9]}}],
            "categories": [{"id": 2, "name": "cat", "supercategory": "animal"}]}"#;
        let whole = parse_whole(text.as_bytes()).unwrap();
        assert_eq!((whole.images[0].shape, &whole.images[0].extra["license"]), ((8, 9), &Value::from(3)));
        let [first, second] = &whole.annotations[..] else { panic!("two annotations") };
        assert_eq!(first.outlines, [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]);
        assert!(first.bbox[3].is_nan() && !first.extra.contains_key("segmentation"));
        assert_eq!((second.bbox, second.outlines.len()), ([1.0, 2.0, 3.0, 4.5], 0));
        assert!(second.extra["segmentation"].is_object());
        assert_eq!(whole.categories[0].extra["supercategory"], "animal");
        assert_eq!(whole.extra["info"]["year"], 2017);
    }

    #[test]
    fn faults_have_places() {
        let check = |text: &str, line: u32, reason: &str| {
            let fault = parse_whole(text.as_bytes()).unwrap_err();
            assert!(fault.line == line && fault.reason.contains(reason), "{fault:?}");
        };
        check("{}", 1, "missing field `images`");
        check("{\"images\": [\n{\"id\": 1}]}", 2, "missing field `file_name`");
        check(
            "{\"images\": [],\n\"annotations\": [\n{\"image_id\": 1, \"category_id\": 1, \"bbox\": [1]}]}",
            3,
            "`bbox`",
        );
        check(&"[".repeat(100_000), 1, "");
    }
}
