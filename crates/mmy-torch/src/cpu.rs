//! What the processor can do.

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_void};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::available_parallelism;

use crate::ffi;

/// The names of the processor's instruction sets, as libtorch sees them: `avx2`, `avx512_bf16`, `amx_bf16`, …
pub fn features() -> BTreeSet<String> {
    unsafe extern "C" fn visit(context: *mut c_void, name: *const c_char) {
        // Allocation is all that could fail; a name less is no harm.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: `context` is the set below, which nobody else touches during the call; `name` is
            // NUL-terminated text that lives through it.
            let (names, name) = unsafe { (&mut *context.cast::<BTreeSet<String>>(), CStr::from_ptr(name)) };
            names.insert(name.to_string_lossy().into_owned());
        }));
    }
    let mut names = BTreeSet::<String>::new();
    // SAFETY: `visit` is called during this call alone, with the pointer to `names`.
    let outcome = unsafe { ffi::check(ffi::mmy_cpu_features(visit, (&raw mut names).cast::<c_void>())) };
    // A processor that libtorch cannot ask has no features that we could use.
    outcome.map_or_else(|_| BTreeSet::new(), |()| names)
}

/// Whether the processor computes in bfloat16: AMX or AVX512-BF16 on x86, BF16 on ARM.
///
/// Without it, libtorch emulates the kind and mixed precision is slower than single precision.
pub fn has_bf16() -> bool {
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("bf16") {
        return true;
    }
    let features = features();
    ["amx_bf16", "avx512_bf16"].iter().any(|name| features.contains(*name))
}

/// The processor's cores that this process may use, without their hyper-threads; at least 1.
pub fn physical_cores() -> usize {
    let allowed = available_parallelism().map_or(1, NonZero::get);
    num_cpus::get_physical().clamp(1, allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_known() {
        assert!(physical_cores() >= 1);
        let features = features();
        #[cfg(target_arch = "x86_64")]
        {
            assert_eq!(features.contains("avx2"), is_x86_feature_detected!("avx2"), "{features:?}");
            assert_eq!(features.contains("avx512_bf16"), is_x86_feature_detected!("avx512bf16"), "{features:?}");
            if is_x86_feature_detected!("avx512bf16") {
                assert!(has_bf16());
            }
        }
    }
}
