//! Files of named tensors: safetensors, and what `torch.save` writes.
//!
//! [`Weights::open`] looks at a file's first bytes, not at its name, and lists what is there; [`Weights::read`] fetches
//! one tensor's numbers. A PyTorch checkpoint is a program for a stack machine ([`pickle`]); the machine here can only
//! put values together. What such a file names of Python's functions and classes stays a name.

mod foreign;
pub mod pickle;
mod safetensors;
mod state;
mod torch;

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read, Seek, SeekFrom},
};

pub use ::safetensors::Dtype;

pub use state::Choice;

/// What is wrong with a file of weights.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It says something that cannot be.
    #[error("not a sound {}: {reason}", format.name())]
    Broken {
        /// What it seems to be.
        format: Format,
        /// What is wrong.
        reason: String,
    },
    /// It is something else.
    #[error("neither a safetensors file nor a PyTorch checkpoint: {0}")]
    Foreign(String),
    /// It is sound, but does not hold what was asked for.
    #[error("{0}")]
    Absent(String),
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON header and numbers.
    Safetensors,
    /// What `torch.save` writes since PyTorch 1.6: a zip archive with a pickle and one entry for each storage.
    TorchZip,
    /// What `torch.save` wrote before: pickles in a row, then the storages.
    TorchLegacy,
}

impl Format {
    /// A name to show.
    pub fn name(self) -> &'static str {
        match self {
            Format::Safetensors => "safetensors file",
            Format::TorchZip => "PyTorch checkpoint",
            Format::TorchLegacy => "PyTorch checkpoint (written before 1.6)",
        }
    }

    pub(crate) fn broken(self, reason: impl ToString) -> WeightsError {
        WeightsError::Broken { format: self, reason: reason.to_string() }
    }
}

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// What its numbers are.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Which storage it looks into; two tensors of one storage share their numbers.
    pub storage: usize,
    /// Numbers of the storage before its first.
    offset: u64,
    /// Numbers of the storage from one index to the next, by dimension.
    stride: Vec<u64>,
}

impl TensorInfo {
    /// How many numbers.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of all numbers, each counted once.
    pub fn bytes(&self) -> usize {
        self.numel() * self.width()
    }

    /// Bytes of one number.
    fn width(&self) -> usize {
        self.dtype.bitsize() / 8
    }

    /// Numbers of the storage up to the last one that is used.
    fn end(&self) -> Option<u64> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let reach = |(&size, &stride): (&usize, &u64)| (size as u64 - 1).checked_mul(stride);
        let last =
            self.shape.iter().zip(&self.stride).map(reach).try_fold(self.offset, |at, it| at.checked_add(it?))?;
        last.checked_add(1)
    }

    fn is_contiguous(&self) -> bool {
        let mut expect = 1u64;
        self.shape.iter().zip(&self.stride).rev().all(|(&size, &stride)| {
            let fits = size == 1 || stride == expect;
            expect = expect.saturating_mul(size as u64);
            fits
        })
    }
}

/// Where a storage's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// As they are, in the file.
    Plain { start: u64, length: u64 },
    /// Deflated, in the file.
    Deflated { start: u64, length: u64, inflated: u64 },
}

impl Place {
    /// Bytes when read.
    fn length(self) -> u64 {
        match self {
            Place::Plain { length, .. } => length,
            Place::Deflated { inflated, .. } => inflated,
        }
    }
}

/// Where in a PyTorch checkpoint the tensors were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The dotted path of the part that was taken; empty for the whole.
    pub taken: String,
    /// Other parts with tensors, and how many each has.
    pub others: Vec<(String, usize)>,
    /// A prefix of every name that was taken off.
    pub stripped: Option<&'static str>,
    /// Tensors of a form that is not read, such as sparse and quantised ones.
    pub skipped: Vec<String>,
    /// Class names, where the checkpoint has them.
    pub classes: Vec<String>,
    /// Functions and classes that the file names, sorted; none of them was called.
    pub names: Vec<String>,
}

/// A file of named tensors whose list is read and whose numbers are not.
#[derive(Debug)]
pub struct Weights<R> {
    reader: R,
    format: Format,
    tensors: Vec<TensorInfo>,
    places: Vec<Place>,
    metadata: HashMap<String, String>,
    origin: Origin,
    /// The inflated storage that was read last.
    inflated: Option<(usize, Vec<u8>)>,
}

