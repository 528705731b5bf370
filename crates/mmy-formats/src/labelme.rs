//! labelme's annotation files: one JSON file for each picture.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::{Fault, json::Lists, yolo::bounds};

pub use crate::json::Row;

/// What is read of a file; the picture that may be in it is skipped.
#[derive(Debug)]
pub struct File {
    /// The picture's file, as the annotation has it, with slashes.
    pub image_path: Option<String>,
    /// `(height, width)`, zeros where nothing is said.
    pub shape: (usize, usize),
    /// Its objects, or what is wrong with them.
    pub shapes: Vec<Row<Shape>>,
}

/// An outlined object.
#[derive(Debug, Clone, Deserialize)]
pub struct Shape {
    /// Its class.
    pub label: String,
    /// Corners; of a circle the centre and a point of its edge.
    pub points: Vec<[f64; 2]>,
    /// What the points are: `rectangle`, `polygon`, `circle`, `mask` …
    #[serde(default = "polygon")]
    pub shape_type: String,
    /// What several shapes of one object have in common.
    #[serde(default)]
    pub group_id: Option<Value>,
    /// A remark.
    #[serde(default)]
    pub description: Option<String>,
    /// Boxes that were ticked.
    #[serde(default)]
    pub flags: serde_json::Map<String, Value>,
}

fn polygon() -> String {
    "polygon".into()
}

impl Shape {
    /// Left, top, right, bottom in pixels from 0; nothing for points and lines, which have no area.
    pub fn edges(&self) -> Option<[f64; 4]> {
        match (self.shape_type.as_str(), &self.points[..]) {
            ("circle", [[x, y], edge]) => {
                let radius = (edge[0] - x).hypot(edge[1] - y);
                Some([x - radius, y - radius, x + radius, y + radius])
            }
            ("rectangle" | "mask", [_, _, ..]) | ("polygon", [_, _, _, ..]) => Some(bounds(&self.points)),
            _ => None,
        }
    }

    /// Whether a flag is set.
    pub fn flag(&self, name: &str) -> bool {
        self.flags.get(name) == Some(&Value::Bool(true))
    }
}

/// The head of a file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    image_path: Option<String>,
    #[serde(default)]
    image_height: Option<usize>,
    #[serde(default)]
    image_width: Option<usize>,
    #[expect(dead_code, reason = "only whether it is there and a list")]
    shapes: Vec<IgnoredAny>,
}

/// Reads a file.
///
/// # Errors
/// When it is not JSON, or not an object with a list of `shapes`. What is wrong with a single shape stands in its place.
pub fn parse(bytes: &[u8]) -> Result<File, Fault> {
    let head: Head = serde_json::from_slice(bytes).map_err(|error| Fault::json(&error))?;
    let shape = match (head.image_height.unwrap_or(0), head.image_width.unwrap_or(0)) {
        (0, _) | (_, 0) => (0, 0),
        known => known,
    };
    // Written on Windows, a path may have the other slash.
    let image_path = head.image_path.map(|it| it.replace('\\', "/"));
    Ok(File { image_path, shape, shapes: Lists::of(bytes).rows("shapes") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_their_boxes() {
        let text = r#"{"version": "5.4.1", "flags": {}, "shapes": [
            {"label": "cat", "points": [[10, 20], [3, 5]], "shape_type": "rectangle", "flags": {"difficult": true}},
            {"label": "dog", "points": [[0, 0], [4, 0], [2, 6.5]], "group_id": 3},
            {"label": "sun", "points": [[10, 10], [13, 14]], "shape_type": "circle", "description": ""},
            {"label": "way", "points": [[10, 10], [13, 14]], "shape_type": "line"},
            {"label": 3}],
            "imagePath": "..\\a\\b.jpg", "imageData": "aGk=", "imageHeight": 40, "imageWidth": 50}"#;
        let file = parse(text.as_bytes()).unwrap();
        assert_eq!((file.image_path.as_deref(), file.shape), (Some("../a/b.jpg"), (40, 50)));
        let shape = |at: usize| file.shapes[at].value.as_ref().unwrap();
        assert_eq!((file.shapes[0].line, shape(0).edges()), (2, Some([3.0, 5.0, 10.0, 20.0])));
        assert!(shape(0).flag("difficult") && !shape(1).flag("difficult"));
        assert_eq!(shape(1).edges(), Some([0.0, 0.0, 4.0, 6.5]));
        assert_eq!(shape(2).edges(), Some([5.0, 5.0, 15.0, 15.0]));
        assert_eq!(shape(3).edges(), None);
        let broken = &file.shapes[4];
        assert_eq!((broken.line, broken.value.as_ref().unwrap_err().contains("expected a string")), (6, true));
    }

    #[test]
    fn what_is_no_labelme_file_is_an_error_with_its_place() {
        for text in ["", "[", "[]", "{}", "{\"shapes\": 3}", "{\"shapes\": [}", &"[".repeat(100_000)] {
            let fault = parse(text.as_bytes()).unwrap_err();
            assert!(fault.line >= 1 && fault.column.is_some(), "{fault:?}");
        }
    }
}
