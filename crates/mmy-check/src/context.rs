//! What rules look at.

use mmy_config::{Loaded, Node, read_at};
use mmy_data::DataloaderConfig;
use mmy_diag::{Code, Diagnostic};
use mmy_engine::{Length, loops::TrainLoopKind};
use mmy_registry::{BuildError, Slot, Used};
use serde::de::DeserializeOwned;

use crate::Purpose;

/// A config under examination.
pub struct Context<'a> {
    /// The tree, with places.
    pub loaded: &'a Loaded,
    /// Every part that could be read, however deep.
    pub parts: &'a [Used],
    /// What for.
    pub purpose: Purpose,
}

/// One of the three passes over data.
pub struct Pass {
    /// The key of its loader.
    pub path: String,
    /// The loader, where it could be read.
    pub loader: DataloaderConfig,
}

impl Context<'_> {
    /// As much of the config at a path as could be read; nothing where it is not set. What is wrong with it was told
    /// when the whole was read.
    pub fn section<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        read_at(self.loaded, path).value
    }

    /// The value at a path, where one is set.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.loaded.root.get(path)
    }

    /// The part whose table is at a path.
    pub fn part(&self, path: &str) -> Option<&Used> {
        self.parts.iter().find(|it| it.path == path)
    }

    /// The fact of that type which the part at a path tells of itself.
    pub fn fact<T: 'static>(&self, path: &str) -> Option<&T> {
        self.part(path)?.outline.get()
    }

    /// A finding about the value at a path.
    pub fn finding(&self, code: Code, title: impl Into<String>, path: &str) -> Diagnostic {
        let path: Vec<_> = path.split('.').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        self.loaded.locate(Diagnostic::new(code, title), &path)
    }

    /// What a part says when it cannot be built, as a finding.
    pub fn fault(&self, error: &BuildError) -> Diagnostic {
        fault(self.loaded, error)
    }

    /// Whether a section at the root takes part in what the config is for.
    pub fn concerns(&self, path: &str) -> bool {
        let first = path.split('.').next().unwrap_or_default();
        let of = |names: &[&str]| names.iter().any(|it| first.starts_with(it));
        match self.purpose {
            Purpose::Anything => true,
            Purpose::Training => !of(&["test_"]),
            Purpose::Testing => !of(&["train_", "val_", "optim_wrapper", "param_scheduler"]),
            Purpose::Model => of(&["model"]),
        }
    }

    /// How long the run is.
    pub fn length(&self) -> Option<Length> {
        Some(self.section::<Slot<TrainLoopKind>>("train_cfg")?.build(()).ok()?.length())
    }

    /// The passes over data that the config is for.
    pub fn passes(&self) -> Vec<Pass> {
        let mut out = Vec::new();
        for name in ["train", "val", "test"] {
            let path = format!("{name}_dataloader");
            if let Some(loader) = Some(&path).filter(|it| self.concerns(it)).and_then(|it| self.section(it)) {
                out.push(Pass { path, loader });
            }
        }
        out
    }
}

/// What a part says when it cannot be built, as a finding with its place. [`BuildError::others`] are not looked at.
pub fn fault(loaded: &Loaded, error: &BuildError) -> Diagnostic {
    let path = error.path.join(".");
    let title = if path.is_empty() { error.message.clone() } else { format!("`{path}`: {}", error.message) };
    let mut finding = loaded.locate(Diagnostic::new(error.code, title), &error.path);
    finding.help.extend(error.help.clone());
    finding
}
