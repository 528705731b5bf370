//! The C allocator, from which libtorch takes its tensors, and the memory that the process and its tensors hold.

use std::marker::PhantomData;

use crate::{Error, ffi};

/// Keeps freed tensors in the process, so that the next step's tensors are not zeroed by the kernel page by page again.
///
/// glibc gives an allocation above a threshold pages of its own and returns them when it is freed; it does the same with
/// the end of its heap. Both thresholds are raised to their limits. To be called at start, before threads are. Returns
/// whether the settings took; without glibc nothing is done.
pub fn tune_allocator() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // The thresholds are signed 32-bit numbers of bytes.
        let settings =
            [(libc::M_MMAP_THRESHOLD, 1 << 30), (libc::M_TRIM_THRESHOLD, i32::MAX), (libc::M_TOP_PAD, 64 << 20)];
        settings.iter().all(|&(name, value)| {
            // SAFETY: sets a number of the allocator, under its own lock.
            unsafe { libc::mallopt(name, value) == 1 }
        })
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    {
        false
    }
}

/// The most memory that the process held in RAM since its start or [`reset_peak_resident`], in bytes; `None` where the
/// system does not say.
pub fn peak_resident() -> Option<u64> {
    status("VmHWM:")
}

/// The memory that the process holds in RAM now, in bytes; `None` where the system does not say.
pub fn resident() -> Option<u64> {
    status("VmRSS:")
}

/// Starts [`peak_resident`] anew from what is held now. Returns whether the system allows it.
pub fn reset_peak_resident() -> bool {
    // 5 resets the peak, says proc(5).
    cfg!(target_os = "linux") && std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

fn status(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Counts the bytes of the CPU tensors that this thread makes while the value lives, less those of them that go away.
///
/// Unlike the process's own memory this is exact, the same in each run, and knows nothing of what the allocator keeps
/// for later; what oneDNN takes for itself within one operation is not in it.
#[derive(Debug)]
pub struct TensorBytes {
    watch: *mut ffi::Watch,
    // The count belongs to the thread.
    _thread: PhantomData<*const ()>,
}

impl TensorBytes {
    /// Counts from here on, from 0.
    ///
    /// # Errors
    ///
    /// When libtorch has no memory for it.
    pub fn count() -> Result<Self, Error> {
        let mut watch = std::ptr::null_mut();
        // SAFETY: writes one pointer to our stack.
        unsafe { ffi::check(ffi::mmy_memory_watch(&mut watch))? };
        Ok(TensorBytes { watch, _thread: PhantomData })
    }

    /// The most that there was at any time since.
    pub fn peak(&self) -> u64 {
        // SAFETY: the watch lives as long as `self`.
        unsafe { ffi::mmy_memory_peak(self.watch) }.max(0) as u64
    }
}

impl Drop for TensorBytes {
    fn drop(&mut self) {
        // SAFETY: made by `mmy_memory_watch` on this thread, freed once.
        unsafe { ffi::mmy_memory_unwatch(self.watch) };
    }
}

/// Gives memory that was freed back to the system, as far as glibc can; without it nothing is done.
pub fn release_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: walks the allocator's own lists, under its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_shows_what_was_held() {
        assert_eq!(tune_allocator(), cfg!(target_env = "gnu"));
        let size = 256 << 20;
        let before = resident().unwrap();
        let held = vec![1u8; size];
        assert!(std::hint::black_box(&held).iter().all(|&byte| byte == 1));
        let peak = peak_resident().unwrap();
        // Other tests of this process may free up to what they hold themselves, which is a few MB.
        assert!(peak >= before + size as u64 / 2, "{before} {peak}");
        assert!(peak >= resident().unwrap());
    }

    #[test]
    fn tensors_are_counted_to_the_byte() {
        use tch::{Device, Kind, Tensor};
        let make = |n: i64| Tensor::zeros([n], (Kind::Float, Device::Cpu));
        let before = make(1000);
        let count = TensorBytes::count().unwrap();
        let (a, b) = (make(1000), make(500));
        drop((a, before));
        let c = make(900);
        assert_eq!(count.peak(), 4 * 1500);
        drop((b, c));
        assert_eq!(count.peak(), 4 * 1500);
    }
}
