//! Mixed precision: regions in which libtorch runs convolutions and matrix products in a shorter kind.
//!
//! A region covers the forward pass and the loss; the backward pass runs outside it, in the kinds that the forward pass
//! chose. Parameters stay as they are: their casts are cached and the cache is emptied where the outermost region ends,
//! so an optimiser's step belongs outside.

use std::marker::PhantomData;

use tch::{Device, Kind};

use crate::{Error, ffi};

// Numbers of `c10::ScalarType`.
const HALF: i32 = 5;
const BFLOAT16: i32 = 15;

/// Runs `body` with operations on `device` in `kind`, [`Kind::BFloat16`] or [`Kind::Half`].
///
/// # Errors
///
/// As [`Autocast::enabled`].
///
/// ```
/// use mmy_torch::autocast::autocast;
/// use tch::{Device, Kind, Tensor};
///
/// let x = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
/// let y = autocast(Device::Cpu, Kind::BFloat16, || x.matmul(&x))?;
/// assert_eq!(y.kind(), Kind::BFloat16);
/// # Ok::<(), mmy_torch::Error>(())
/// ```
pub fn autocast<T>(device: Device, kind: Kind, body: impl FnOnce() -> T) -> Result<T, Error> {
    let _region = Autocast::enabled(device, kind)?;
    Ok(body())
}

/// Whether operations on `device` are cast on this thread.
///
/// # Errors
///
/// When libtorch has no autocast for the device.
pub fn is_enabled(device: Device) -> Result<bool, Error> {
    Ok(State::current(device)?.enabled)
}

/// The autocast state of a device on this thread: to be taken along to where a forward pass is run again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    device: Device,
    enabled: bool,
    dtype: i32,
}

impl State {
    /// The state as it is now.
    ///
    /// # Errors
    ///
    /// When libtorch has no autocast for the device.
    pub fn current(device: Device) -> Result<Self, Error> {
        let (mut enabled, mut dtype) = (0, 0);
        // SAFETY: writes two integers on our stack.
        unsafe {
            ffi::check(ffi::mmy_autocast_get(device_type(device), &mut enabled, &mut dtype))?;
        }
        Ok(Self { device, enabled: enabled != 0, dtype })
    }

    /// Whether operations are cast.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// The kind to which operations are cast; `None` when they are not.
    pub fn kind(&self) -> Option<Kind> {
        match (self.enabled, self.dtype) {
            (true, HALF) => Some(Kind::Half),
            (true, BFLOAT16) => Some(Kind::BFloat16),
            _ => None,
        }
    }

    /// Brings this state about until the region is dropped.
    ///
    /// # Errors
    ///
    /// When libtorch has no autocast for the device.
    pub fn enter(self) -> Result<Autocast, Error> {
        let before = Self::current(self.device)?;
        self.set()?;
        // SAFETY: counts a thread-local nesting level up; `Drop` counts it down.
        let entered = unsafe { ffi::check(ffi::mmy_autocast_enter()) };
        let region = Autocast { before, _thread: PhantomData };
        entered.map(|()| region)
    }

    fn set(&self) -> Result<(), Error> {
        // SAFETY: writes thread-local settings.
        unsafe { ffi::check(ffi::mmy_autocast_set(device_type(self.device), self.enabled.into(), self.dtype)) }
    }
}

/// A region with its own autocast state, which ends where the value is dropped, also when the thread panics.
///
/// Regions nest. The outermost one empties the cache of casts when it ends.
#[must_use = "the region lasts as long as the value"]
#[derive(Debug)]
pub struct Autocast {
    before: State,
    // The state belongs to the thread.
    _thread: PhantomData<*const ()>,
}

impl Autocast {
    /// Casts operations on `device` to `kind`, [`Kind::BFloat16`] or [`Kind::Half`].
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for another kind; when libtorch has no autocast for the device.
    pub fn enabled(device: Device, kind: Kind) -> Result<Self, Error> {
        let dtype = match kind {
            Kind::Half => HALF,
            Kind::BFloat16 => BFLOAT16,
            _ => {
                return Err(Error::Argument(format!("autocast to {kind:?}: only BFloat16 and Half")));
            }
        };
        let state = State { device, enabled: true, dtype };
        state.enter()
    }

    /// Casts nothing, as a loss in full precision needs within a region.
    ///
    /// # Errors
    ///
    /// When libtorch has no autocast for the device.
    pub fn disabled(device: Device) -> Result<Self, Error> {
        let mut state = State::current(device)?;
        state.enabled = false;
        state.enter()
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // The calls succeeded with the same device when the region began, so there is nothing to report.
        let _ = self.before.set();
        // SAFETY: counts the thread-local nesting level down that `enter` counted up.
        let _ = unsafe { ffi::check(ffi::mmy_autocast_leave()) };
    }
}

/// The number of a device in `c10::DeviceType`.
fn device_type(device: Device) -> i32 {
    match device {
        Device::Cpu => 0,
        Device::Cuda(_) => 1,
        Device::Vulkan => 10,
        Device::Mps => 13,
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use tch::Tensor;

    use super::*;

    /// The kind of a matrix product, which tells what autocast does.
    fn product() -> Kind {
        let x = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
        x.matmul(&x).kind()
    }

    #[test]
    fn regions_nest_and_end() -> Result<(), Error> {
        assert_eq!(product(), Kind::Float);
        autocast(Device::Cpu, Kind::BFloat16, || {
            assert_eq!(product(), Kind::BFloat16);
            {
                let _off = Autocast::disabled(Device::Cpu)?;
                assert_eq!(product(), Kind::Float);
                assert!(!is_enabled(Device::Cpu)?);
                autocast(Device::Cpu, Kind::Half, || assert_eq!(product(), Kind::Half))?;
                assert_eq!(product(), Kind::Float);
            }
            assert_eq!(product(), Kind::BFloat16);
            Ok::<(), Error>(())
        })??;
        assert_eq!(product(), Kind::Float);
        assert!(!is_enabled(Device::Cpu)?);
        Ok(())
    }

    #[test]
    fn a_panic_ends_the_region() -> Result<(), Error> {
        let outcome = catch_unwind(|| autocast(Device::Cpu, Kind::BFloat16, || panic!("within the region")));
        assert!(outcome.is_err());
        assert_eq!(product(), Kind::Float);
        Ok(())
    }

    #[test]
    fn a_state_can_be_taken_along() -> Result<(), Error> {
        let state = autocast(Device::Cpu, Kind::BFloat16, || State::current(Device::Cpu))??;
        assert!(state.is_enabled());
        let _region = state.enter()?;
        assert_eq!(product(), Kind::BFloat16);
        Ok(())
    }

    #[test]
    fn other_kinds_are_refused() {
        let error = autocast(Device::Cpu, Kind::Double, || ()).unwrap_err();
        assert_eq!(error.to_string(), "autocast to Double: only BFloat16 and Half");
    }

    /// A parameter changed after the outermost region is cast anew in the next one.
    #[test]
    fn the_cache_ends_with_the_outermost_region() -> Result<(), Error> {
        let x = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
        let mut weight = x.copy().set_requires_grad(true);
        let run = |weight: &Tensor| autocast(Device::Cpu, Kind::BFloat16, || x.matmul(weight).double_value(&[0, 0]));
        assert_eq!(run(&weight)?, 2.0);
        tch::no_grad(|| {
            let _ = weight.g_mul_scalar_(3.0);
        });
        assert_eq!(run(&weight)?, 6.0);
        Ok(())
    }
}
