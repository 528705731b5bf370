//! A data set without a format.

use std::{collections::HashMap, path::PathBuf};

use mmy_formats::{coco::Extra, picture::upright_size};
use rayon::prelude::*;
use serde_json::Value;

use crate::DataError;

/// A data set without a format.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Collection {
    /// The classes, in order.
    pub classes: Vec<Class>,
    /// The pictures, in order.
    pub pictures: Vec<Picture>,
    /// What else is said of the whole.
    pub extra: Extra,
}

/// A class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// What else is said of it, such as `id`.
    pub extra: Extra,
}

/// A picture with its objects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picture {
    /// Its file.
    pub path: PathBuf,
    /// Its name within the data set, with slashes.
    pub name: String,
    /// `(height, width)`.
    pub shape: (usize, usize),
    /// The splits that it belongs to.
    pub splits: Vec<String>,
    /// Its objects.
    pub objects: Vec<Object>,
    /// What else is said of it, such as `id`.
    pub extra: Extra,
}

/// An object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object {
    /// Its class, as a place in the list of classes.
    pub class: usize,
    /// Left, top, right, bottom in pixels from 0, with the ends excluded.
    pub edges: [f64; 4],
    /// Whether it is hard to see, and therefore not learnt.
    pub difficult: bool,
    /// Whether it is a group, which is not learnt.
    pub crowd: bool,
    /// Polygons around its parts.
    pub outlines: Vec<Vec<[f64; 2]>>,
    /// What else is said of it, such as `area`.
    pub extra: Extra,
}

impl Object {
    /// Whether it is kept for evaluation alone.
    pub fn ignored(&self) -> bool {
        self.difficult || self.crowd
    }

    /// Whether the outlines lie in their box and fill it, to a hundredth of a pixel.
    pub(super) fn outlines_fit(&self) -> bool {
        let nothing = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
        let bounds = self
            .outlines
            .iter()
            .flatten()
            .fold(nothing, |it, [x, y]| [it[0].min(*x), it[1].min(*y), it[2].max(*x), it[3].max(*y)]);
        bounds.iter().zip(self.edges).all(|(a, b)| (a - b).abs() <= 0.01)
    }
}

impl Collection {
    /// How many objects there are.
    pub fn objects(&self) -> usize {
        self.pictures.iter().map(|it| it.objects.len()).sum()
    }

    /// The splits, in the order in which pictures name them.
    pub fn splits(&self) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for split in self.pictures.iter().flat_map(|it| &it.splits) {
            if !out.contains(split) {
                out.push(split.clone());
            }
        }
        // As they are used.
        let rank = |it: &String| ["train", "val", "trainval", "test"].iter().position(|name| name == it);
        out.sort_by_key(|it| rank(it).unwrap_or(usize::MAX));
        out
    }

    /// The pictures of a split; with an empty name those of none.
    pub(super) fn of_split<'a>(&'a self, split: &'a str) -> impl Iterator<Item = (usize, &'a Picture)> {
        let of = move |it: &Picture| {
            if split.is_empty() { it.splits.is_empty() } else { it.splits.iter().any(|it| it == split) }
        };
        self.pictures.iter().enumerate().filter(move |it| of(it.1))
    }

    /// Reads the sizes that the annotations do not say from the pictures' heads.
    pub(super) fn fill_sizes(&mut self) -> Result<(), DataError> {
        let unknown = self.pictures.par_iter_mut().filter(|it| it.shape == (0, 0));
        unknown.try_for_each(|it| {
            it.shape = upright_size(&it.path).map_err(|reason| DataError::image(&it.path, reason))?;
            Ok(())
        })
    }
}

/// The places of classes by name, in the order in which they come.
#[derive(Default)]
pub(super) struct Classes {
    pub(super) list: Vec<Class>,
    places: HashMap<String, usize>,
}

impl Classes {
    /// The place of a class, which is added unless it is there.
    pub(super) fn place(&mut self, name: &str) -> usize {
        self.add(Class { name: name.to_owned(), extra: Extra::new() })
    }

    /// The place of a class, which is added with all that is said of it unless its name is there.
    pub(super) fn add(&mut self, class: Class) -> usize {
        *self.places.entry(class.name.clone()).or_insert_with(|| {
            self.list.push(class);
            self.list.len() - 1
        })
    }
}

/// A number to a millionth, whole where it is.
pub(super) fn number(value: f64) -> Value {
    let value = (value * 1e6).round() / 1e6;
    if value.fract() == 0.0 && value.abs() < 1e15 { Value::from(value as i64) } else { Value::from(value) }
}

/// A value as a text without quotes, if it is one that a text can hold.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) => Some(value.to_string()),
        Value::Bool(set) => Some(u8::from(*set).to_string()),
        _ => None,
    }
}

/// A text as a number where it is one.
pub(super) fn value(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => Value::from(number),
        _ => {
            match text.parse::<f64>().ok().filter(|it| it.to_string() == text).and_then(serde_json::Number::from_f64) {
                Some(number) => Value::Number(number),
                None => Value::from(text),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_as_texts() {
        for it in [Value::from(3), Value::from(-1.5), Value::from("3 px"), Value::from("007"), Value::from("")] {
            assert_eq!(value(&text(&it).unwrap()), it);
        }
        assert_eq!((number(3.0).to_string(), number(1.0 / 3.0).to_string()), ("3".into(), "0.333333".into()));
    }
}
