//! Arguments that are written in more than one way.

use std::fmt;

use mmy_nn::layers::Activation;
use mmy_registry::BuildError;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::kinds::{BlockArgs, in_range};

/// An activation as a block is told it: `true` for the list's own, `false` for none, or a table such as `{ type = "ReLU" }`.
#[derive(Debug, Clone, Copy, PartialEq, Default, JsonSchema)]
#[schemars(with = "serde_json::Value")]
pub enum Act {
    /// That of the list.
    #[default]
    OfList,
    /// None.
    Off,
    /// This one.
    Of(Activation),
}

impl Act {
    /// The activation, in a list whose own is `list`.
    pub fn or(self, list: Activation) -> Activation {
        match self {
            Act::OfList => list,
            Act::Off => Activation::Identity,
            Act::Of(it) => it,
        }
    }
}

impl Serialize for Act {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Act::OfList => serializer.serialize_bool(true),
            Act::Off => serializer.serialize_bool(false),
            Act::Of(it) => it.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Act {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Act;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or an activation such as { type = \"ReLU\" }")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Act, E> {
                Ok(if on { Act::OfList } else { Act::Off })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Act, A::Error> {
                Activation::deserialize(de::value::MapAccessDeserializer::new(map)).map(Act::Of)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Reads a whole number, or `"None"` as YOLOv5's lists write it for "as it comes".
pub(super) fn number_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = Option<i64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number or \"None\"")
        }

        fn visit_i64<E: de::Error>(self, it: i64) -> Result<Option<i64>, E> {
            Ok(Some(it))
        }

        fn visit_u64<E: de::Error>(self, it: u64) -> Result<Option<i64>, E> {
            Ok(Some(i64::try_from(it).unwrap_or(i64::MAX)))
        }

        fn visit_unit<E: de::Error>(self) -> Result<Option<i64>, E> {
            Ok(None)
        }

        fn visit_str<E: de::Error>(self, word: &str) -> Result<Option<i64>, E> {
            if word == "None" { Ok(None) } else { Err(E::invalid_value(de::Unexpected::Str(word), &self)) }
        }
    }
    deserializer.deserialize_any(Visitor)
}

/// Errors unless `kernel` and `stride`, at the keys `k` and `s`, are ones that a convolution can have.
pub(super) fn check_kernel(kernel: i64, stride: i64) -> Result<(), BuildError> {
    in_range("k", kernel, 1..=63)?;
    in_range("s", stride, 1..=64)
}

/// Errors unless `groups`, at the key `g`, divide all of `channels`.
pub(super) fn check_groups(groups: i64, channels: &[i64]) -> Result<(), BuildError> {
    in_range("g", groups, 1..=65_536)?;
    match channels.iter().find(|it| *it % groups != 0) {
        Some(channels) => {
            let message = format!("{channels} channels cannot be split into {groups} groups");
            Err(BuildError::new(message).at("g").help("give a number that divides the channels, such as 1"))
        }
        None => Ok(()),
    }
}

/// `channels · e`, rounded down, for the channels inside of a block.
pub(super) fn hidden(channels: i64, e: f64) -> Result<i64, BuildError> {
    in_range("e", e, 0.001..=16.0)?;
    match (channels as f64 * e) as i64 {
        0 => Err(BuildError::new(format!("of {channels} channels none are left inside")).at("e")),
        hidden => Ok(hidden),
    }
}

/// Default of sizes and counts.
pub(super) fn one() -> i64 {
    1
}

/// Default of switches that are on.
pub(super) fn yes() -> bool {
    true
}

/// Default of shares.
pub(super) fn half() -> f64 {
    0.5
}

/// The largest number that divides both.
pub(super) fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The channels of a block that keeps them and is told them all the same.
pub(super) fn kept(args: &BlockArgs<'_>, c2: i64) -> Result<i64, BuildError> {
    let (input, wanted) = (args.input()?.channels, args.width(c2)?);
    match wanted == input {
        true => Ok(input),
        false => Err(BuildError::new(format!("it keeps the {input} channels that come in and cannot give {wanted}"))
            .at("c2")
            .help(format!("give a number that this list's width makes {input}"))),
    }
}
