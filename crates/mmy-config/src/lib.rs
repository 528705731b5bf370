//! From a TOML file and its `_base_` chain to one tree that knows where each value was written.

mod de;
mod edit;
mod files;
mod load;
mod merge;
mod node;
mod overrides;
mod read;
mod resolve;
mod scope;
mod template;
mod typed;
mod write;

pub use de::{PATH_KEY, SLOT_STRUCT};
pub use load::{Loaded, Options, load, load_str};
pub use node::{Node, NodeKind};
pub use typed::{from_node, from_node_at};
