//! Numbers in JSON that come back with the same bits, NaN and the infinities too, which JSON itself does not know.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number, or a text where JSON has no number for it.
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { serializer.serialize_f64(self.0) } else { serializer.collect_str(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"inf\" or \"-inf\"")
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Number, E> {
                Ok(Number(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number(value as f64))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                text.parse().map(Number).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// For `#[serde(with = "…")]` on queues of numbers.
pub(crate) mod queue {
    use std::collections::VecDeque;

    use super::{Deserialize, Deserializer, Number, Serializer};

    pub fn serialize<S: Serializer>(values: &VecDeque<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|it| Number(*it)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<VecDeque<f64>, D::Error> {
        Ok(Vec::<Number>::deserialize(deserializer)?.into_iter().map(|it| it.0).collect())
    }
}

/// For `#[serde(with = "…")]` on named numbers.
pub(crate) mod named {
    use super::{Deserialize, Deserializer, Number, Serializer};

    pub fn serialize<S: Serializer>(values: &[(String, f64)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|(name, it)| (name, Number(*it))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, f64)>, D::Error> {
        let rows = Vec::<(String, Number)>::deserialize(deserializer)?;
        Ok(rows.into_iter().map(|(name, it)| (name, it.0)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_comes_back() {
        let mut bits = 0x9E37_79B9_7F4A_7C15u64;
        let odd = [0.0, -0.0, 1.0, 0.1 + 0.2, f64::MIN_POSITIVE / 3.0, f64::INFINITY, f64::NEG_INFINITY];
        let random = std::iter::repeat_with(|| {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            f64::from_bits(bits)
        });
        for value in odd.into_iter().chain(random.take(10_000)) {
            let text = serde_json::to_string(&Number(value)).unwrap();
            let back: Number = serde_json::from_str(&text).unwrap();
            assert!(back.0.to_bits() == value.to_bits() || (back.0.is_nan() && value.is_nan()), "{text}");
        }
        assert!(serde_json::from_str::<Number>("\"many\"").is_err());
    }
}
