//! A detector with its parameters.

use mmy_models::kinds::{Detector, DetectorModel};
use mmy_nn::{LoadPolicy, ParamStore, StateDict};
use mmy_registry::{BuildError, Slot};
use tch::{Device, Tensor};

use crate::{EngineError, error::Result};

/// A detector with its parameters.
#[derive(Debug)]
pub struct Model {
    /// Parameters and buffers, in the order of PyTorch's state dict.
    pub params: ParamStore,
    /// The network over them.
    pub net: Box<dyn DetectorModel>,
    /// What both were built from.
    slot: Slot<Detector>,
}

impl Model {
    /// Builds the network; its initial values are a function of `seed` and each parameter's name.
    ///
    /// # Errors
    /// When the parts do not fit together.
    pub fn build(slot: &Slot<Detector>, seed: u64) -> Result<Self, BuildError> {
        Self::over(slot, ParamStore::new(Device::Cpu, seed))
    }

    /// Builds the network over an empty store.
    ///
    /// # Errors
    /// When the parts do not fit together.
    pub fn over(slot: &Slot<Detector>, params: ParamStore) -> Result<Self, BuildError> {
        let net = slot.build(&params.root())?;
        params.check().map_err(|it| BuildError::new(it.to_string()).at("model"))?;
        Ok(Model { params, net, slot: slot.clone() })
    }

    /// All tensors by name, without copies.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        self.params.entries().into_iter().map(|it| (it.name, it.tensor.detach())).collect()
    }

    /// The same network in its deployed form (see [`mmy_nn::reparam`]), with initial values.
    ///
    /// # Errors
    /// When a part cannot be built in that form.
    pub fn deployed_form(&self) -> Result<Model, BuildError> {
        Self::over(&self.slot, self.params.deployed())
    }

    /// Turns the model into its deployed form, which computes the same with fewer layers. It cannot be trained
    /// afterwards. Nothing happens to a model that is deployed already.
    ///
    /// # Errors
    /// When a part cannot be built in that form, or cannot be made of the weights that there are.
    pub fn deploy(&mut self) -> Result<()> {
        if self.params.is_deployed() {
            return Ok(());
        }
        let deployed = self.deployed_form()?;
        let state: StateDict = self.tensors().into_iter().collect();
        let loaded = deployed.params.load_state(&state, LoadPolicy::Exact);
        loaded.map_err(|it| EngineError::Unfit(format!("the model cannot be deployed: {it}")))?;
        *self = deployed;
        Ok(())
    }
}
