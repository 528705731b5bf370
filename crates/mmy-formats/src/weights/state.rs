//! From the values of a pickle to named tensors.
//!
//! A checkpoint may be a state dict, a dictionary that has one somewhere, or a whole module with its tensors in
//! `_parameters`, `_buffers` and `_modules`.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    Format, Origin, WeightsError,
    pickle::{Id, Storage, Tensor, Value, Values},
};

/// Which part of a checkpoint is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// The dotted path of the part, such as `model` or `ema_state_dict`; by default the best known name that is
    /// there, or the only part with tensors.
    pub key: Option<String>,
}

/// Names under which weights are kept, the best first: averaged weights where there are any, as the writers' own loaders
/// take them. mmengine's `state_dict` holds the averaged ones and its `ema_state_dict` the raw ones.
const PREFERRED: [&str; 12] = [
    "ema",
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
];

/// Parts of parts are looked into that deep, modules of modules that deep.
const PART_DEPTH: usize = 4;
const MODULE_DEPTH: usize = 100;
/// Tensors that are named, with those that one module under many names repeats.
const MAX_TENSORS: usize = 1 << 20;
/// Bytes of all names together, and entries of dictionaries that are looked at: a deep tree of long names would repeat
/// them, and a module that stands in a million places would be looked through a million times.
const MAX_WORK: usize = 64 << 20;
/// Parts that are listed.
const MAX_PARTS: usize = 100;

/// What was found: tensors by name, and where.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub tensors: Vec<(String, &'a Tensor, &'a Storage)>,
    pub origin: Origin,
}

pub(super) fn find<'a>(
    values: &'a Values,
    root: Id,
    choice: &Choice,
    format: Format,
) -> Result<Found<'a>, WeightsError> {
    let mut search = Search { values, seen: HashSet::new(), parts: Vec::new() };
    search.below(root, &mut String::new(), 0);
    let mut parts = search.parts;
    let taken = match &choice.key {
        Some(key) => match parts.iter().position(|it| it.0 == *key) {
            Some(at) => at,
            None => {
                return Err(WeightsError::Absent(format!("there is no `{key}` with tensors in it; {}", list(&parts))));
            }
        },
        None => best(&parts).ok_or_else(|| {
            WeightsError::Absent(match parts.is_empty() {
                true => "there is no tensor in it, neither in a state dict nor in a module".into(),
                false => format!("which weights are meant? Say it with `--key`; {}", list(&parts)),
            })
        })?,
    };
    let Walk { mut tensors, skipped, .. } = Walk::over(values, format, parts[taken].1)?;
    let mut stripped = None;
    // A model that was wrapped for several devices says so before each name.
    while !tensors.is_empty() && tensors.iter().all(|it| it.0.starts_with("module.")) {
        tensors.iter_mut().for_each(|it| it.0.drain(.."module.".len()).for_each(drop));
        stripped = Some("module.");
    }
    let others = parts.iter().enumerate().filter(|it| it.0 != taken).map(|(_, it)| {
        let count = Walk::over(values, format, it.1).map_or(0, |it| it.tensors.len());
        (it.0.clone(), count)
    });
    let others = others.collect();
    let classes = classes(values, root, parts[taken].1);
    let names: BTreeSet<_> = values
        .iter()
        .filter_map(|it| match it {
            Value::Global(it) => Some(format!("{}.{}", it.module, it.name)),
            _ => None,
        })
        .collect();
    let names = names.into_iter().collect();
    let taken = std::mem::take(&mut parts[taken].0);
    Ok(Found { tensors, origin: Origin { taken, others, stripped, skipped, classes, names } })
}

fn list(parts: &[(String, Id)]) -> String {
    let names: Vec<_> = parts.iter().take(20).map(|it| format!("`{}`", it.0)).collect();
    if names.is_empty() { "it has no tensors at all".into() } else { format!("it has {}", names.join(", ")) }
}

/// The part to take when nobody says which.
fn best(parts: &[(String, Id)]) -> Option<usize> {
    let rank = |path: &str| path.split('.').filter_map(|step| PREFERRED.iter().position(|it| *it == step)).min();
    // The whole, where it is a state dict, before what stands in it.
    if let Some(whole) = parts.iter().position(|it| it.0.is_empty()) {
        return Some(whole);
    }
    let ranked = parts.iter().enumerate().filter_map(|(at, it)| Some((rank(&it.0)?, at)));
    ranked.min().map(|it| it.1).or((parts.len() == 1).then_some(0))
}

/// Collects the dotted paths of what could be a model's weights.
struct Search<'a> {
    values: &'a Values,
    /// Dictionaries that were looked into, so that one that stands in many places is looked into once.
    seen: HashSet<Id>,
    parts: Vec<(String, Id)>,
}

impl Search<'_> {
    fn below(&mut self, id: Id, path: &mut String, depth: usize) {
        let values = self.values;
        if self.parts.len() >= MAX_PARTS || self.seen.contains(&id) {
            return;
        }
        if module_state(values, id).is_some() || is_state_dict(values, id) {
            self.parts.push((path.clone(), id));
            return;
        }
        // What stands under a number is an optimiser's, what stands in an object is a program's own.
        let Value::Dict(pairs) = values.get(id) else { return };
        self.seen.insert(id);
        if depth == PART_DEPTH {
            return;
        }
        for &(key, value) in pairs {
            let Some(key) = values.text(key).filter(|it| it.len() < 200) else { continue };
            let length = path.len();
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(key);
            self.below(value, path, depth + 1);
            path.truncate(length);
        }
    }
}

