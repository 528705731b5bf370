//! Names in a config to constructors in Rust.
//!
//! A *part* (a backbone, a loss, a transform, a hook …) registers itself in its own file:
//!
//! ```
//! use mmy_registry::{Build, BuildError, Kind, register};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// Things that greet.
//! pub struct Greeter;
//! impl Kind for Greeter {
//!     const NAME: &'static str = "greeter";
//!     type Args<'a> = &'a str;
//!     type Output = String;
//! }
//!
//! /// Greets politely.
//! #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields, default)]
//! pub struct Config {
//!     /// How often to repeat the greeting.
//!     pub times: usize,
//! }
//! impl Build<Greeter> for Config {
//!     fn build(&self, name: &str) -> Result<String, BuildError> {
//!         Ok(format!("hello {name} ").repeat(self.times))
//!     }
//! }
//! register!(Greeter, "Polite", Config);
//! # fn main() {
//! assert_eq!(mmy_registry::find("greeter", "Polite").unwrap().name, "Polite");
//! # }
//! ```
//!
//! A config holds a part in a [`Slot`], which reads the `type` key, finds the [`Entry`] of that name and hands the
//! remaining keys to the part's own `Config`.

mod call;
mod elsewhere;
mod entry;
mod error;
mod outline;
mod plugins;
pub mod schema;
mod slot;
mod warnings;

pub use call::{Arguments, Call};
pub use elsewhere::elsewhere;
pub use entry::{Clash, Entry, check, entries, find, kinds, names};
pub use error::BuildError;
pub use mmy_config::{PATH_KEY, SLOT_STRUCT};
pub use mmy_diag::Code;
pub use outline::{Idle, Outline, Reads, Used, recorded};
pub use plugins::{Plugin, note_sources, plugins};
pub use slot::Slot;
pub use warnings::{warn, with_warnings};

#[doc(hidden)]
pub use inventory;

/// A family of parts that a config can name: backbones, necks, hooks, transforms.
pub trait Kind: Sized + 'static {
    /// The family's name in messages and in `mmy registry list`, singular and lower case: `backbone`.
    const NAME: &'static str;
    /// What the builder is handed besides the part's own config.
    type Args<'a>;
    /// What a part of this family is once built, usually a boxed trait object.
    type Output;
}

/// A config that can build the part it describes.
pub trait Build<K: Kind>: std::fmt::Debug + Send + Sync + 'static {
    /// Builds the part.
    ///
    /// # Errors
    /// When the values do not fit together or do not fit `args`; [`BuildError::at`] names the key at fault.
    fn build(&self, args: K::Args<'_>) -> Result<K::Output, BuildError>;

    /// What the part knows of itself before it is built: keys without effect, files that it will read.
    fn outline(&self) -> Outline {
        Outline::default()
    }
}

/// Registers the config type `$config` of kind `$kind` under `$name`, with the place of this very line. With
/// `deprecated = "use `Other` instead"` behind it, a config that names the part is warned with that sentence.
#[macro_export]
macro_rules! register {
    ($kind:ty, $name:literal, $config:ty $(, deprecated = $instead:literal)?) => {
        $crate::inventory::submit! {
            $crate::Entry::new::<$kind, $config>(
                $name, file!(), line!(), env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"),
            )$(.deprecated($instead))?
        }
    };
}
