//! Who owns the parameters, and the tree of their names.

use std::{
    collections::HashMap,
    fmt::{self, Display},
    ops::Div,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mmy_torch::memory_format::{MemoryFormat, to_memory_format};
use tch::{Device, Kind, Tensor};

use crate::{Init, Start, layers::DsConv, reparam::Recipe};

/// What an entry is to an optimiser and to weight averaging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A parameter that is neither of the other two: kernels, matrices, and layer scales, mixing factors and the like.
    Weight,
    /// The scale of a normalisation layer.
    NormWeight,
    /// A parameter called `bias`, of a normalisation layer as well.
    Bias,
    /// State that no gradient reaches: running statistics (float) and counters (int64).
    Buffer,
}

/// One tensor of the model under its full name.
#[derive(Debug)]
pub struct Entry {
    /// Dotted path from the root, as in PyTorch's state dict.
    pub name: String,
    /// The tensor itself, not a copy: writing to it writes to the model.
    pub tensor: Tensor,
    /// What it is to an optimiser.
    pub role: Role,
}

impl Entry {
    /// Whether an optimiser may change it: neither a buffer nor frozen.
    pub fn trainable(&self) -> bool {
        self.role != Role::Buffer && self.tensor.requires_grad()
    }
}

/// Two tensors under one name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("two tensors are called `{0}`")]
pub struct DuplicateName(pub String);

/// The owner of a model's parameters and buffers, in the order in which they were made.
#[derive(Debug, Clone)]
pub struct ParamStore(Arc<Inner>);

struct Inner {
    device: Device,
    seed: u64,
    format: MemoryFormat,
    dry: bool,
    deployed: bool,
    tree: Mutex<Tree>,
}

#[derive(Default)]
struct Tree {
    entries: Vec<Entry>,
    places: HashMap<String, usize>,
    clash: Option<DuplicateName>,
    recipes: Vec<Recipe>,
}

impl ParamStore {
    /// An empty store whose convolution weights will lie channels-last.
    pub fn new(device: Device, seed: u64) -> Self {
        Self::with_format(device, seed, MemoryFormat::ChannelsLast)
    }

    /// An empty store that keeps weights of four axes in `format`.
    pub fn with_format(device: Device, seed: u64, format: MemoryFormat) -> Self {
        ParamStore(Arc::new(Inner { device, seed, format, dry: false, deployed: false, tree: Mutex::default() }))
    }

    /// A store that allocates nothing: every tensor is one number seen under the right shape. Names, shapes, counts
    /// and [`crate::trace::shapes`] work; training does not.
    pub fn dry() -> Self {
        ParamStore(Arc::new(Inner {
            device: Device::Cpu,
            seed: 0,
            format: MemoryFormat::Contiguous,
            dry: true,
            deployed: false,
            tree: Mutex::default(),
        }))
    }

    /// An empty store like this one, in which layers make their [deployed form](crate::reparam).
    #[must_use]
    pub fn deployed(&self) -> Self {
        let &Inner { device, seed, format, dry, .. } = &*self.0;
        ParamStore(Arc::new(Inner { device, seed, format, dry, deployed: true, tree: Mutex::default() }))
    }

    /// The root of the tree.
    pub fn root(&self) -> Scope {
        let start = Start::Torch;
        Scope { store: self.clone(), path: String::new(), frozen: false, norm_eval: false, start, dsconv: None }
    }

