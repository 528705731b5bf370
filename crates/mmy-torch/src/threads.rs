//! libtorch's thread pools.
//!
//! Sums depend on how many threads share them, so a run fixes the count once and records it.
//!
//! The threads of one operation wait for each other by spinning. Where loader threads want the same cores, a thread that
//! is put aside holds up all others: two threads on two busy cores took several times as long for a training step as one
//! did. So leave a core to each loader thread that works all the time.

use crate::{Error, ffi};

/// Threads that share one operation.
pub fn intra_op() -> usize {
    // SAFETY: reads a setting.
    usize::try_from(unsafe { ffi::mmy_threads_get() }).unwrap_or(1)
}

/// Sets the threads that share one operation, at least 1. It holds for the thread that calls it and, where libtorch
/// was not used yet, for those that use it first later.
///
/// # Errors
///
/// For zero.
pub fn set_intra_op(count: usize) -> Result<(), Error> {
    // SAFETY: writes a setting.
    unsafe { ffi::check(ffi::mmy_threads_set(number(count)?)) }
}

/// Threads on which independent operations of a scripted module run.
pub fn inter_op() -> usize {
    // SAFETY: reads a setting.
    usize::try_from(unsafe { ffi::mmy_threads_get_interop() }).unwrap_or(1)
}

/// Sets the threads for independent operations, at least 1. Once only, before any of them has run.
///
/// # Errors
///
/// For zero, and when the pool stands already.
pub fn set_inter_op(count: usize) -> Result<(), Error> {
    // SAFETY: writes a setting.
    unsafe { ffi::check(ffi::mmy_threads_set_interop(number(count)?)) }
}

/// Lets every other thread of the machine go before the calling one, as far as the system can tell threads apart
/// (Linux). For threads that prepare data: a thread of libtorch that has to wait for a core holds up the whole team.
pub fn give_way() {
    // SAFETY: changes a number that the kernel keeps for this thread; a refusal leaves it as it was.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, libc::gettid() as libc::id_t, 19);
    }
}

fn number(count: usize) -> Result<i32, Error> {
    match i32::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(Error::Argument(format!("{count} threads: at least 1 is needed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_set_and_checked() -> Result<(), Error> {
        let before = intra_op();
        set_intra_op(1)?;
        assert_eq!(intra_op(), 1);
        set_intra_op(before)?;
        assert_eq!(intra_op(), before);
        assert!(set_intra_op(0).is_err());
        assert!(set_inter_op(0).is_err());
        set_inter_op(3)?;
        assert_eq!(inter_op(), 3);
        let error = set_inter_op(2).unwrap_err().to_string();
        assert!(error.contains("cannot set number of interop threads"), "{error}");
        Ok(())
    }
}
