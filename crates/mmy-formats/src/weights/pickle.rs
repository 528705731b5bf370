//! A pickle machine that can only put values together.
//!
//! Python's `pickle` is a program: it may name any function and call it. This machine knows every instruction of
//! protocols 0 to 5 and calls nothing. What PyTorch's own functions would have returned (a tensor over a storage, a
//! parameter, an ordered dictionary) is built here as plain data; of everything else the name, the arguments
//! and the state are kept ([`Object`]), so that the tensors of a pickled module can be found in it.
//!
//! Values lie in one list and refer to each other by number, so that cycles and values that are used a million times
//! cost nothing. An instruction adds a few values at most, hence memory grows with the pickle's length alone, and there
//! is a limit on top.

mod machine;
mod source;
mod torch;
mod value;

use std::io::Read;

pub use value::{Id, Name, Object, Storage, Tensor, Value, Values};

use machine::Machine;
use source::Source;

/// Bounds of what one pickle may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the pickle.
    pub bytes: u64,
    /// Values, entries on the stack, and entries of the memo.
    pub values: usize,
}

impl Limits {
    /// Far above any checkpoint: mmengine's, with all of its history, have some ten thousand values.
    pub const DEFAULT: Limits = Limits { bytes: 256 << 20, values: 4 << 20 };
}

/// Why a pickle cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PickleError {
    /// The reader failed or ended early.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// An instruction that cannot be followed.
    #[error("byte {at} of the pickle: {reason}")]
    At {
        /// Its place.
        at: u64,
        /// Why.
        reason: String,
    },
}

/// Reads one pickle to its end and returns what it describes, with all values that were built on the way.
///
/// Nothing behind the pickle's last instruction is read.
///
/// # Errors
/// When it ends early, asks for more than `limits`, or holds an instruction that makes no sense.
pub fn read(reader: &mut impl Read, limits: Limits) -> Result<(Id, Values), PickleError> {
    let mut source = Source::new(reader, limits.bytes);
    let mut machine = Machine::new(limits);
    let result = machine.run(&mut source);
    match result {
        Ok(root) => Ok((root, machine.into_values())),
        Err(machine::Fault::Io(error)) => Err(error.into()),
        Err(machine::Fault::Bad(reason)) => Err(PickleError::At { at: source.instruction(), reason }),
    }
}

#[cfg(test)]
mod tests;
