//! Source files, places in them, and the one way `mmy` shows a mistake.
//!
//! A [`Diagnostic`] is one finding: a [`Code`], a sentence, the place at fault, further places that explain it, and what
//! to do. A [`Report`] is what one pass found, together with the [`Sources`] that its places point into; it renders itself
//! for a terminal ([`Report::render`]) and for editors ([`Report::to_json`]).
//!
//! ```
//! use mmy_diag::{Code, Diagnostic, Loc, Report, Sources};
//!
//! let mut sources = Sources::default();
//! let file = sources.add("config.toml", "base_dm = 24\n");
//! let finding = Diagnostic::new(Code::UnknownKey, "unknown key `base_dm`")
//!     .primary(Loc::new(file, 0..7), "no such key")
//!     .help("did you mean `base_dim`?");
//! let report = Report::new([finding], sources);
//! assert!(report.to_string().contains("config.toml:1:1"));
//! ```

mod code;
mod diagnostic;
mod nearest;
mod report;
mod sources;

pub use code::Code;
pub use diagnostic::{Diagnostic, Label, Severity};
pub use nearest::nearest;
pub use report::Report;
pub use sources::{Loc, Position, Source, Sources};
