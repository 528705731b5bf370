//! Named tensors in safetensors files.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
};

pub use mmy_formats::weights::{Choice, Format, Origin};
use mmy_formats::weights::{Weights, WeightsError};
use safetensors::{Dtype, View};
use tch::{Kind, Tensor};

use crate::StateDict;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what it is taken for.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The content of a file of weights.
#[derive(Debug)]
pub struct Contents {
    /// The tensors.
    pub tensors: StateDict,
    /// The free texts of a safetensors header.
    pub metadata: HashMap<String, String>,
    /// How the file is written.
    pub format: Format,
    /// Where in a PyTorch checkpoint the tensors were; what was left out.
    pub origin: Origin,
}

impl Contents {
    /// What a user may want to know of how a foreign file was taken; nothing of a plain one.
    pub fn remark(&self) -> Option<String> {
        let origin = &self.origin;
        let mut out = Vec::new();
        if self.format != Format::Safetensors {
            out.push(format!("a {}", self.format.name()));
        }
        if !origin.taken.is_empty() {
            out.push(format!("took `{}`", origin.taken));
        }
        if !origin.others.is_empty() {
            let others: Vec<_> = origin.others.iter().map(|it| format!("`{}`", it.0)).collect();
            out.push(format!("not {}", others.join(", ")));
        }
        if let Some(prefix) = origin.stripped {
            out.push(format!("without the prefix `{prefix}`"));
        }
        if !origin.skipped.is_empty() {
            out.push(format!("left out what libtorch does not compute with: {}", origin.skipped.join(", ")));
        }
        (!out.is_empty()).then(|| out.join(", "))
    }
}

/// Reads the free texts of a safetensors file's header, and none of its tensors; other files have none.
///
/// # Errors
/// As [`read_weights`].
pub fn read_metadata(path: impl AsRef<Path>) -> Result<HashMap<String, String>, FileError> {
    Ok(open(path.as_ref(), &Choice::default())?.metadata().clone())
}

/// Reads a safetensors file, one tensor at a time.
///
/// # Errors
/// As [`read_weights`], and when the file is of another form.
pub fn read_safetensors(path: impl AsRef<Path>) -> Result<Contents, FileError> {
    let path = path.as_ref();
    let contents = read_weights(path, &Choice::default())?;
    match contents.format {
        Format::Safetensors => Ok(contents),
        other => Err(FileError::Format {
            path: path.to_owned(),
            reason: format!("a {} where a safetensors file is needed", other.name()),
        }),
    }
}

/// Reads a safetensors file or a checkpoint of PyTorch's, whatever its name ends in, one tensor at a time.
///
/// Tensors of kinds that libtorch does not compute with are left out and named in the contents' `origin`.
///
/// # Errors
/// When the file cannot be read, is something else, is torn, or does not hold what `choice` asks for.
pub fn read_weights(path: impl AsRef<Path>, choice: &Choice) -> Result<Contents, FileError> {
    let path = path.as_ref();
    let mut weights = open(path, choice)?;
    let (mut tensors, mut origin) = (StateDict::new(), weights.origin().clone());
    for at in 0..weights.tensors().len() {
        let info = weights.tensors()[at].clone();
        let shape: Vec<_> = info.shape.iter().map(|&it| it as i64).collect();
        let Some(kind) = kind(info.dtype) else {
            origin.skipped.push(info.name);
            continue;
        };
        let bytes = weights.read(at).map_err(|error| at_fault(path, error))?;
        let tensor = Tensor::f_from_data_size(&bytes, &shape, kind).map_err(|error| FileError::Format {
            path: path.to_owned(),
            reason: format!("`{}`: {error}", info.name),
        })?;
        tensors.insert(info.name, tensor);
    }
    Ok(Contents { tensors, metadata: weights.metadata().clone(), format: weights.format(), origin })
}

fn open(path: &Path, choice: &Choice) -> Result<Weights<File>, FileError> {
    let file = File::open(path).map_err(|source| FileError::Io { path: path.to_owned(), source })?;
    Weights::open(file, choice).map_err(|error| at_fault(path, error))
}

fn at_fault(path: &Path, error: WeightsError) -> FileError {
    match error {
        WeightsError::Io(source) => FileError::Io { path: path.to_owned(), source },
        other => FileError::Format { path: path.to_owned(), reason: other.to_string() },
    }
}