/// Whether most of what stands in it are tensors.
fn is_state_dict(values: &Values, id: Id) -> bool {
    let pairs = values.pairs(id);
    let tensors = pairs.iter().filter(|it| values.text(it.0).is_some() && tensor(values, it.1).is_some()).count();
    tensors * 2 > pairs.len()
}

/// The `__dict__` of a pickled module.
fn module_state(values: &Values, id: Id) -> Option<Id> {
    let Value::Object(object) = values.get(id) else { return None };
    let state = object.state?;
    values.under(state, "_modules").and(values.under(state, "_parameters"))?;
    Some(state)
}

fn tensor(values: &Values, id: Id) -> Option<(&Tensor, &Storage)> {
    let Value::Tensor(tensor) = values.get(id) else { return None };
    let Value::Storage(storage) = values.get(tensor.storage) else { return None };
    Some((tensor, storage))
}

struct Walk<'a> {
    values: &'a Values,
    format: Format,
    tensors: Vec<(String, &'a Tensor, &'a Storage)>,
    skipped: Vec<String>,
    work: usize,
}

impl<'a> Walk<'a> {
    /// Collects the tensors of a part.
    fn over(values: &'a Values, format: Format, part: Id) -> Result<Self, WeightsError> {
        let mut walk = Walk { values, format, tensors: Vec::new(), skipped: Vec::new(), work: 0 };
        walk.part(part)?;
        Ok(walk)
    }

    fn part(&mut self, id: Id) -> Result<(), WeightsError> {
        match module_state(self.values, id) {
            Some(state) => self.module(state, "", 0),
            None => {
                let values = self.values;
                for &(key, value) in values.pairs(id) {
                    if let Some(name) = values.text(key) {
                        self.entry(name.to_owned(), value)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Own tensors first, then those of the modules within, as `state_dict()` has them.
    fn module(&mut self, state: Id, prefix: &str, depth: usize) -> Result<(), WeightsError> {
        let values = self.values;
        if depth == MODULE_DEPTH {
            return Err(self.format.broken(format!("modules within modules, {MODULE_DEPTH} deep, at `{prefix}`")));
        }
        self.spend(8 * values.pairs(state).len())?;
        let below = |name| values.under(state, name).map(|it| values.pairs(it)).unwrap_or_default();
        let passing = values.under(state, "_non_persistent_buffers_set");
        let passing = passing.map(|it| values.elements(it)).unwrap_or_default();
        let passing: HashSet<_> = passing.iter().filter_map(|&it| values.text(it)).collect();
        self.spend(passing.len())?;
        for &(key, value) in below("_parameters").iter().chain(below("_buffers")) {
            let Some(name) = values.text(key).filter(|it| !passing.contains(it)) else { continue };
            self.entry(format!("{prefix}{name}"), value)?;
        }
        for &(key, value) in below("_modules") {
            let (Some(name), Some(state)) = (values.text(key), module_state(values, value)) else { continue };
            // Modules without tensors cost as well, if each holds the next ones twice.
            self.spend(prefix.len() + name.len() + 64)?;
            self.module(state, &format!("{prefix}{name}."), depth + 1)?;
        }
        Ok(())
    }

    fn entry(&mut self, name: String, value: Id) -> Result<(), WeightsError> {
        self.spend(name.len())?;
        match (tensor(self.values, value), self.values.get(value)) {
            (Some((tensor, storage)), _) if tensor.dtype.or(storage.dtype).is_some() => {
                self.tensors.push((name, tensor, storage));
            }
            // Optional parameters are `None`; `_extra_state` and the like are no tensors. What some function of
            // PyTorch's would have made (sparse, quantised) is one that is not read.
            (Some(_), _) => self.skipped.push(name),
            (None, Value::Object(object)) => {
                if let Value::Global(class) = self.values.get(object.class)
                    && class.module.starts_with("torch.")
                    && class.name.starts_with("_rebuild")
                {
                    self.skipped.push(name);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn spend(&mut self, work: usize) -> Result<(), WeightsError> {
        self.work += work;
        if self.tensors.len() + self.skipped.len() >= MAX_TENSORS || self.work > MAX_WORK {
            return Err(self.format.broken("more tensors and modules than any model has"));
        }
        Ok(())
    }
}

/// Class names where MMYOLO, MMDetection 2 and Ultralytics keep them.
fn classes(values: &Values, root: Id, part: Id) -> Vec<String> {
    let meta = values.under(root, "meta");
    let of_meta = |meta: Id| {
        let of_data = values.under(meta, "dataset_meta");
        let names = ["classes", "CLASSES"];
        of_data.and_then(|it| names.iter().find_map(|name| values.under(it, name))).or(values.under(meta, "CLASSES"))
    };
    let state = module_state(values, part);
    let Some(found) = meta.and_then(of_meta).or(state.and_then(|it| values.under(it, "names"))) else {
        return Vec::new();
    };
    let mut numbered = HashMap::new();
    for (at, &it) in values.elements(found).iter().enumerate() {
        numbered.insert(at as i64, it);
    }
    for &(key, value) in values.pairs(found) {
        if let Value::Int(at) = values.get(key) {
            numbered.insert(*at, value);
        }
    }
    let named = (0..numbered.len().min(100_000) as i64).map(|it| Some(values.text(*numbered.get(&it)?)?.to_owned()));
    named.collect::<Option<_>>().unwrap_or_default()
}
