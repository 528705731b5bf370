//! A checkpoint: one safetensors file that holds tensors and a manifest.
//!
//! The model's tensors stand under their plain names, so that any reader of safetensors gets a model from it: the
//! averaged one, where weights are averaged. What only a resume needs stands under prefixes, and the manifest is a JSON
//! text in the header's metadata. Nothing in the file is ever run.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use mmy_nn::file::{Choice, Contents, FileError, read_metadata, read_weights, write_safetensors};
use mmy_registry::Plugin;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Tensor;

use crate::{
    FailedStep, Fingerprint, MessageHub, Progress, digest,
    work_dir::{WRITING, publish},
};

/// Raw weights, where the plain names hold averaged ones.
const RAW: &str = "@raw/";
/// The optimiser's tensors.
const OPTIMIZER: &str = "@optimizer/";
/// The batch of a step that failed.
const BATCH: &str = "@batch/";
/// The manifest's key in the header's metadata.
const MANIFEST: &str = "mmy.manifest";
/// The key of the hash over the manifest and all tensors.
const DIGEST: &str = "mmy.blake3";

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
    /// The data sets that it was made with.
    #[serde(default)]
    pub data: Vec<Fingerprint>,
    /// The crates that the config's parts come from, with their versions.
    #[serde(default)]
    pub parts: BTreeMap<String, String>,
    /// The plugin crates that were linked into the program that wrote it.
    #[serde(default)]
    pub plugins: Vec<Plugin>,
    /// Metrics of the model, where they are known.
    #[serde(with = "crate::number::named")]
    pub metrics: Vec<(String, f64)>,
    /// Whether a run can go on from it.
    pub resumable: bool,
    /// Whether the model is in its deployed form (see [`mmy_nn::reparam`]), which can be tested and used, not trained.
    #[serde(default)]
    pub deployed: bool,
    /// What the hooks remember.
    pub hooks: serde_json::Map<String, Value>,
    /// Recent scalars, for log lines.
    pub messages: MessageHub,
    /// The step that failed right after this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedStep>,
}

impl Manifest {
    /// The version that this program writes.
    pub const FORMAT: u32 = 1;

    /// What can be said of weights that mmy did not train: classes are called by their indices, and there is no config
    /// yet.
    pub fn of_weights(name: &str, num_classes: usize) -> Self {
        Manifest {
            format: Self::FORMAT,
            mmy: env!("CARGO_PKG_VERSION").into(),
            libtorch: mmy_libtorch::VERSION.into(),
            name: name.to_owned(),
            config: String::new(),
            classes: (0..num_classes).map(|it| it.to_string()).collect(),
            progress: Progress::default(),
            seed: 0,
            threads: mmy_torch::threads::intra_op(),
            data: Vec::new(),
            parts: BTreeMap::new(),
            metrics: Vec::new(),
            resumable: false,
            deployed: false,
            hooks: serde_json::Map::new(),
            messages: MessageHub::default(),
            failed: None,
            plugins: Vec::new(),
        }
    }

    /// The plugins whose parts the config names and that this program lacks.
    pub fn missing_plugins(&self) -> Vec<&Plugin> {
        let here = mmy_registry::plugins();
        let used = self.plugins.iter().filter(|it| self.parts.contains_key(&it.name));
        used.filter(|it| here.iter().all(|other| other.name != it.name)).collect()
    }
}

/// A checkpoint in memory.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// What it says of itself; `None` for a file of weights that mmy did not write.
    pub manifest: Option<Manifest>,
    /// The model's tensors; averaged ones where weights are averaged.
    pub model: Vec<(String, Tensor)>,
    /// The raw weights, where `model` holds averaged ones.
    pub raw: Vec<(String, Tensor)>,
    /// The optimiser's tensors.
    pub optimizer: Vec<(String, Tensor)>,
    /// The batch of a step that failed right after this state.
    pub batch: Vec<(String, Tensor)>,
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
    /// The content is not what was written.
    #[error("`{}` is damaged: its content is not what was written into it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
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

