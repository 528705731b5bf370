//! Loading named tensors into a model.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
};

use tch::Tensor;

use crate::{
    ParamStore, Role,
    reparam::{Made, Unmade},
};

/// Tensors by name, as files hold them.
pub type StateDict = HashMap<String, Tensor>;

/// Which differences between a file and a model are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadPolicy {
    /// None: what fits is loaded.
    Lenient,
    /// A tensor of the model that is missing or of another shape.
    Complete,
    /// The same, and a tensor of the file that the model has no use for.
    Exact,
}

/// What a load did, by name, in the model's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadReport {
    /// Loaded.
    pub applied: Vec<String>,
    /// In the model, not in the file.
    pub missing: Vec<Missing>,
    /// In the file, not in the model; sorted.
    pub unused: Vec<String>,
    /// In both, with different shapes.
    pub misshapen: Vec<Misshapen>,
}

/// A tensor of the model that the file lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// The unused name of the file that looks most like it, of the same shape, if any does.
    pub nearest: Option<String>,
}

/// A tensor whose shapes differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name.
    pub name: String,
    /// Shape in the model.
    pub expected: Vec<i64>,
    /// Shape in the file.
    pub found: Vec<i64>,
}

/// The file does not fit the model; nothing was loaded.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the weights do not fit the model: {0}")]
pub struct LoadError(pub LoadReport);

/// Nearest names are looked for that many missing ones, since each is held against every unused one.
const NEAREST: usize = 50;

impl ParamStore {
    /// Copies tensors into the parameters and buffers of the same names, converting their kind. Where layers left
    /// [recipes](crate::Scope::made_from) and `state` has what they start from, they are followed instead.
    ///
    /// # Errors
    /// When the policy forbids a difference that there is; then nothing has been copied.
    pub fn load_state(&self, state: &StateDict, policy: LoadPolicy) -> Result<LoadReport, LoadError> {
        self.load(state, self.make(state), policy)
    }

    /// As [`ParamStore::load_state`], without recipes: for a file of a model in this very form.
    ///
    /// # Errors
    /// When the policy forbids a difference that there is; then nothing has been copied.
    pub fn load_state_by_name(&self, state: &StateDict, policy: LoadPolicy) -> Result<LoadReport, LoadError> {
        self.load(state, Made::default(), policy)
    }

    fn load(&self, state: &StateDict, mut made: Made, policy: LoadPolicy) -> Result<LoadReport, LoadError> {
        let entries = self.entries();
        let mut report = LoadReport::default();
        let mut known: Vec<&str> = made.used.iter().map(String::as_str).collect();
        let mut absent = Vec::new();
        let mut pairs = Vec::new();
        for entry in &entries {
            let made_here = made.tensors.remove(&entry.name);
            if made_here.is_none() {
                known.push(&entry.name);
            }
            match made_here.or_else(|| state.get(&entry.name).map(Tensor::shallow_clone)) {
                None => match made.unmade.get(&entry.name) {
                    // The name under which a trained model would have it, which the reader knows, once.
                    Some(Unmade::Misshapen { name, expected, found }) => report.misshapen.push(Misshapen {
                        name: name.clone(),
                        expected: expected.clone(),
                        found: found.clone(),
                    }),
                    Some(Unmade::Missing(name)) => absent.push((name, entry)),
                    None => absent.push((&entry.name, entry)),
                },
                Some(tensor) if tensor.size() == entry.tensor.size() => {
                    report.applied.push(entry.name.clone());
                    pairs.push((entry, tensor));
                }
                Some(tensor) => report.misshapen.push(Misshapen {
                    name: entry.name.clone(),
                    expected: entry.tensor.size(),
                    found: tensor.size(),
                }),
            }
        }
        known.sort_unstable();
        absent.dedup_by_key(|it| it.0);
        report.unused = state.keys().filter(|it| known.binary_search(&it.as_str()).is_err()).cloned().collect();
        report.unused.sort_unstable();
        report.missing = absent
            .into_iter()
            .enumerate()
            .map(|(i, (name, entry))| {
                let alike = report.unused.iter().filter(|it| i < NEAREST && state[*it].size() == entry.tensor.size());
                let nearest = alike
                    .map(|it| (strsim::normalized_levenshtein(it, name), it))
                    .filter(|(likeness, _)| *likeness > 0.5)
                    .max_by(|a, b| a.0.total_cmp(&b.0));
                Missing { name: name.clone(), nearest: nearest.map(|it| it.1.clone()) }
            })
            .collect();
        let wrong = !report.missing.is_empty() || !report.misshapen.is_empty();
        let refused = match policy {
            LoadPolicy::Lenient => false,
            LoadPolicy::Complete => wrong,
            LoadPolicy::Exact => wrong || !report.unused.is_empty(),
        };
        if refused || self.is_dry() {
            return if refused { Err(LoadError(report)) } else { Ok(report) };
        }
        tch::no_grad(|| {
            for (entry, tensor) in pairs {
                entry.tensor.shallow_clone().copy_(&tensor);
            }
        });
        Ok(report)
    }

