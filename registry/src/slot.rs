//! A place in a config that holds any registered part of one kind.

use std::{fmt, marker::PhantomData, sync::Arc};

use mmy_config::{PATH_KEY, SLOT_STRUCT};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::{Build, BuildError, Entry, Kind, entry, names, outline, warnings::Place};

/// A place in a config that holds any registered part of kind `K`, chosen by its `type` key.
pub struct Slot<K: Kind> {
    entry: &'static Entry,
    path: Arc<str>,
    config: Arc<dyn Build<K>>,
    values: Arc<dyn erased_serde::Serialize + Send + Sync>,
}

impl<K: Kind> Slot<K> {
    /// The registered entry that `type` named.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    /// The registered name.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// Dotted path of the slot's table in its config, empty when it was not read from one.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Builds the part.
    ///
    /// # Errors
    /// As [`Build::build`], with the slot's own path in front.
    pub fn build(&self, args: K::Args<'_>) -> Result<K::Output, BuildError> {
        let _place = Place::enter(&self.path);
        self.config.build(args).map_err(|error| error.at_slot(&self.path))
    }
}

impl<K: Kind> Slot<K> {
    /// Reads the config of the part that `entry` is.
    pub(crate) fn parse<'de, D: Deserializer<'de>>(
        entry: &'static Entry,
        path: Arc<str>,
        keys: D,
    ) -> Result<Self, D::Error> {
        let mut keys = <dyn erased_serde::Deserializer<'_>>::erase(keys);
        let entry::Parsed { config, values, outline } = (entry.parse)(&mut keys).map_err(de::Error::custom)?;
        outline::note(&path, entry, outline);
        let config = *config.downcast::<Arc<dyn Build<K>>>().expect("an entry of kind K parses to a Build<K>");
        Ok(Slot { entry, path, config, values })
    }

    /// The part's keys and their values, without its name.
    pub fn values(&self) -> &dyn erased_serde::Serialize {
        erased(&*self.values)
    }

    /// What the part says of itself before it is built.
    pub fn outline(&self) -> crate::Outline {
        self.config.outline()
    }
}

impl<K: Kind> Clone for Slot<K> {
    fn clone(&self) -> Self {
        Slot { entry: self.entry, path: self.path.clone(), config: self.config.clone(), values: self.values.clone() }
    }
}

impl<K: Kind> fmt::Debug for Slot<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.entry.name)?;
        self.config.fmt(f)
    }
}

impl<K: Kind> schemars::JsonSchema for Slot<K> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Slot_{}", K::NAME).into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object", "x-mmy-kind": K::NAME, "required": ["type"] })
    }
}

impl<K: Kind> Serialize for Slot<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Through a JSON value, since `type` has to come first in a table of unknown shape.
        let values = serde_json::to_value(erased(&*self.values)).map_err(ser::Error::custom)?;
        let mut map = serde_json::Map::new();
        map.insert("type".into(), self.entry.name.into());
        if let serde_json::Value::Object(fields) = values {
            map.extend(fields);
        }
        map.serialize(serializer)
    }
}

fn erased(values: &(dyn erased_serde::Serialize + Send + Sync)) -> &dyn erased_serde::Serialize {
    values
}

impl<'de, K: Kind> Deserialize<'de> for Slot<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct(SLOT_STRUCT, &[], SlotVisitor(PhantomData))
    }
}

struct SlotVisitor<K>(PhantomData<K>);

impl<'de, K: Kind> de::Visitor<'de> for SlotVisitor<K> {
    type Value = Slot<K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a table with a `type` that names a {}", K::NAME)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Slot<K>, A::Error> {
        let mut key = map.next_key::<String>()?;
        let mut path: Arc<str> = "".into();
        if key.as_deref() == Some(PATH_KEY) {
            path = map.next_value::<String>()?.into();
            key = map.next_key::<String>()?;
        }
        if key.as_deref() != Some("type") {
            return Err(de::Error::missing_field("type"));
        }
        let entry = map.next_value_seed(Name(K::NAME))?;
        Slot::parse(entry, path, de::value::MapAccessDeserializer::new(map))
    }
}

/// Reads the name of a part of that kind.
struct Name(&'static str);

impl<'de> de::DeserializeSeed<'de> for Name {
    type Value = &'static Entry;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static Entry, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl de::Visitor<'_> for Name {
    type Value = &'static Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a {}", self.0)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<&'static Entry, E> {
        entry::find(self.0, name).ok_or_else(|| E::unknown_variant(name, names(self.0).leak()))
    }
}
