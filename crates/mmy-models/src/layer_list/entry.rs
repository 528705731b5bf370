//! One line of a layer list: `[from, number, module, arguments]`.

use std::{borrow::Cow, fmt};

use mmy_nn::Scope;
use mmy_registry::{BuildError, Call, Entry, Kind, find, names};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess},
    ser::SerializeTuple,
};

use crate::kinds::{Backbone, Block, BlockArgs, BuiltBlock, FeatureInfo, Features, Layer, Neck, NeckArgs};

/// One line of a layer list: `[from, number, module, arguments]`.
#[derive(Debug, Clone)]
pub struct LayerEntry {
    /// The maps that it is handed: an index, counted from the end of what stands above if negative, or several.
    pub from: From,
    /// How often the module is repeated, before the list's `depth_multiple`.
    pub number: i64,
    /// The module.
    pub module: Module,
}

/// Indices of maps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// One, written alone.
    One(i64),
    /// Several, written as a list.
    Many(Vec<i64>),
}

impl From {
    /// The indices as written.
    pub fn indices(&self) -> &[i64] {
        match self {
            From::One(it) => std::slice::from_ref(it),
            From::Many(them) => them,
        }
    }

    /// The place of the index number `at` below the entry.
    pub(super) fn place(&self, at: usize) -> String {
        match self {
            From::One(_) => "0".to_owned(),
            From::Many(_) => format!("0.{at}"),
        }
    }
}

/// What a layer list can name.
#[derive(Debug, Clone)]
pub enum Module {
    /// A block.
    Block(Call<Block>),
    /// A whole backbone, whose maps have an index each.
    Backbone(Call<Backbone>),
    /// A whole neck, whose maps have an index each.
    Neck(Call<Neck>),
}

impl Module {
    /// The registered name.
    pub fn name(&self) -> &'static str {
        match self {
            Module::Block(it) => it.name(),
            Module::Backbone(it) => it.name(),
            Module::Neck(it) => it.name(),
        }
    }

    /// The arguments by key.
    pub(super) fn values(&self) -> &dyn erased_serde::Serialize {
        match self {
            Module::Block(it) => it.values(),
            Module::Backbone(it) => it.values(),
            Module::Neck(it) => it.values(),
        }
    }

    /// Builds it once.
    pub(super) fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let scope: &Scope = args.scope;
        match self {
            Module::Block(it) => it.build(args),
            Module::Backbone(it) => {
                let input = args.input()?;
                let backbone = it.build(scope)?;
                let scale = |it: FeatureInfo| FeatureInfo { stride: it.stride * input.stride, ..it };
                let outputs = backbone.feature_info().into_iter().map(scale).collect();
                Ok(BuiltBlock::Layer { layer: Box::new(WholeBackbone(backbone)), outputs })
            }
            Module::Neck(it) => {
                let neck = it.build(NeckArgs { scope, features: args.inputs })?;
                let outputs = neck.feature_info();
                Ok(BuiltBlock::Layer { layer: Box::new(WholeNeck(neck)), outputs })
            }
        }
    }
}

#[derive(Debug)]
struct WholeBackbone(Box<dyn Features>);

impl Layer for WholeBackbone {
    fn forward(&self, inputs: &[tch::Tensor], train: bool) -> Vec<tch::Tensor> {
        self.0.forward(&inputs[0], train)
    }
}

#[derive(Debug)]
struct WholeNeck(Box<dyn crate::kinds::FeatureMixer>);

impl Layer for WholeNeck {
    fn forward(&self, inputs: &[tch::Tensor], train: bool) -> Vec<tch::Tensor> {
        self.0.forward(inputs, train)
    }
}

impl Serialize for LayerEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_tuple(4)?;
        match &self.from {
            From::One(it) => out.serialize_element(it)?,
            From::Many(them) => out.serialize_element(them)?,
        }
        out.serialize_element(&self.number)?;
        out.serialize_element(self.module.name())?;
        out.serialize_element(self.module.values())?;
        out.end()
    }
}

impl<'de> Deserialize<'de> for LayerEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(4, EntryVisitor)
    }
}

impl JsonSchema for LayerEntry {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "LayerEntry".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let index = serde_json::json!({"type": "integer"});
        let arguments = serde_json::json!([{"type": "array"}, {"type": "object"}]);
        schemars::json_schema!({
            "type": "array",
            "minItems": 3,
            "maxItems": 4,
            "prefixItems": [
                {"anyOf": [index, {"type": "array", "items": index}]},
                {"type": "integer", "minimum": 1},
                {"type": "string", "x-mmy-kind": Block::NAME},
                {"anyOf": arguments},
            ],
        })
    }
}

struct EntryVisitor;

impl<'de> de::Visitor<'de> for EntryVisitor {
    type Value = LayerEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list [from, number, module, arguments]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<LayerEntry, A::Error> {
        let short = |has| move || <A::Error as de::Error>::invalid_length(has, &EntryVisitor);
        let from = list.next_element::<From>()?.ok_or_else(short(0))?;
        let number = list.next_element::<i64>()?.ok_or_else(short(1))?;
        let entry = list.next_element_seed(ModuleName)?.ok_or_else(short(2))?;
        let module = if entry.kind == Backbone::NAME {
            Module::Backbone(call(&mut list, entry)?)
        } else if entry.kind == Neck::NAME {
            Module::Neck(call(&mut list, entry)?)
        } else {
            Module::Block(call(&mut list, entry)?)
        };
        Ok(LayerEntry { from, number, module })
    }
}

fn call<'de, K: Kind, A: SeqAccess<'de>>(list: &mut A, entry: &'static Entry) -> Result<Call<K>, A::Error> {
    match list.next_element_seed(Call::arguments(entry))? {
        Some(call) => Ok(call),
        None => Call::without_arguments(entry),
    }
}

impl<'de> Deserialize<'de> for From {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FromVisitor;
        impl<'de> de::Visitor<'de> for FromVisitor {
            type Value = From;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an index or a list of indices")
            }

            fn visit_i64<E: de::Error>(self, index: i64) -> Result<From, E> {
                Ok(From::One(index))
            }

            fn visit_u64<E: de::Error>(self, index: u64) -> Result<From, E> {
                Ok(From::One(i64::try_from(index).unwrap_or(i64::MAX)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<From, A::Error> {
                let mut indices = Vec::new();
                while let Some(index) = list.next_element()? {
                    indices.push(index);
                }
                Ok(From::Many(indices))
            }
        }
        deserializer.deserialize_any(FromVisitor)
    }
}

/// Reads the name of a block, a backbone or a neck. PyTorch's own are taken with and without `nn.` in front.
struct ModuleName;

impl<'de> de::DeserializeSeed<'de> for ModuleName {
    type Value = &'static Entry;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static Entry, D::Error> {
        deserializer.deserialize_str(self)
    }
}

/// The families that a list can name.
const KINDS: [&str; 3] = [Block::NAME, Backbone::NAME, Neck::NAME];

impl de::Visitor<'_> for ModuleName {
    type Value = &'static Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a block, a backbone or a neck")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<&'static Entry, E> {
        let bare = name.strip_prefix("nn.").unwrap_or(name);
        KINDS.iter().find_map(|kind| find(kind, bare)).ok_or_else(|| {
            let known: Vec<_> = KINDS.iter().flat_map(|kind| names(kind)).collect();
            E::unknown_variant(name, known.leak())
        })
    }
}
