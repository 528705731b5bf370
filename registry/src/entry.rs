//! The table of registered names, filled at link time.

use std::{any::Any, fmt, sync::Arc};

use serde::de;

use crate::{Build, Kind, Outline};

/// One registered name.
pub struct Entry {
    /// [`Kind::NAME`] of its family.
    pub kind: &'static str,
    /// The name that configs use in `type`.
    pub name: &'static str,
    /// Source file of the `register!` line, relative to the workspace of the crate that holds it.
    pub file: &'static str,
    /// Line of the `register!` call.
    pub line: u32,
    /// The crate that supplies the part.
    pub krate: &'static str,
    /// That crate's version.
    pub version: &'static str,
    /// What to use in its place, where the part is on its way out.
    pub deprecated: Option<&'static str>,
    pub(crate) parse: Parse,
    schema: fn() -> schemars::Schema,
}

/// What `parse` yields: the part's config behind its `Build<K>` trait object, and again for serialising.
pub(crate) struct Parsed {
    /// An `Arc<dyn Build<K>>`.
    pub(crate) config: Box<dyn Any>,
    pub(crate) values: Arc<dyn erased_serde::Serialize + Send + Sync>,
    /// [`Build::outline`], asked when somebody records.
    pub(crate) outline: Box<dyn FnOnce() -> Outline>,
}

pub(crate) type Parse = fn(&mut dyn erased_serde::Deserializer<'_>) -> Result<Parsed, erased_serde::Error>;

inventory::collect!(Entry);

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({}:{})", self.kind, self.name, self.file, self.line)
    }
}

impl Entry {
    /// Made by [`crate::register!`].
    #[doc(hidden)]
    pub const fn new<K, C>(
        name: &'static str,
        file: &'static str,
        line: u32,
        krate: &'static str,
        version: &'static str,
    ) -> Self
    where
        K: Kind,
        C: Build<K> + de::DeserializeOwned + serde::Serialize + schemars::JsonSchema,
    {
        let (parse, schema) = (parse::<K, C> as Parse, schema::<C> as fn() -> schemars::Schema);
        Entry { kind: K::NAME, name, file, line, krate, version, deprecated: None, parse, schema }
    }

    /// Made by [`crate::register!`].
    #[doc(hidden)]
    #[must_use]
    pub const fn deprecated(mut self, instead: &'static str) -> Self {
        self.deprecated = Some(instead);
        self
    }

    /// JSON Schema of the part's config: its `description` is the part's doc, its `properties` carry type, default and
    /// doc of every key.
    pub fn schema(&self) -> schemars::Schema {
        (self.schema)()
    }
}

fn parse<K, C>(deserializer: &mut dyn erased_serde::Deserializer<'_>) -> Result<Parsed, erased_serde::Error>
where
    K: Kind,
    C: Build<K> + de::DeserializeOwned + serde::Serialize,
{
    let config = Arc::new(C::deserialize(deserializer)?);
    let build: Arc<dyn Build<K>> = config.clone();
    let same = build.clone();
    Ok(Parsed { config: Box::new(build), values: config, outline: Box::new(move || same.outline()) })
}

fn schema<C: schemars::JsonSchema>() -> schemars::Schema {
    schemars::schema_for!(C)
}

/// Every entry, sorted by kind, then by name.
pub fn entries() -> Vec<&'static Entry> {
    let mut out: Vec<_> = inventory::iter::<Entry>.into_iter().collect();
    out.sort_unstable_by_key(|it| (it.kind, it.name, it.file, it.line));
    out
}

/// Every kind that has an entry, sorted.
pub fn kinds() -> Vec<&'static str> {
    let mut out: Vec<_> = entries().iter().map(|it| it.kind).collect();
    out.dedup();
    out
}

/// Every name of a kind, sorted.
pub fn names(kind: &str) -> Vec<&'static str> {
    entries().iter().filter(|it| it.kind == kind).map(|it| it.name).collect()
}

/// The entry called `name`. `mmdet.` and `mmyolo.` in front mean the core's own parts, and `crate::Name` or
/// `crate.Name` means that very crate's, whether it is a plugin or the core.
pub fn find(kind: &str, name: &str) -> Option<&'static Entry> {
    let of_kind = || inventory::iter::<Entry>.into_iter().filter(|it| it.kind == kind);
    if let Some(entry) = of_kind().find(|it| it.name == name) {
        return Some(entry);
    }
    let (scope, bare) = name.split_once("::").or_else(|| name.split_once('.'))?;
    let core = matches!(scope, "mmy" | "mmdet" | "mmyolo" | "mmengine" | "mmcv");
    of_kind().find(|it| {
        it.name == bare
            && (if core { it.krate.starts_with("mmy-") } else { it.krate.replace('-', "_") == scope.replace('-', "_") })
    })
}

/// Two parts of one kind under one name.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the {kind} name `{name}` is registered twice: {first} and {second}")]
pub struct Clash {
    /// The family.
    pub kind: &'static str,
    /// The name.
    pub name: &'static str,
    /// `file:line (crate version)` of one.
    pub first: String,
    /// `file:line (crate version)` of the other.
    pub second: String,
}

/// Looks for names that are registered twice; call it once at start.
///
/// # Errors
/// The first clash in alphabetical order, with both places.
pub fn check() -> Result<(), Clash> {
    clash(&entries()).map_or(Ok(()), Err)
}

fn clash(sorted: &[&'static Entry]) -> Option<Clash> {
    let place = |it: &Entry| format!("{}:{} ({} {})", it.file, it.line, it.krate, it.version);
    sorted.windows(2).find(|w| (w[0].kind, w[0].name) == (w[1].kind, w[1].name)).map(|w| Clash {
        kind: w[0].kind,
        name: w[0].name,
        first: place(w[0]),
        second: place(w[1]),
    })
}