/// Writes named tensors; one is copied at a time.
///
/// # Errors
/// When the file cannot be written or a tensor is of a kind that the format does not know.
pub fn write_safetensors<'a>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: HashMap<String, String>,
) -> Result<(), FileError> {
    let path = path.as_ref();
    let bad = |reason: String| FileError::Format { path: path.to_owned(), reason };
    let mut views = Vec::new();
    for (name, tensor) in tensors {
        let dtype = dtype(tensor.kind()).ok_or_else(|| bad(format!("`{name}` is of kind {:?}", tensor.kind())))?;
        let shape = tensor.size().into_iter().map(|it| it as usize).collect();
        views.push((name, TensorBytes { tensor, dtype, shape }));
    }
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => FileError::Io { path: path.to_owned(), source },
        other => bad(other.to_string()),
    })
}

/// A tensor whose bytes are copied, row-major, only while they are written.
struct TensorBytes<'a> {
    tensor: &'a Tensor,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl View for TensorBytes<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let tensor = self.tensor.detach().contiguous();
        let mut bytes = vec![0; self.data_len()];
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        bytes.into()
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.dtype.bitsize() / 8
    }
}

const KINDS: [(Dtype, Kind); 10] = [
    (Dtype::F32, Kind::Float),
    (Dtype::I64, Kind::Int64),
    (Dtype::BF16, Kind::BFloat16),
    (Dtype::F16, Kind::Half),
    (Dtype::F64, Kind::Double),
    (Dtype::BOOL, Kind::Bool),
    (Dtype::U8, Kind::Uint8),
    (Dtype::I8, Kind::Int8),
    (Dtype::I16, Kind::Int16),
    (Dtype::I32, Kind::Int),
];

fn kind(dtype: Dtype) -> Option<Kind> {
    KINDS.iter().find(|it| it.0 == dtype).map(|it| it.1)
}

fn dtype(kind: Kind) -> Option<Dtype> {
    KINDS.iter().find(|it| it.1 == kind).map(|it| it.0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tch::Device;

    use super::*;

    #[test]
    fn every_kind_and_layout_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let numbers = Tensor::arange(24, (Kind::Float, Device::Cpu)).reshape([2, 3, 2, 2]);
        let mut tensors: Vec<_> = KINDS.iter().map(|(d, k)| (d.to_string(), numbers.to_kind(*k))).collect();
        tensors.push(("channels_last".into(), numbers.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])));
        tensors.push(("scalar".into(), Tensor::from(5i64)));
        tensors.push(("empty".into(), Tensor::zeros([0, 4], (Kind::Float, Device::Cpu))));
        let metadata = HashMap::from([("epoch".to_owned(), "3".to_owned())]);
        write_safetensors(&path, tensors.iter().map(|(n, t)| (n.as_str(), t)), metadata.clone()).unwrap();
        let contents = read_safetensors(&path).unwrap();
        assert_eq!((contents.tensors.len(), &contents.metadata), (tensors.len(), &metadata));
        for (name, tensor) in &tensors {
            assert_eq!((contents.tensors[name].kind(), &contents.tensors[name]), (tensor.kind(), tensor), "{name}");
        }
    }

    #[test]
    fn what_pytorch_wrote_is_read_too() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/weights");
        let contents = read_weights(folder.join("kinds.pth"), &Choice::default()).unwrap();
        let numbers = Tensor::arange(12, (Kind::Float, Device::Cpu)).reshape([3, 4]);
        for (name, kind) in [("float16", Kind::Half), ("bfloat16", Kind::BFloat16), ("int8", Kind::Int8)] {
            assert_eq!(
                (contents.tensors[name].kind(), &contents.tensors[name]),
                (kind, &numbers.to_kind(kind)),
                "{name}"
            );
        }
        assert_eq!(contents.tensors["expanded"].size(), [2, 3]);
        assert_eq!(contents.origin.skipped, ["complex64", "uint16", "float8"]);
        let error = read_safetensors(folder.join("kinds.pth")).unwrap_err().to_string();
        assert!(error.ends_with("a PyTorch checkpoint where a safetensors file is needed"), "{error}");
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        fs::write(&path, [9, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        let error = read_safetensors(&path).unwrap_err();
        assert!(matches!(error, FileError::Format { .. }), "{error}");
        assert!(error.to_string().contains("w.safetensors: not a sound safetensors file: a header of 9"), "{error}");
        assert!(matches!(read_safetensors(dir.path().join("absent")), Err(FileError::Io { .. })));
        assert!(read_safetensors(dir.path()).is_err());
    }
}
