//! The parameter tree and the layers, with PyTorch's names, shapes and initial values.
//!
//! A model is built top-down from a [`Scope`], a place in the tree of names that a [`ParamStore`] owns:
//!
//! ```
//! use mmy_nn::{ParamStore, layers::{Activation, Conv, ConvModule, Norm}};
//! use tch::{Device, Kind, Tensor};
//!
//! let store = ParamStore::new(Device::Cpu, 0);
//! let stem = ConvModule::new(&(store.root() / "stem"), 3, 16, Conv::new(3, 2), Norm::default(), Activation::SiLU);
//! let y = stem.forward(&Tensor::zeros([1, 3, 32, 32], (Kind::Float, Device::Cpu)), false);
//! assert_eq!(y.size(), [1, 16, 16, 16]);
//! assert_eq!(store.entries()[0].name, "stem.conv.weight");
//! ```
//!
//! Every initial value is a function of the store's seed and the parameter's name: to add, drop or reorder layers
//! changes no other layer's weights.

pub mod file;
mod init;
pub mod layers;
pub mod quantise;
pub mod reparam;
mod scope;
mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod trace;

pub use init::{Init, Start};
pub use mmy_torch::memory_format::MemoryFormat;
pub use scope::{DuplicateName, Entry, ParamStore, Role, Scope};
pub use state::{LoadError, LoadPolicy, LoadReport, Misshapen, Missing, StateDict};
