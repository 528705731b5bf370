//! A serde deserializer over [`Node`] that remembers where the first failure was.
//!
//! serde's errors have no place, and `erased_serde`, through which every part of a registry is read, turns some of them
//! into text. So the place and the kind of a failure are noted on the spot, in [`Trace`], before the error travels.

use std::{cell::RefCell, collections::HashSet, fmt, rc::Rc};

use mmy_diag::Loc;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Unexpected, Visitor};

use crate::{Node, NodeKind, edit::join};

/// The struct name under which a slot for a registered part asks to be read. Its table is presented with [`PATH_KEY`]
/// first, then `type`, then the other keys in the order of the file.
pub const SLOT_STRUCT: &str = "$mmy::Slot";

/// The key of the entry that tells a slot its own dotted path; see [`SLOT_STRUCT`].
pub const PATH_KEY: &str = "$path";

/// What went wrong, as serde tells it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fault {
    UnknownKey { key: String, known: &'static [&'static str] },
    UnknownName { name: String, known: &'static [&'static str] },
    Missing(String),
    Type { found: String, expected: String },
    Length { found: usize, expected: String },
    Other(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Error(Fault);

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        // A part is read through `erased_serde`, which hands on its own errors as text.
        let message = message.to_string();
        let missing = message.strip_prefix("missing field `").and_then(|it| it.strip_suffix('`'));
        Error(missing.map(str::to_owned).map_or(Fault::Other(message), Fault::Missing))
    }
    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Error(Fault::Type { found: describe(found), expected: expected.to_string() })
    }
    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }
    fn invalid_length(found: usize, expected: &dyn de::Expected) -> Self {
        Error(Fault::Length { found, expected: expected.to_string() })
    }
    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Error(Fault::UnknownKey { key: key.to_owned(), known })
    }
    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        Error(Fault::UnknownName { name: name.to_owned(), known })
    }
    fn missing_field(key: &'static str) -> Self {
        Error(Fault::Missing(key.to_owned()))
    }
}

fn describe(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(it) => it.to_string(),
        Unexpected::Unsigned(it) => format!("the whole number {it}"),
        Unexpected::Signed(it) => format!("the whole number {it}"),
        Unexpected::Float(it) => format!("the number {it:?}"),
        Unexpected::Str(it) => format!("the text {it:?}"),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// A failure and its place.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub fault: Fault,
    /// The key or value to point at.
    pub loc: Option<Loc>,
    /// Dotted path of the table, list or value at fault; of an unknown key, that of its table.
    pub path: String,
    /// Parent and key of what is to be left out to find further failures.
    pub hide: (String, String),
}

/// What is left out of the tree, as parent path and key.
pub(crate) type Hidden = HashSet<(String, String)>;

/// Reads a `T` from the tree at `path`, as if `hidden` were not there.
pub(crate) fn read<T: DeserializeOwned>(node: &Node, path: &str, hidden: &Hidden) -> Result<T, Box<Failure>> {
    let trace = Trace { hidden, first: RefCell::default() };
    let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
    let place = Rc::new(Place { path: path.to_owned(), parent: parent.to_owned(), key: key.to_owned(), tuple: None });
    T::deserialize(De { node, place: place.clone(), trace: &trace }).map_err(|error| {
        trace.note(node.loc(), &place, error);
        Box::new(trace.first.into_inner().expect("noted just now"))
    })
}

/// Where a node is in the tree.
#[derive(Debug)]
struct Place {
    path: String,
    parent: String,
    key: String,
    /// Parent and key of the outermost list around it whose elements have a meaning each. Without one of them the others
    /// would slip into its place, so such a list is left out as a whole.
    tuple: Option<(String, String)>,
}

impl Place {
    fn child(&self, key: &str) -> Rc<Place> {
        let (path, parent) = (join(&self.path, key), self.path.clone());
        Rc::new(Place { path, parent, key: key.to_owned(), tuple: self.tuple.clone() })
    }

    /// Itself, as a list whose elements have a meaning each.
    fn as_tuple(&self) -> Rc<Place> {
        let own = (self.parent.clone(), self.key.clone());
        let tuple = Some(self.tuple.clone().unwrap_or(own));
        Rc::new(Place { path: self.path.clone(), parent: self.parent.clone(), key: self.key.clone(), tuple })
    }
}

struct Trace<'n> {
    hidden: &'n Hidden,
    first: RefCell<Option<Failure>>,
}

impl Trace<'_> {
    fn note(&self, loc: Option<&Loc>, place: &Place, error: Error) -> Error {
        self.first.borrow_mut().get_or_insert_with(|| Failure {
            fault: error.0.clone(),
            loc: loc.cloned(),
            path: place.path.clone(),
            hide: match &error.0 {
                _ if place.tuple.is_some() => place.tuple.clone().unwrap_or_default(),
                Fault::UnknownKey { key, .. } => (place.path.clone(), key.clone()),
                _ => (place.parent.clone(), place.key.clone()),
            },
        });
        error
    }

    /// A value was read after all: what failed on the way was a try.
    fn forget(&self) {
        self.first.borrow_mut().take();
    }

    fn hides(&self, place: &Place, key: &str) -> bool {
        !self.hidden.is_empty() && self.hidden.contains(&(place.path.clone(), key.to_owned()))
    }
}

struct De<'n> {
    node: &'n Node,
    place: Rc<Place>,
    trace: &'n Trace<'n>,
}