impl CheckpointError {
    /// The file that it is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(FileError::Io { path, .. } | FileError::Format { path, .. })
            | Self::Write { path, .. }
            | Self::Damaged { path }
            | Self::Manifest { path, .. } => path,
        }
    }
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
        let temporary = tempfile::Builder::new().prefix(WRITING).tempdir_in(folder).map_err(failed)?;
        let rows: Vec<_> = self.rows().map(|(name, tensor)| (name, tensor.shallow_clone())).collect();
        let mut metadata = HashMap::new();
        if let Some(manifest) = &self.manifest {
            let text = serde_json::to_string(manifest).expect("plain data serialises");
            metadata.insert(DIGEST.to_owned(), digest::content(&text, self.rows()));
            metadata.insert(MANIFEST.to_owned(), text);
        }
        let whole = temporary.path().join("whole");
        write_safetensors(&whole, rows.iter().map(|(name, tensor)| (name.as_str(), tensor)), metadata).map_err(
            |error| match error {
                // The name that counts is the one the file was to get.
                FileError::Io { source, .. } => failed(source),
                other => other.into(),
            },
        )?;
        publish(&whole, path).map_err(failed)
    }

    /// All tensors under the names that they have in the file.
    fn rows(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let parts = [("", &self.model), (RAW, &self.raw), (OPTIMIZER, &self.optimizer), (BATCH, &self.batch)];
        parts.into_iter().flat_map(|(prefix, rows)| rows.iter().map(move |(name, it)| (format!("{prefix}{name}"), it)))
    }

    /// Reads a file that [`Checkpoint::write`], any other writer of safetensors, or `torch.save` made.
    ///
    /// # Errors
    /// When the file is not there, torn, of a newer form, or not what was written.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let contents = read_weights(path, &Choice::default())?;
        if let Some(remark) = contents.remark() {
            tracing::info!("{}: {remark}", path.display());
        }
        let Contents { tensors, mut metadata, .. } = contents;
        let text = metadata.remove(MANIFEST);
        let manifest = text.as_deref().map(|it| parse(path, it)).transpose()?;
        let mut out = Checkpoint { manifest, ..Checkpoint::default() };
        for (name, tensor) in tensors {
            let parts = [(RAW, &mut out.raw), (OPTIMIZER, &mut out.optimizer), (BATCH, &mut out.batch)];
            let part = parts.into_iter().find_map(|(prefix, rows)| Some((name.strip_prefix(prefix)?.to_owned(), rows)));
            match part {
                Some((name, rows)) => rows.push((name, tensor)),
                None => out.model.push((name, tensor)),
            }
        }
        // Neither of the two is ever alone.
        if metadata.remove(DIGEST) != text.map(|it| digest::content(&it, out.rows())) {
            return Err(CheckpointError::Damaged { path: path.to_owned() });
        }
        Ok(out)
    }

    /// Reads what a checkpoint says of itself, and none of its tensors.
    ///
    /// # Errors
    /// As [`Checkpoint::read`], except that damage to the tensors goes unseen.
    pub fn read_manifest(path: &Path) -> Result<Option<Manifest>, CheckpointError> {
        let metadata = read_metadata(path)?;
        metadata.get(MANIFEST).map(|it| parse(path, it)).transpose()
    }
}

fn parse(path: &Path, text: &str) -> Result<Manifest, CheckpointError> {
    let unreadable = |reason: String| CheckpointError::Manifest { path: path.to_owned(), reason };
    let value: Value = serde_json::from_str(text).map_err(|e| unreadable(e.to_string()))?;
    let format = &value["format"];
    if format.as_u64().is_none_or(|it| it > u64::from(Manifest::FORMAT)) {
        return Err(unreadable(format!(
            "it is of form {format}, this mmy ({}) knows forms up to {}: use a newer mmy",
            env!("CARGO_PKG_VERSION"),
            Manifest::FORMAT
        )));
    }
    serde_json::from_value(value).map_err(|e| unreadable(e.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: Manifest::FORMAT,
            mmy: "0".into(),
            libtorch: "0".into(),
            name: "n".into(),
            config: "a = 1".into(),
            classes: vec!["c".into()],
            progress: Progress { epoch: 2, ..Progress::default() },
            seed: 7,
            threads: 1,
            data: Vec::new(),
            parts: BTreeMap::new(),
            metrics: vec![("m".into(), 0.25)],
            resumable: true,
            deployed: false,
            hooks: serde_json::Map::new(),
            messages: MessageHub::default(),
            failed: None,
            plugins: Vec::new(),
        }
    }

    fn checkpoint(x: f32) -> Checkpoint {
        let rows = |name: &str| vec![(name.to_owned(), Tensor::from_slice(&[x, 2.0]))];
        Checkpoint {
            manifest: Some(manifest()),
            model: rows("w"),
            raw: rows("w"),
            optimizer: rows("buffer.w"),
            batch: vec![],
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.safetensors");
        checkpoint(1.0).write(&path).unwrap();
        checkpoint(3.0).write(&path).unwrap();
        let back = Checkpoint::read(&path).unwrap();
        assert_eq!((back.manifest.as_ref(), &back.raw[0].1), (Some(&manifest()), &Tensor::from_slice(&[3f32, 2.0])));
        assert_eq!(Checkpoint::read_manifest(&path).unwrap(), Some(manifest()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_flipped_bit_anywhere_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.safetensors");
        checkpoint(1.0).write(&path).unwrap();
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 4;
            fs::write(&path, torn).unwrap();
            // A blank of the header's padding may change; what is in the file may not.
            match Checkpoint::read(&path) {
                Err(_) => {}
                Ok(it) => assert_eq!((it.manifest, &it.model), (Some(manifest()), &checkpoint(1.0).model), "byte {at}"),
            }
        }
        for length in 0..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(Checkpoint::read(&path).is_err(), "{length} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = checkpoint(1.0).write(&dir.path().join("absent/c.safetensors")).unwrap_err();
        assert!(error.to_string().contains("absent/c.safetensors"), "{error}");
    }
}
