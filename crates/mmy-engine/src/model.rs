//! A detector with its parameters.

use mmy_models::kinds::{Detector, DetectorModel};
use mmy_nn::ParamStore;
use mmy_registry::{BuildError, Slot};
use tch::{Device, Tensor};

/// A detector with its parameters.
#[derive(Debug)]
pub struct Model {
    /// Parameters and buffers, in the order of PyTorch's state dict.
    pub params: ParamStore,
    /// The network over them.
    pub net: Box<dyn DetectorModel>,
}

impl Model {
    /// Builds the network; its initial values are a function of `seed` and each parameter's name.
    ///
    /// # Errors
    /// When the parts do not fit together.
    pub fn build(slot: &Slot<Detector>, seed: u64) -> Result<Self, BuildError> {
        let params = ParamStore::new(Device::Cpu, seed);
        let net = slot.build(&params.root())?;
        params.check().map_err(|it| BuildError::new(it.to_string()).at("model"))?;
        Ok(Model { params, net })
    }

    /// All tensors by name, without copies.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        self.params.entries().into_iter().map(|it| (it.name, it.tensor.detach())).collect()
    }
}