    /// Every parameter and buffer, in the order of PyTorch's state dict.
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |it: &Entry| Entry { name: it.name.clone(), tensor: it.tensor.shallow_clone(), role: it.role };
        self.tree().entries.iter().map(entry).collect()
    }

    /// The entry of that name.
    pub fn get(&self, name: &str) -> Option<Tensor> {
        let tree = self.tree();
        tree.places.get(name).map(|&at| tree.entries[at].tensor.shallow_clone())
    }

    /// Number of numbers in the parameters, frozen ones included, buffers not.
    pub fn num_params(&self) -> u64 {
        let tree = self.tree();
        tree.entries.iter().filter(|it| it.role != Role::Buffer).map(|it| it.tensor.numel() as u64).sum()
    }

    /// Where the tensors live.
    pub fn device(&self) -> Device {
        self.0.device
    }

    /// The seed of the initial values.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// Whether this store allocates nothing.
    pub fn is_dry(&self) -> bool {
        self.0.dry
    }

    /// Whether layers make their [deployed form](crate::reparam) here.
    pub fn is_deployed(&self) -> bool {
        self.0.deployed
    }

    /// The order in which weights of four axes lie in memory.
    pub fn format(&self) -> MemoryFormat {
        self.0.format
    }

    /// Whether every name is unique.
    ///
    /// # Errors
    /// The first name that was made twice.
    pub fn check(&self) -> Result<(), DuplicateName> {
        self.tree().clash.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn push_recipe(&self, recipe: Recipe) {
        self.tree().recipes.push(recipe);
    }

    pub(crate) fn recipes(&self) -> Vec<Recipe> {
        self.tree().recipes.clone()
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, name: String, tensor: &Tensor, role: Role) {
        let mut tree = self.tree();
        let at = tree.entries.len();
        if tree.places.insert(name.clone(), at).is_some() {
            tree.clash.get_or_insert_with(|| DuplicateName(name.clone()));
        }
        tree.entries.push(Entry { name, tensor: tensor.shallow_clone(), role });
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParamStore")
            .field("device", &self.device)
            .field("seed", &self.seed)
            .field("format", &self.format)
            .field("dry", &self.dry)
            .field("deployed", &self.deployed)
            .finish_non_exhaustive()
    }
}

/// A place in the tree of names; `&scope / "conv"` is its child and `&scope / 0` a numbered one.
#[derive(Debug, Clone)]
pub struct Scope {
    store: ParamStore,
    path: String,
    frozen: bool,
    norm_eval: bool,
    start: Start,
    dsconv: Option<Arc<DsConv>>,
}

impl Scope {
    /// The same place, where parameters are made that no gradient reaches and running statistics that stay.
    #[must_use]
    pub fn freeze(&self) -> Self {
        Scope { frozen: true, norm_eval: true, ..self.clone() }
    }

    /// The same place, where batch norms use their running statistics in training too and leave them as they are.
    #[must_use]
    pub fn norm_eval(&self) -> Self {
        Scope { norm_eval: true, ..self.clone() }
    }

    /// The same place, where convolutions keep their kernels in whole numbers. The outermost such call holds.
    #[must_use]
    pub fn dsconv(&self, form: DsConv) -> Self {
        Scope { dsconv: self.dsconv.clone().or_else(|| Some(Arc::new(form))), ..self.clone() }
    }

    /// How a convolution made here, which sees `in_per_group` channels, keeps its kernel, if not as it is.
    pub(crate) fn dsconv_of(&self, in_per_group: i64) -> Option<Arc<DsConv>> {
        self.dsconv.clone().filter(|it| it.applies(&self.path, in_per_group))
    }

    /// The same place, where convolutions and linear layers start in that way.
    #[must_use]
    pub fn starting(&self, start: Start) -> Self {
        Scope { start, ..self.clone() }
    }

    /// How convolutions and linear layers made here start.
    pub fn start(&self) -> Start {
        self.start
    }

    /// Every trainable parameter made at this place or below it so far.
    pub fn trainable(&self) -> Vec<Tensor> {
        let below =
            |name: &str| name.strip_prefix(&self.path).is_some_and(|it| self.path.is_empty() || it.starts_with('.'));
        self.store
            .tree()
            .entries
            .iter()
            .filter(|it| it.trainable() && below(&it.name))
            .map(|it| it.tensor.shallow_clone())
            .collect()
    }

    /// Whether batch norms made here leave their running statistics as they are.
    pub fn is_norm_eval(&self) -> bool {
        self.norm_eval
    }

    /// Whether parameters made here take no part in training.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Whether layers made here take their [deployed form](crate::reparam).
    pub fn is_deployed(&self) -> bool {
        self.store.is_deployed()
    }

