//! Anchors as lists write them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

/// For each level, width and height of its anchors in pixels of the input: a row of numbers, or pairs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(with = "Vec<Vec<f32>>")]
pub struct Anchors(pub Vec<Vec<(f32, f32)>>);

impl<'de> Deserialize<'de> for Anchors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Level>::deserialize(deserializer).map(|it| Anchors(it.into_iter().map(|it| it.0).collect()))
    }
}

struct Level(Vec<(f32, f32)>);

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Level;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("widths and heights of anchors in turn, or pairs of them")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Level, A::Error> {
                let mut numbers = Vec::new();
                while let Some(Sides(sides)) = list.next_element()? {
                    numbers.extend(sides);
                }
                match numbers.len() % 2 {
                    0 => Ok(Level(numbers.as_chunks::<2>().0.iter().map(|&[w, h]| (w, h)).collect())),
                    _ => Err(de::Error::custom(format!("{} numbers make no pairs of width and height", numbers.len()))),
                }
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}

/// One number, or a pair of them.
struct Sides(Vec<f32>);

impl<'de> Deserialize<'de> for Sides {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Sides;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a pair of width and height")
            }

            fn visit_f64<E: de::Error>(self, it: f64) -> Result<Sides, E> {
                Ok(Sides(vec![it as f32]))
            }

            fn visit_i64<E: de::Error>(self, it: i64) -> Result<Sides, E> {
                Ok(Sides(vec![it as f32]))
            }

            fn visit_u64<E: de::Error>(self, it: u64) -> Result<Sides, E> {
                Ok(Sides(vec![it as f32]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Sides, A::Error> {
                let pair = <(f32, f32)>::deserialize(de::value::SeqAccessDeserializer::new(list))?;
                Ok(Sides(vec![pair.0, pair.1]))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_and_pairs_are_the_same() {
        let read = |it| serde_json::from_value::<Anchors>(it).map_err(|it| it.to_string());
        let anchors = read(json!([[10, 13, 16.5, 30], [30, 61]])).unwrap();
        assert_eq!(anchors, Anchors(vec![vec![(10.0, 13.0), (16.5, 30.0)], vec![(30.0, 61.0)]]));
        assert_eq!(read(json!([[[10, 13], [16.5, 30]], [[30, 61]]])).unwrap(), anchors);
        assert_eq!(read(serde_json::to_value(&anchors).unwrap()).unwrap(), anchors);
        assert!(read(json!([[10, 13, 16]])).unwrap_err().contains("3 numbers make no pairs"));
        assert!(read(json!([[[10, 13, 16]]])).is_err());
    }
}