impl<'n> De<'n> {
    fn entries(&self, entries: &'n [(String, Node)], slot: bool) -> Entries<'n> {
        let mut shown: Vec<_> = entries.iter().filter(|(key, _)| !self.trace.hides(&self.place, key)).collect();
        if slot {
            // A stable sort: the other keys stay in order.
            shown.sort_by_key(|(key, _)| key != "type");
        }
        let items = shown.into_iter();
        Entries { table: self.node, items, value: None, slot, place: self.place.clone(), trace: self.trace }
    }

    fn fail(self, error: Error) -> Error {
        self.trace.note(self.node.loc(), &self.place, error)
    }
}

impl<'de, 'n: 'de> Deserializer<'de> for De<'n> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let result = match &self.node.kind {
            NodeKind::Bool(it) => visitor.visit_bool(*it),
            NodeKind::Int(it) => visitor.visit_i64(*it),
            NodeKind::Float(it) => visitor.visit_f64(*it),
            NodeKind::Str(it) => visitor.visit_borrowed_str(it),
            NodeKind::List(items) => {
                let shown = items.iter().enumerate().filter(|(at, _)| !self.trace.hides(&self.place, &at.to_string()));
                let mut left = shown.collect::<Vec<_>>().into_iter();
                let total = left.len();
                let value = visitor.visit_seq(Seq { items: &mut left, place: self.place.clone(), trace: self.trace });
                match (value, left.len()) {
                    (Ok(_), over @ 1..) => {
                        let expected = format!("a list of {}", total - over);
                        Err(Error(Fault::Length { found: total, expected }))
                    }
                    (value, _) => value,
                }
            }
            NodeKind::Map(entries) => visitor.visit_map(self.entries(entries, false)),
        };
        result.map_err(|error| self.fail(error))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.kind {
            NodeKind::Map(entries) if name == SLOT_STRUCT => {
                visitor.visit_map(self.entries(entries, true)).map_err(|error| self.fail(error))
            }
            // Without this, a list would be taken for the fields of the struct in order.
            NodeKind::List(_) => Err(self.fail(de::Error::invalid_type(Unexpected::Seq, &visitor))),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        De { place: self.place.as_tuple(), ..self }.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.kind {
            NodeKind::Str(name) => {
                let key = Key { name, loc: self.node.value.as_ref(), place: self.place.clone(), trace: self.trace };
                visitor.visit_enum(key)
            }
            NodeKind::Map(entries) if entries.len() == 1 => {
                visitor.visit_enum(de::value::MapAccessDeserializer::new(self.entries(entries, false)))
            }
            kind => {
                let names: Vec<_> = known.iter().map(|it| format!("{it:?}")).collect();
                let expected = format!("one of {}", names.join(", "));
                Err(Error(Fault::Type { found: kind.describe().to_owned(), expected }))
            }
        }
        .map_err(|error| self.fail(error))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple_struct map identifier ignored_any
    }
}

struct Seq<'a, 'n> {
    items: &'a mut std::vec::IntoIter<(usize, &'n Node)>,
    place: Rc<Place>,
    trace: &'n Trace<'n>,
}

impl<'de, 'n: 'de> de::SeqAccess<'de> for Seq<'_, 'n> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((at, node)) = self.items.next() else { return Ok(None) };
        let place = self.place.child(&at.to_string());
        let value = seed
            .deserialize(De { node, place: place.clone(), trace: self.trace })
            .map_err(|error| self.trace.note(node.loc(), &place, error))?;
        self.trace.forget();
        Ok(Some(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'n> {
    table: &'n Node,
    items: std::vec::IntoIter<&'n (String, Node)>,
    value: Option<&'n (String, Node)>,
    /// Whether [`PATH_KEY`] is still to come.
    slot: bool,
    place: Rc<Place>,
    trace: &'n Trace<'n>,
}

impl<'de, 'n: 'de> de::MapAccess<'de> for Entries<'n> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.slot {
            return seed.deserialize(de::value::BorrowedStrDeserializer::new(PATH_KEY)).map(Some);
        }
        let Some(entry) = self.items.next() else { return Ok(None) };
        self.value = Some(entry);
        let loc = entry.1.key.as_ref().or(entry.1.value.as_ref()).or(self.table.loc());
        seed.deserialize(Key { name: &entry.0, loc, place: self.place.clone(), trace: self.trace }).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        if std::mem::take(&mut self.slot) {
            return seed.deserialize(de::value::StringDeserializer::new(self.place.path.clone()));
        }
        let Some((key, node)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let place = self.place.child(key);
        let value = seed
            .deserialize(De { node, place: place.clone(), trace: self.trace })
            .map_err(|error| self.trace.note(node.loc(), &place, error))?;
        self.trace.forget();
        Ok(value)
    }
}

/// A key or the name of a variant.
struct Key<'n> {
    name: &'n str,
    loc: Option<&'n Loc>,
    place: Rc<Place>,
    trace: &'n Trace<'n>,
}

impl<'de, 'n: 'de> Deserializer<'de> for Key<'n> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.name).map_err(|error| self.trace.note(self.loc, &self.place, error))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

impl<'de, 'n: 'de> de::EnumAccess<'de> for Key<'n> {
    type Error = Error;
    type Variant = Unit;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Unit), Error> {
        Ok((seed.deserialize(self)?, Unit))
    }
}

/// A variant that is only a name.
struct Unit;

impl<'de> de::VariantAccess<'de> for Unit {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Error> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &"a table with this name as its only key"))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &"a table with this name as its only key"))
    }
    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(de::Error::invalid_type(Unexpected::UnitVariant, &"a table with this name as its only key"))
    }
}