    /// The dotted path from the root, empty at the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The store that this is a place of.
    pub fn store(&self) -> &ParamStore {
        &self.store
    }

    /// Makes a float32 parameter. A name that exists is noted: see [`ParamStore::check`].
    pub fn param(&self, name: &str, shape: &[i64], init: Init, role: Role) -> Tensor {
        let name = self.join(name);
        let tensor = if self.store.is_dry() {
            self.dry(shape, init.typical(), Kind::Float)
        } else {
            let values = Tensor::from_slice(&init.values(self.store.seed(), &name, shape)).reshape(shape);
            let values = match shape.len() {
                4 => to_memory_format(&values, self.store.format()).unwrap_or(values),
                _ => values,
            };
            values.to_device(self.store.device()).set_requires_grad(!self.frozen)
        };
        self.store.insert(name, &tensor, role);
        tensor
    }

    /// Makes a buffer that is `value` everywhere.
    pub fn buffer(&self, name: &str, shape: &[i64], value: f64, kind: Kind) -> Tensor {
        let tensor = match self.store.is_dry() {
            true => self.dry(shape, value, kind),
            false => Tensor::full(shape, value, (kind, self.store.device())),
        };
        self.store.insert(self.join(name), &tensor, Role::Buffer);
        tensor
    }

    fn dry(&self, shape: &[i64], value: f64, kind: Kind) -> Tensor {
        Tensor::full([0i64; 0], value, (kind, Device::Cpu)).expand(shape, false)
    }

    pub(crate) fn join(&self, name: impl Display) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }
}

impl<T: Display> Div<T> for &Scope {
    type Output = Scope;
    fn div(self, name: T) -> Scope {
        Scope { path: self.join(name), ..self.clone() }
    }
}

impl<T: Display> Div<T> for Scope {
    type Output = Scope;
    fn div(self, name: T) -> Scope {
        &self / name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(store: &ParamStore) {
        let p = store.root() / "stages" / 0;
        let _ = p.param("weight", &[8, 4, 3, 3], Init::KaimingUniform, Role::Weight);
        let _ = p.param("bias", &[8], Init::Const(0.5), Role::Bias);
        let _ = p.buffer("steps", &[], 0.0, Kind::Int64);
    }

    #[test]
    fn order_is_that_of_making_and_a_name_twice_is_an_error() {
        let store = ParamStore::new(Device::Cpu, 0);
        fill(&store);
        let names: Vec<_> = store.entries().into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["stages.0.weight", "stages.0.bias", "stages.0.steps"]);
        assert_eq!((store.num_params(), store.check()), (8 * 4 * 9 + 8, Ok(())));
        fill(&store);
        assert_eq!(store.check(), Err(DuplicateName("stages.0.weight".into())));
    }

    #[test]
    fn values_do_not_depend_on_the_memory_format() {
        let stores = [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast].map(|f| {
            let store = ParamStore::with_format(Device::Cpu, 3, f);
            fill(&store);
            store.get("stages.0.weight").unwrap()
        });
        assert_ne!(stores[0].stride(), stores[1].stride());
        assert_eq!(stores[0], stores[1]);
    }

    #[test]
    fn dry_tensors_have_shapes_but_one_number() {
        let store = ParamStore::dry();
        let _ = (store.root() / "big").param("weight", &[1 << 20, 1 << 20], Init::KaimingUniform, Role::Weight);
        let tensor = store.get("big.weight").unwrap();
        assert_eq!((tensor.size(), tensor.stride()), (vec![1 << 20, 1 << 20], vec![0, 0]));
        assert_eq!(store.num_params(), 1 << 40);
    }

    #[test]
    fn frozen_parameters_are_kept_but_not_trained() {
        let store = ParamStore::new(Device::Cpu, 0);
        let _ = store.root().freeze().param("weight", &[2], Init::Const(1.0), Role::Weight);
        assert!(!store.entries()[0].trainable());
        assert_eq!(store.num_params(), 2);
    }
}
