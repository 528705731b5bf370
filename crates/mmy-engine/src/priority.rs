//! When a hook runs among the hooks of one stage.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// When a hook runs among the hooks of one stage: smaller first, equal ones in the order of registration.
///
/// Configs write one of mmengine's names (`"VERY_HIGH"`) or a whole number from 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u8);

impl Priority {
    /// 0.
    pub const HIGHEST: Priority = Priority(0);
    /// 10.
    pub const VERY_HIGH: Priority = Priority(10);
    /// 30.
    pub const HIGH: Priority = Priority(30);
    /// 40.
    pub const ABOVE_NORMAL: Priority = Priority(40);
    /// 50.
    pub const NORMAL: Priority = Priority(50);
    /// 60.
    pub const BELOW_NORMAL: Priority = Priority(60);
    /// 70.
    pub const LOW: Priority = Priority(70);
    /// 90.
    pub const VERY_LOW: Priority = Priority(90);
    /// 100.
    pub const LOWEST: Priority = Priority(100);

    const NAMES: [(&'static str, Priority); 9] = [
        ("HIGHEST", Priority::HIGHEST),
        ("VERY_HIGH", Priority::VERY_HIGH),
        ("HIGH", Priority::HIGH),
        ("ABOVE_NORMAL", Priority::ABOVE_NORMAL),
        ("NORMAL", Priority::NORMAL),
        ("BELOW_NORMAL", Priority::BELOW_NORMAL),
        ("LOW", Priority::LOW),
        ("VERY_LOW", Priority::VERY_LOW),
        ("LOWEST", Priority::LOWEST),
    ];

    /// A priority by number, if it is one of 0 to 100.
    pub const fn new(value: u8) -> Option<Priority> {
        if value <= 100 { Some(Priority(value)) } else { None }
    }

    /// The number.
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Self::NAMES.iter().find(|(_, it)| it == self) {
            Some((name, _)) => f.pad(name),
            None => self.0.fmt(f),
        }
    }
}

impl Serialize for Priority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Self::NAMES.iter().find(|(_, it)| it == self) {
            Some((name, _)) => serializer.serialize_str(name),
            None => serializer.serialize_u8(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Priority;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a priority: a whole number from 0 to 100, or a name from HIGHEST to LOWEST")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Priority, E> {
        const NAMES: [&str; 9] =
            ["HIGHEST", "VERY_HIGH", "HIGH", "ABOVE_NORMAL", "NORMAL", "BELOW_NORMAL", "LOW", "VERY_LOW", "LOWEST"];
        let known = Priority::NAMES.iter().find(|(it, _)| it.eq_ignore_ascii_case(name));
        known.map(|(_, it)| *it).ok_or_else(|| E::unknown_variant(name, &NAMES))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Priority, E> {
        let priority = u8::try_from(value).ok().and_then(Priority::new);
        priority.ok_or_else(|| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Priority, E> {
        let priority = u8::try_from(value).ok().and_then(Priority::new);
        priority.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }
}

impl schemars::JsonSchema for Priority {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Priority".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names = Self::NAMES.map(|(name, _)| name);
        schemars::json_schema!({
            "oneOf": [{ "type": "integer", "minimum": 0, "maximum": 100 }, { "enum": names }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read_and_others_are_refused() {
        let read = |json: &str| serde_json::from_str::<Priority>(json);
        assert_eq!(read("\"VERY_LOW\"").unwrap(), Priority::VERY_LOW);
        assert_eq!(read("49").unwrap().value(), 49);
        assert!(read("101").is_err());
        assert!(read("-1").is_err());
        assert!(read("\"URGENT\"").unwrap_err().to_string().contains("VERY_HIGH"));
        assert_eq!(serde_json::to_string(&Priority::NORMAL).unwrap(), "\"NORMAL\"");
    }
}
