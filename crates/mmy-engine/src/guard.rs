//! libtorch out of memory, told as an error.
//!
//! tch's plain functions panic with libtorch's message, its `f_` functions return it; either way what a user has to know
//! is that memory ran out, and what to lower.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use crate::{EngineError, error::Result};

/// Whether libtorch says in this text that it got no memory.
pub fn is_out_of_memory(text: &str) -> bool {
    ["DefaultCPUAllocator", "can't allocate memory", "not enough memory", "bad_alloc"]
        .iter()
        .any(|it| text.contains(it))
}

/// The bytes that could not be had, where the text names them.
fn asked(text: &str) -> Option<u64> {
    let rest = text.split_once("tried to allocate ")?.1;
    rest.split_whitespace().next()?.parse().ok()
}

/// Runs `work`, which computes with pictures of `(batch, 3, height, width)`. A lack of memory becomes
/// [`EngineError::OutOfMemory`]; any other panic goes on.
pub(crate) fn guarded<T>(shape: &[i64], work: impl FnOnce() -> Result<T>) -> Result<T> {
    let lack = |text: &str| {
        is_out_of_memory(text).then(|| EngineError::OutOfMemory { shape: shape.to_vec(), asked: asked(text) })
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Err(error)) => Err(lack(&error.to_string()).unwrap_or(error)),
        Ok(done) => done,
        Err(panic) => match lack(message(&*panic)) {
            Some(error) => Err(error),
            None => resume_unwind(panic),
        },
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorch_without_memory_is_an_error() {
        // More than any machine's addresses reach.
        let shape = [1 << 20, 1 << 20, 1 << 10];
        let options = (tch::Kind::Float, tch::Device::Cpu);
        let plain = guarded(&[2, 3, 4, 4], || Ok(tch::Tensor::zeros(shape, options)));
        let fallible = guarded(&[2, 3, 4, 4], || Ok(tch::Tensor::f_zeros(shape, options)?));
        for error in [plain.unwrap_err(), fallible.unwrap_err()] {
            assert!(matches!(error, EngineError::OutOfMemory { asked: Some(0x4_0000_0000_0000..), .. }), "{error:?}");
            assert!(error.to_string().contains("`batch_size`"), "{error}");
        }
    }

    #[test]
    fn other_panics_go_on() {
        let panic = catch_unwind(|| guarded(&[], || -> Result<()> { panic!("something else") })).unwrap_err();
        assert_eq!(message(&*panic), "something else");
    }
}
