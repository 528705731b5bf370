//! Named tensors in safetensors files.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use safetensors::{Dtype, View, tensor::Metadata};
use tch::{Kind, Tensor};

use crate::StateDict;

/// Longest header that is read, in bytes; the format's own limit.
const MAX_HEADER: u64 = 100_000_000;

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
    /// The file is not what its name says.
    #[error("{}: not a safetensors file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The content of a safetensors file.
#[derive(Debug, Default)]
pub struct Contents {
    /// The tensors.
    pub tensors: StateDict,
    /// The free texts of the header.
    pub metadata: HashMap<String, String>,
}

/// Reads the free texts of a safetensors file's header, and none of its tensors.
///
/// # Errors
/// When the file cannot be read, or its header contradicts itself or the file's length.
pub fn read_metadata(path: impl AsRef<Path>) -> Result<HashMap<String, String>, FileError> {
    let path = path.as_ref();
    let io = |source| FileError::Io { path: path.to_owned(), source };
    let bad = |reason: String| FileError::Format { path: path.to_owned(), reason };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let header = header(&mut BufReader::new(file), length).map_err(|it| it.unwrap_or_else(bad, io))?;
    Ok(header.metadata().clone().unwrap_or_default())
}

/// Reads a safetensors file, one tensor at a time.
///
/// # Errors
/// When the file cannot be read, is truncated or too long, has a header that contradicts itself, or holds numbers of a
/// kind that libtorch does not compute with.
pub fn read_safetensors(path: impl AsRef<Path>) -> Result<Contents, FileError> {
    let path = path.as_ref();
    let io = |source| FileError::Io { path: path.to_owned(), source };
    let bad = |reason: String| FileError::Format { path: path.to_owned(), reason };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut file = BufReader::with_capacity(1 << 20, file);
    let header = header(&mut file, length).map_err(|it| it.unwrap_or_else(bad, io))?;

    let mut contents = Contents { metadata: header.metadata().clone().unwrap_or_default(), ..Contents::default() };
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else { continue };
        let kind = kind(info.dtype).ok_or_else(|| bad(format!("`{name}` holds {}, which is not known", info.dtype)))?;
        let shape: Option<Vec<i64>> = info.shape.iter().map(|&it| i64::try_from(it).ok()).collect();
        let shape = shape.ok_or_else(|| bad(format!("`{name}` has an impossible shape")))?;
        // The header was held against the file's length, so that this cannot be asked to reserve more than that.
        let mut bytes = vec![0; info.data_offsets.1 - info.data_offsets.0];
        file.read_exact(&mut bytes).map_err(io)?;
        let tensor = Tensor::f_from_data_size(&bytes, &shape, kind).map_err(|it| bad(format!("`{name}`: {it}")))?;
        contents.tensors.insert(name, tensor);
    }
    Ok(contents)
}

/// Either the file's fault or the system's.
enum Fault {
    Format(String),
    Io(io::Error),
}

impl Fault {
    fn unwrap_or_else<E>(self, bad: impl FnOnce(String) -> E, io: impl FnOnce(io::Error) -> E) -> E {
        match self {
            Fault::Format(reason) => bad(reason),
            Fault::Io(source) => io(source),
        }
    }
}

fn header(file: &mut impl Read, file_length: u64) -> Result<Metadata, Fault> {
    let mut size = [0; 8];
    if file_length < 8 {
        return Err(Fault::Format(format!("{file_length} bytes do not hold a header")));
    }
    file.read_exact(&mut size).map_err(Fault::Io)?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER || size > file_length - 8 {
        return Err(Fault::Format(format!("a header of {size} bytes in a file of {file_length}")));
    }
    let mut json = vec![0; size as usize];
    file.read_exact(&mut json).map_err(Fault::Io)?;
    let header: Metadata = serde_json::from_slice(&json).map_err(|it| Fault::Format(it.to_string()))?;
    let expected = (8 + size).checked_add(header.data_len() as u64);
    if expected != Some(file_length) {
        return Err(Fault::Format(format!(
            "the header tells of {} bytes of numbers, the file has {}",
            header.data_len(),
            file_length - 8 - size
        )));
    }
    Ok(header)
}

/// Writes named tensors to a new file beside `path` and renames it; one tensor is copied at a time.
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
    fn hostile_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let with_header = |json: &str, data: usize| {
            let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
            bytes.extend(json.as_bytes());
            bytes.extend(vec![0; data]);
            bytes
        };
        let one = |dtype: &str, shape: &str, end: &str| {
            format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
        };
        let cases: [(&str, Vec<u8>); 11] = [
            ("empty", vec![]),
            ("short", vec![1, 0, 0]),
            ("header beyond the end", u64::MAX.to_le_bytes().to_vec()),
            ("not JSON", with_header("{{{", 0)),
            ("deep JSON", with_header(&"[".repeat(100_000), 0)),
            ("truncated", with_header(&one("F32", "[4]", "16"), 15)),
            ("too long", with_header(&one("F32", "[4]", "16"), 17)),
            ("shape does not fit", with_header(&one("F32", "[5]", "16"), 16)),
            ("shape overflows", with_header(&one("F32", "[4294967296,4294967296,4294967296]", "0"), 0)),
            ("unknown kind", with_header(&one("F8_E4M3", "[4]", "4"), 4)),
            ("negative shape", with_header(&one("F32", "[-1]", "4"), 4)),
        ];
        for (name, bytes) in cases {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(read_safetensors(&path), Err(FileError::Format { .. })), "{name}");
        }
        assert!(matches!(read_safetensors(dir.path().join("absent")), Err(FileError::Io { .. })));
        assert!(read_safetensors(dir.path()).is_err());
    }
}