impl<R: Read + Seek> Weights<R> {
    /// Reads the list of a file's tensors.
    ///
    /// # Errors
    /// When it is something else, is torn, contradicts itself, or does not hold what `choice` asks for.
    pub fn open(mut reader: R, choice: &Choice) -> Result<Self, WeightsError> {
        let length = reader.seek(SeekFrom::End(0))?;
        reader.rewind()?;
        let mut head = Vec::new();
        reader.by_ref().take(512).read_to_end(&mut head)?;
        reader.rewind()?;
        let weights = match foreign::format(&head, length)? {
            Format::Safetensors => safetensors::open(reader, length, choice)?,
            Format::TorchZip => torch::zipped::open(reader, length, choice)?,
            Format::TorchLegacy => torch::legacy::open(reader, length, choice)?,
        };
        weights.check(length)?;
        Ok(weights)
    }

    /// How the file is written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Its tensors, in its order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The free texts of a safetensors header.
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.metadata
    }

    /// Where the tensors were found.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Holds every tensor against its storage, and all together against the file.
    fn check(&self, file: u64) -> Result<(), WeightsError> {
        // Views of one storage may be many; but a file is not to ask for a hundred times its size.
        let budget = file.saturating_mul(8).saturating_add(64 << 20);
        let broken = |it: &TensorInfo, what: String| self.format.broken(format!("`{}` {what}", it.name));
        let mut names = HashSet::with_capacity(self.tensors.len());
        let mut total = 0u64;
        for it in &self.tensors {
            let place = self.places[it.storage];
            if it.dtype.bitsize() % 8 != 0 {
                return Err(broken(it, format!("holds {}, which is not read", it.dtype)));
            }
            let bytes = it.shape.iter().try_fold(it.width(), |n, &size| n.checked_mul(size));
            let end = it.end().and_then(|numbers| numbers.checked_mul(it.width() as u64));
            match (bytes, end) {
                (Some(bytes), Some(end)) if end <= place.length() => total = total.saturating_add(bytes as u64),
                _ => return Err(broken(it, format!("reaches beyond its {} bytes", place.length()))),
            }
            if !names.insert(&it.name) {
                return Err(broken(it, "is there twice".into()));
            }
        }
        if total > budget {
            return Err(self.format.broken(format!("its tensors would take {total} bytes, the file has {file}")));
        }
        Ok(())
    }

    /// Tensor number `index` in [`tensors`](Self::tensors): its numbers, row by row, little-endian.
    ///
    /// # Errors
    /// When the file cannot be read, or a deflated part of it is broken.
    ///
    /// # Panics
    /// When there is no such tensor.
    pub fn read(&mut self, index: usize) -> Result<Vec<u8>, WeightsError> {
        let it = &self.tensors[index];
        let end = it.end().expect("checked when the file was opened");
        if end == 0 {
            return Ok(Vec::new());
        }
        let width = it.width();
        let (first, past) = (it.offset * width as u64, end * width as u64);
        let bytes = match self.places[it.storage] {
            Place::Plain { start, .. } => {
                self.reader.seek(SeekFrom::Start(start + first))?;
                // `check` held the extent against the storage, and `open` the storage against the file.
                let mut bytes = vec![0; (past - first) as usize];
                self.reader.read_exact(&mut bytes)?;
                bytes
            }
            place @ Place::Deflated { .. } => {
                let all = match self.inflated.take() {
                    Some((storage, all)) if storage == it.storage => all,
                    _ => torch::inflate(&mut self.reader, place).map_err(|error| self.format.broken(error))?,
                };
                let bytes = all[first as usize..past as usize].to_vec();
                self.inflated = Some((it.storage, all));
                bytes
            }
        };
        Ok(if it.is_contiguous() { bytes } else { gather(&bytes, &it.shape, &it.stride, width) })
    }
}

/// The numbers of a view, row by row; `bytes` begin at its first.
fn gather(bytes: &[u8], shape: &[usize], stride: &[u64], width: usize) -> Vec<u8> {
    let numel: usize = shape.iter().product();
    let mut out = Vec::with_capacity(numel * width);
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..numel {
        out.extend_from_slice(&bytes[at * width..(at + 1) * width]);
        // As an odometer: the last index turns fastest.
        for d in (0..shape.len()).rev() {
            index[d] += 1;
            at += stride[d] as usize;
            if index[d] < shape[d] {
                break;
            }
            at -= stride[d] as usize * shape[d];
            index[d] = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests;
