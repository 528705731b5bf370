//! A checkpoint: one safetensors file that holds tensors and a manifest.
//!
//! The model's tensors stand under their plain names, so that any reader of safetensors gets a model from it: the
//! averaged one, where weights are averaged. What only a resume needs stands under prefixes, and the manifest is a JSON
//! text in the header's metadata. Nothing in the file is ever run.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use mmy_nn::file::{Contents, FileError, read_safetensors, write_safetensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Tensor;

use crate::{MessageHub, Progress, work_dir::publish};

/// Raw weights, where the plain names hold averaged ones.
const RAW: &str = "@raw/";
/// The optimiser's tensors.
const OPTIMIZER: &str = "@optimizer/";
/// The manifest's key in the header's metadata.
const MANIFEST: &str = "mmy.manifest";

/// What a checkpoint says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form; a reader refuses a greater one.
    pub format: u32,
    /// Version of mmy that wrote it.
    pub mmy: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// The config's name.
    pub name: String,
    /// The resolved config, as TOML.
    pub config: String,
    /// Class names, by index.
    pub classes: Vec<String>,
    /// How far the run has come.
    pub progress: Progress,
    /// The seed of everything.
    pub seed: u64,
    /// libtorch's own threads, on which sums depend.
    pub threads: usize,
    /// Metrics of the model, where they are known.
    pub metrics: Vec<(String, f64)>,
    /// Whether a run can go on from it.
    pub resumable: bool,
    /// What the hooks remember.
    pub hooks: serde_json::Map<String, Value>,
    /// Recent scalars, for log lines.
    pub messages: MessageHub,
}

impl Manifest {
    /// The version that this program writes.
    pub const FORMAT: u32 = 1;
}

/// A checkpoint in memory.
#[derive(Debug)]
pub struct Checkpoint {
    /// What it says of itself; `None` for a file of weights that mmy did not write.
    pub manifest: Option<Manifest>,
    /// The model's tensors; averaged ones where weights are averaged.
    pub model: Vec<(String, Tensor)>,
    /// The raw weights, where `model` holds averaged ones.
    pub raw: Vec<(String, Tensor)>,
    /// The optimiser's tensors.
    pub optimizer: Vec<(String, Tensor)>,
}

/// Why a checkpoint cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file itself is at fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file could not be put in its place.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// Its place.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The manifest cannot be understood.
    #[error("`{}`: the manifest cannot be read: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Checkpoint {
    /// Writes the file under a temporary name, flushes it to the disk and renames it: a crash at any moment leaves the
    /// old file or the new one, whole.
    ///
    /// # Errors
    /// When the disk is full or the folder cannot be written; an older file of that name is then untouched.
    pub fn write(&self, path: &Path) -> Result<(), CheckpointError> {
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = |source| CheckpointError::Write { path: path.to_owned(), source };
        let file =
            tempfile::Builder::new().prefix(".writing-").suffix(".safetensors").tempfile_in(folder).map_err(failed)?;
        let prefixed = |prefix: &'static str, rows: &[(String, Tensor)]| {
            rows.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.shallow_clone())).collect::<Vec<_>>()
        };
        let mut rows = prefixed("", &self.model);
        rows.extend(prefixed(RAW, &self.raw));
        rows.extend(prefixed(OPTIMIZER, &self.optimizer));
        let manifest = self.manifest.as_ref().map(|it| serde_json::to_string(it).expect("plain data serialises"));
        let metadata: HashMap<_, _> = manifest.map(|it| (MANIFEST.to_owned(), it)).into_iter().collect();
        write_safetensors(file.path(), rows.iter().map(|(name, tensor)| (name.as_str(), tensor)), metadata)?;
        // The writer opened the file by its name: this handle reaches the same bytes.
        file.as_file().sync_all().map_err(failed)?;
        publish(file, path).map_err(failed)
    }

    /// Reads a file that [`Checkpoint::write`] or any other writer of safetensors made.
    ///
    /// # Errors
    /// When the file is not there, torn, or of a newer form.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let Contents { tensors, mut metadata } = read_safetensors(path)?;
        let unreadable = |reason: String| CheckpointError::Manifest { path: path.to_owned(), reason };
        let manifest = match metadata.remove(MANIFEST) {
            None => None,
            Some(text) => {
                let format =
                    serde_json::from_str::<Value>(&text).map_err(|e| unreadable(e.to_string()))?["format"].clone();
                if format.as_u64().is_none_or(|it| it > u64::from(Manifest::FORMAT)) {
                    return Err(unreadable(format!(
                        "it is of form {format}, this mmy ({}) knows forms up to {}: use a newer mmy",
                        env!("CARGO_PKG_VERSION"),
                        Manifest::FORMAT
                    )));
                }
                Some(serde_json::from_str(&text).map_err(|e| unreadable(e.to_string()))?)
            }
        };
        let mut out = Checkpoint { manifest, model: vec![], raw: vec![], optimizer: vec![] };
        for (name, tensor) in tensors {
            match (name.strip_prefix(RAW), name.strip_prefix(OPTIMIZER)) {
                (Some(name), _) => out.raw.push((name.to_owned(), tensor)),
                (_, Some(name)) => out.optimizer.push((name.to_owned(), tensor)),
                _ => out.model.push((name, tensor)),
            }
        }
        Ok(out)
    }
}
