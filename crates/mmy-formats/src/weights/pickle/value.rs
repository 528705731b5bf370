//! What a pickle describes.

use safetensors::Dtype;

/// The number of a value in [`Values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(pub(super) u32);

/// A value; what it holds is named by number.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A number of 64 bits.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(Box<str>),
    /// Bytes, which are not kept, or a number beyond 64 bits.
    Opaque,
    /// `(…)`.
    Tuple(Box<[Id]>),
    /// `[…]`.
    List(Vec<Id>),
    /// `{…}`, with `OrderedDict`; in the order of writing.
    Dict(Vec<(Id, Id)>),
    /// A function or a class, by name.
    Global(Box<Name>),
    /// What some function or class would have returned.
    Object(Box<Object>),
    /// Numbers in memory, elsewhere in the file.
    Storage(Box<Storage>),
    /// A view of a storage.
    Tensor(Box<Tensor>),
}

/// The name of a function or class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Its module.
    pub module: Box<str>,
    /// Its name in the module.
    pub name: Box<str>,
}

/// What some function or class would have returned; it was not called.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The function or class.
    pub class: Id,
    /// What it would have been given.
    pub args: Id,
    /// What its `__setstate__` would have been given.
    pub state: Option<Id>,
    /// What would have been put into it by key.
    pub items: Vec<(Id, Id)>,
}

/// Numbers in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// Its name in the file.
    pub key: Box<str>,
    /// PyTorch's name of its class, such as `FloatStorage`.
    pub class: Box<str>,
    /// What its numbers are; nothing when they are of a kind that is not read, `U8` for bytes that a tensor gives a kind.
    pub dtype: Option<Dtype>,
    /// How many numbers it has.
    pub numel: u64,
}

/// A view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// The storage.
    pub storage: Id,
    /// What the numbers are, where the storage does not tell.
    pub dtype: Option<Dtype>,
    /// Numbers of the storage before its first.
    pub offset: u64,
    /// Its shape.
    pub shape: Box<[usize]>,
    /// Numbers of the storage from one index to the next.
    pub stride: Box<[u64]>,
}

/// Every value that a pickle built.
#[derive(Debug, Default)]
pub struct Values(pub(super) Vec<Value>);

impl Values {
    /// The value with this number.
    pub fn get(&self, id: Id) -> &Value {
        &self.0[id.0 as usize]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Value> {
        self.0.iter()
    }

    /// The text of a value, if it is one.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(it) => Some(it),
            _ => None,
        }
    }

    /// The pairs of a dictionary, or of an object that was filled like one.
    pub fn pairs(&self, id: Id) -> &[(Id, Id)] {
        match self.get(id) {
            Value::Dict(pairs) => pairs,
            Value::Object(object) => &object.items,
            _ => &[],
        }
    }

    /// The last value that stands under a text in a dictionary.
    pub fn under(&self, id: Id, key: &str) -> Option<Id> {
        self.pairs(id).iter().rev().find(|it| self.text(it.0) == Some(key)).map(|it| it.1)
    }

    /// The elements of a list or tuple.
    pub fn elements(&self, id: Id) -> &[Id] {
        match self.get(id) {
            Value::Tuple(items) => items,
            Value::List(items) => items,
            _ => &[],
        }
    }
}