    /// Every parameter and buffer by name: the tensors themselves, not copies.
    pub fn state_dict(&self) -> Vec<(String, Tensor)> {
        self.entries().into_iter().map(|it| (it.name, it.tensor)).collect()
    }

    /// Numbers in the parameters below `prefix` (a whole step of the path).
    pub fn num_params_below(&self, prefix: &str) -> u64 {
        let below = |name: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let entries = self.entries();
        entries.iter().filter(|it| it.role != Role::Buffer && below(&it.name)).map(|it| it.tensor.numel() as u64).sum()
    }
}

impl LoadReport {
    /// Rows of each kind that are shown where a table should stay short.
    const SHORT: usize = 10;

    /// Whether every tensor of the model was loaded, and nothing was left over.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.misshapen.is_empty() && self.unused.is_empty()
    }

    /// The counts, and a table with every name.
    pub fn in_full(&self) -> String {
        self.table(usize::MAX)
    }

    fn table(&self, most: usize) -> String {
        let mut out = format!(
            "{} loaded, {} missing, {} misshapen, {} unused",
            self.applied.len(),
            self.missing.len(),
            self.misshapen.len(),
            self.unused.len()
        );
        let missing = self.missing.iter().take(most).map(|it| {
            let nearest = it.nearest.as_ref().map(|it| format!("the file has {it}"));
            ("missing", &it.name, nearest.unwrap_or_default())
        });
        let misshapen =
            self.misshapen.iter().take(most).map(|it| {
                ("misshapen", &it.name, format!("{:?} in the model, {:?} in the file", it.expected, it.found))
            });
        let unused = self.unused.iter().take(most).map(|it| ("unused", it, String::new()));
        let rows: Vec<_> = missing.chain(misshapen).chain(unused).collect();
        let width = rows.iter().filter(|it| !it.2.is_empty()).map(|it| it.1.chars().count()).max().unwrap_or(0);
        for (what, name, remark) in &rows {
            let _ = write!(out, "\n  {what:9}  {name:width$}  {remark}");
            out.truncate(out.trim_end().len());
        }
        let left = self.missing.len() + self.misshapen.len() + self.unused.len() - rows.len();
        if left > 0 {
            let _ = write!(out, "\n  … and {left} more");
        }
        out
    }
}

/// The counts, and a table with the first names of each kind.
impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table(Self::SHORT))
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::Init;

    fn model() -> ParamStore {
        let store = ParamStore::new(Device::Cpu, 0);
        let p = store.root() / "backbone";
        let _ = p.param("conv.weight", &[2, 3], Init::KaimingUniform, Role::Weight);
        let _ = p.param("conv.bias", &[2], Init::Const(0.0), Role::Bias);
        store
    }

    fn file(names: &[(&str, &[i64])]) -> StateDict {
        names.iter().map(|(n, s)| ((*n).to_owned(), Tensor::ones(*s, (Kind::Half, Device::Cpu)))).collect()
    }

    #[test]
    fn a_good_file_is_loaded_and_converted() {
        let store = model();
        let state = file(&[("backbone.conv.weight", &[2, 3]), ("backbone.conv.bias", &[2]), ("head.x", &[1])]);
        let report = store.load_state(&state, LoadPolicy::Complete).unwrap();
        assert_eq!((report.applied.len(), report.unused), (2, vec!["head.x".to_owned()]));
        let weight = store.get("backbone.conv.weight").unwrap();
        assert_eq!(weight.detach(), Tensor::ones([2, 3], (Kind::Float, Device::Cpu)));
        assert!(weight.requires_grad());
        assert!(store.load_state(&state, LoadPolicy::Exact).is_err());
    }

    #[test]
    fn differences_are_named_and_refused_as_a_whole() {
        let store = model();
        let before = store.get("backbone.conv.bias").unwrap().copy();
        let state = file(&[("backbone.conv.bias", &[2]), ("backbonne.conv.weight", &[2, 3])]);
        let LoadError(report) = store.load_state(&state, LoadPolicy::Complete).unwrap_err();
        let missing = Missing { name: "backbone.conv.weight".into(), nearest: Some("backbonne.conv.weight".into()) };
        assert_eq!(report.missing, [missing]);
        assert_eq!(store.get("backbone.conv.bias").unwrap(), before);
        assert_eq!(
            report.to_string(),
            "1 loaded, 1 missing, 0 misshapen, 1 unused\n  missing    backbone.conv.weight  the file has \
             backbonne.conv.weight\n  unused     backbonne.conv.weight"
        );
        let wrong = file(&[("backbone.conv.weight", &[3, 2]), ("backbone.conv.bias", &[2])]);
        let report = store.load_state(&wrong, LoadPolicy::Lenient).unwrap();
        assert_eq!((report.misshapen.len(), report.applied.len()), (1, 1));
    }
    #[test]
    fn a_long_report_is_cut_and_a_full_one_is_not() {
        let unused = (0..25).map(|it| format!("w{it:02}")).collect();
        let report = LoadReport { unused, ..LoadReport::default() };
        let short = report.to_string();
        assert!(short.ends_with("unused     w09\n  … and 15 more"), "{short}");
        assert_eq!(report.in_full().lines().count(), 26);
    }
}
