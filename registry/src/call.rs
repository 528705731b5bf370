//! A part whose name and arguments stand apart, as in a layer list: `"Conv", [64, 3, 2]`.

use std::{cell::Cell, fmt, marker::PhantomData};

use serde::{
    Deserializer,
    de::{self, IgnoredAny},
};

use crate::{BuildError, Entry, Kind, Slot};

/// A part with its arguments, written as a table of its keys or as a list of their values in the order in which its
/// config declares them.
pub struct Call<K: Kind> {
    slot: Slot<K>,
    /// The keys in order, where the arguments were written as a list.
    order: Option<&'static [&'static str]>,
}

impl<K: Kind> Call<K> {
    /// Reads the arguments of `entry`, which has to be one of kind `K`.
    pub fn arguments(entry: &'static Entry) -> Arguments<K> {
        Arguments { entry, kind: PhantomData }
    }

    /// The part without arguments.
    ///
    /// # Errors
    /// When it needs some.
    pub fn without_arguments<E: de::Error>(entry: &'static Entry) -> Result<Self, E> {
        let nothing = de::value::MapDeserializer::new(std::iter::empty::<(&str, &str)>());
        Ok(Call { slot: Slot::parse(entry, "".into(), nothing)?, order: None })
    }

    /// The registered name.
    pub fn name(&self) -> &'static str {
        self.slot.name()
    }

    /// The arguments by key, defaults spelled out.
    pub fn values(&self) -> &dyn erased_serde::Serialize {
        self.slot.values()
    }

    /// Builds the part.
    ///
    /// # Errors
    /// As [`crate::Build::build`]; the path begins at the arguments, and is an index where they were written as a list.
    pub fn build(&self, args: K::Args<'_>) -> Result<K::Output, BuildError> {
        self.slot.build(args).map_err(|mut error| {
            let place = |key: &String| self.order?.iter().position(|it| it == key);
            if let Some(index) = error.path.first().and_then(place) {
                error.path[0] = index.to_string();
            }
            error
        })
    }
}

impl<K: Kind> Clone for Call<K> {
    fn clone(&self) -> Self {
        Call { slot: self.slot.clone(), order: self.order }
    }
}

impl<K: Kind> fmt::Debug for Call<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.slot.fmt(f)
    }
}

/// Reads the arguments of a part whose name is known; see [`Call::arguments`].
pub struct Arguments<K> {
    entry: &'static Entry,
    kind: PhantomData<K>,
}

impl<'de, K: Kind> de::DeserializeSeed<'de> for Arguments<K> {
    type Value = Call<K>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Call<K>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, K: Kind> de::Visitor<'de> for Arguments<K> {
    type Value = Call<K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the arguments of `{}`, a list or a table", self.entry.name)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Call<K>, A::Error> {
        let slot = Slot::parse(self.entry, "".into(), de::value::MapAccessDeserializer::new(map))?;
        Ok(Call { slot, order: None })
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, values: A) -> Result<Call<K>, A::Error> {
        let order = Cell::new(&[][..]);
        let slot = Slot::parse(self.entry, "".into(), Positional { name: self.entry.name, values, order: &order })?;
        Ok(Call { slot, order: Some(order.get()) })
    }
}

/// A list as a struct: its elements are the values of the fields, in order.
struct Positional<'a, A> {
    name: &'static str,
    values: A,
    order: &'a Cell<&'static [&'static str]>,
}

impl<'de, A: de::SeqAccess<'de>> Deserializer<'de> for Positional<'_, A> {
    type Error = A::Error;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_seq(self.values)
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        mut self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.order.set(fields);
        let config = visitor.visit_map(Zip { fields: fields.iter(), values: &mut self.values })?;
        if self.values.next_element::<IgnoredAny>()?.is_some() {
            let takes = match fields {
                [] => "no arguments".to_owned(),
                _ => format!("{}: {}", count(fields.len()), fields.join(", ")),
            };
            return Err(de::Error::custom(format!("`{}` takes {takes}", self.name)));
        }
        Ok(config)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

fn count(fields: usize) -> String {
    if fields == 1 { "1 argument".to_owned() } else { format!("{fields} arguments at most") }
}

/// The fields of a struct with values from a list that knows its length, as long as there are any.
struct Zip<'a, A> {
    fields: std::slice::Iter<'static, &'static str>,
    values: &'a mut A,
}

impl<'de, A: de::SeqAccess<'de>> de::MapAccess<'de> for Zip<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: de::DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        if self.values.size_hint() == Some(0) {
            return Ok(None);
        }
        let Some(field) = self.fields.next() else { return Ok(None) };
        seed.deserialize(de::value::StrDeserializer::new(field)).map(Some)
    }

    fn next_value_seed<S: de::DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.values.next_element_seed(seed)?.ok_or_else(|| de::Error::custom("a list ended before its length"))
    }
}
