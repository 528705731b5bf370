//! libtorch's default generator on the CPU, from which dropout and random tensors draw.

use tch::Tensor;

use crate::{Error, ffi};

/// The whole state as bytes, to be put into a checkpoint or taken along to where a draw is repeated.
///
/// # Errors
///
/// When libtorch cannot give it.
pub fn state() -> Result<Vec<u8>, Error> {
    let mut state = std::ptr::null_mut();
    // SAFETY: writes one pointer to our stack.
    unsafe { ffi::check(ffi::mmy_rng_state(&mut state))? };
    // SAFETY: on success `state` is a new tensor that is ours.
    let state = unsafe { ffi::adopt(state) }.unwrap_or_default();
    Ok(Vec::try_from(&state)?)
}

/// Brings a state back that [`state`] gave.
///
/// # Errors
///
/// For bytes that are no state of a generator.
pub fn set_state(state: &[u8]) -> Result<(), Error> {
    let state = Tensor::f_from_slice(state)?;
    // SAFETY: the tensor lives through the call, which copies it.
    unsafe { ffi::check(ffi::mmy_rng_set_state(state.as_ptr())) }
}

/// Starts the generators of all devices from `seed`.
pub fn seed(seed: u64) {
    // libtorch takes the bits of a signed number.
    tch::manual_seed(seed as i64);
}

/// The seed from which the generator was started.
///
/// # Errors
///
/// When libtorch cannot give it.
pub fn initial_seed() -> Result<u64, Error> {
    let mut seed = 0;
    // SAFETY: writes one integer to our stack.
    unsafe { ffi::check(ffi::mmy_rng_initial_seed(&mut seed))? };
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    // The generator belongs to the process: one test, so that no other draws in between.
    #[test]
    fn draws_repeat_from_a_state() -> Result<(), Error> {
        let draw = || Tensor::randn([7], (Kind::Float, Device::Cpu));
        seed(u64::MAX - 1);
        assert_eq!(initial_seed()?, u64::MAX - 1);
        let first = draw();
        let between = state()?;
        let second = draw();
        set_state(&between)?;
        assert_eq!(draw(), second);
        seed(u64::MAX - 1);
        assert_eq!(draw(), first);
        assert_ne!(first, second);
        let before = state()?;
        assert!(set_state(&between[1..]).is_err());
        assert!(set_state(&[]).is_err());
        assert_eq!(state()?, before);
        Ok(())
    }
}
