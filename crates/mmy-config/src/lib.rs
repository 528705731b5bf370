//! From a TOML file and its `_base_` chain to one tree that knows where each value was written.
//!
//! ```
//! use mmy_config::{Options, from_node, load_str};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Root {
//!     train_cfg: TrainCfg,
//! }
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct TrainCfg {
//!     max_epochs: usize,
//! }
//!
//! let text = "[vars]\nepochs = 300\n[train_cfg]\nmax_epochs = \"{{ epochs // 2 }}\"\n";
//! let options = Options { set: vec!["epochs=20".into()], ..Options::default() };
//! let loaded = load_str("yolo.toml", text, &options)?;
//! let root: Root = from_node(&loaded)?;
//! assert_eq!(root.train_cfg.max_epochs, 10);
//!
//! let misspelt = load_str("yolo.toml", "train_cfg.max_epoch = 300", &Options::default())?;
//! let report = from_node::<Root>(&misspelt).err().expect("an unknown key");
//! assert!(report.to_string().contains("did you mean `max_epochs`?"));
//! # Ok::<(), mmy_diag::Report>(())
//! ```
//!
//! # Layers
//!
//! From the lowest to the highest: [built-in defaults](Options::defaults), the files that `_base_` names, the file itself,
//! the environment, `--set`. Tables merge, keys in the order in which they were first written; every other value takes the
//! place of the one below it. Each [`Node`] keeps the places of its key and value, and of the values that it took the
//! place of.
//!
//! - `_base_` is a path or a list of paths, relative to the file that names them. A file may be reached on several ways
//!   and counts once, below everything that builds on it. A circle is an error. Two files, neither of which builds on the
//!   other, may not set one key to different values, unless a file that builds on both sets it too.
//! - `_delete_ = true` in a table makes it take the place of the table below it.
//! - The variable `MMY_TRAIN_CFG__MAX_EPOCHS=3` sets `train_cfg.max_epochs`, and `MMY__WORK_DIR=runs` sets `work_dir`. A
//!   variable without a double underscore, such as `MMY_LOG`, is never part of a config, and one with it always is: a
//!   misspelt one is an unknown key. Libraries and tests see no environment unless [`Options`] holds it.
//! - `--set pipeline.-1.prob=0.3` sets a key; indices may be negative. `key+=[…]` adds to a list, `key.+1=…` puts an
//!   element in front of the one at 1, `~key` removes a key or an element. Values are TOML, and text needs no quotes where
//!   it is no TOML. [`Options::cfg_options`] takes mmengine's spelling of values, `a.b=1 c.0.d=[1,2] e=None`.
//! - A file whose name ends in `.json` is read as `mmengine.Config.dump` writes it, as a base or by itself: `null` is
//!   `{{ none }}`, and a key at the top that the root does not have ([`Options::root_keys`]) is a helper variable of
//!   `[vars]`.
//! - `_deprecation_ = { expected = "new.toml", reference = "why" }` in a file warns whoever builds on it.
//!
//! A value over a table, a table over a value, a `_delete_` that deletes nothing, a value that repeats the one it overrides,
//! and a variable that nothing reads are warnings.
//!
//! # Expressions
//!
//! Text may hold expressions in minijinja's language: `"{{ loss_weight * (img_scale[0] / 640) ** 2 }}"`. A text that is one
//! expression has the value with its type, `//` and `**` of whole numbers included; an expression within text becomes text. A
//! bare name is a variable of `[vars]` or a key of the root; `model.backbone.base_dim` is a value anywhere. Expressions are
//! computed when everything is merged, so that `--set num_classes=20` reaches every use.
//!
//! - `{{ _base_.lr }}` is the value before this file's own changes.
//! - `"{{ *pre_transform }}"` as an element splices a list into the list around it.
//! - `{{ none }}` as a value removes the key.
//! - `{{ fileDirname }}`, `{{ fileBasename }}`, `{{ fileBasenameNoExtension }}`, `{{ fileExtname }}` are about the file
//!   that holds the expression; `{{ env("NAME", "default") }}` is a variable of the environment, always text.
//! - `{{ '{{' }}` is how text says `{{`.
//!
//! A table over an expression merges with the table that the expression turns out to be, and `--set` reaches into it. So
//! `test_dataloader = "{{ val_dataloader }}"` in a base can be changed key by key.
//!
//! # Findings
//!
//! [`load`] and [`from_node`] collect what they find in one [`mmy_diag::Report`]. serde stops at its first failure, so
//! [`from_node`] leaves out what failed and reads again; what only follows from a finding is not reported. [`examine`] and
//! [`read_at`] give what is left of a config with mistakes, for whoever wants to find them all.

mod convert;
mod de;
mod edit;
mod fault;
mod files;
mod history;
mod json;
mod load;
mod merge;
mod mmengine;
mod node;
mod overrides;
mod python;
mod read;
mod resolve;
mod scope;
mod template;
mod typed;
mod variables;
mod write;

pub use de::{PATH_KEY, SLOT_STRUCT};
pub use history::{Action, Change, Read};
pub use load::{Elsewhere, Loaded, Options, examine, load, load_str};
pub use node::{Node, NodeKind};
pub use python::{Foreign, Lost, read_foreign};
pub use typed::{Reading, from_node, from_node_at, read_at};
