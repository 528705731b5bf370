//! The rule that fills weights and inputs for comparisons with reference numbers, and a reader for those numbers.
//!
//! A value is a function of the tensor's name and of its place in it, through a 32-bit integer hash that is exact in any
//! language, so that a reference implementation and this one can be given the same weights without a file of them:
//!
//! - `x = index · 0x9E3779B1 + crc32(name)`, then murmur3's finaliser; `u = (x >> 8) / 2²⁴`, `v = 2u − 1`;
//! - `running_var` 1 + v/2; `running_mean` v/10; `gamma`, `rate1`, `rate2` 1/2 + v/4; `alpha…` 1/2 + v/10; two and more
//!   axes v · √(3 / fan_in) · gain; `bias` v/10; what is left 1 + v/4; `num_batches_tracked` 0.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use tch::Tensor;

use crate::{ParamStore, StateDict, file::read_safetensors};

/// CRC-32 (IEEE 802.3) of the bytes.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// `n` numbers in `[0, 1)`.
fn units(name: &str, n: usize) -> impl Iterator<Item = f64> {
    let crc = crc32(name.as_bytes());
    (0..n as u32).map(move |i| {
        let mut x = i.wrapping_mul(0x9E37_79B1).wrapping_add(crc);
        x = (x ^ (x >> 16)).wrapping_mul(0x85EB_CA6B);
        x = (x ^ (x >> 13)).wrapping_mul(0xC2B2_AE35);
        f64::from((x ^ (x >> 16)) >> 8) / 16_777_216.0
    })
}

fn tensor(shape: &[i64], values: impl Iterator<Item = f64>) -> Tensor {
    Tensor::from_slice(&values.map(|it| it as f32).collect::<Vec<_>>()).reshape(shape)
}

fn count(shape: &[i64]) -> usize {
    shape.iter().product::<i64>() as usize
}

/// What the rule gives a tensor of that name and shape.
pub fn value(name: &str, shape: &[i64], gain: f64) -> Tensor {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    let (middle, spread) = match leaf {
        "num_batches_tracked" => (0.0, 0.0),
        "running_var" => (1.0, 0.5),
        "running_mean" => (0.0, 0.1),
        "gamma" | "rate1" | "rate2" => (0.5, 0.25),
        "alpha" | "alpha0" | "alpha1" | "alpha2" | "alpha3" => (0.5, 0.1),
        _ if shape.len() >= 2 => (0.0, (3.0 / shape[1..].iter().product::<i64>() as f64).sqrt() * gain),
        "bias" => (0.0, 0.1),
        _ => (1.0, 0.25),
    };
    tensor(shape, units(name, count(shape)).map(|u| middle + spread * (2.0 * u - 1.0)))
}

/// Fills every parameter and buffer of the model by the rule; `prefix` is put in front of each name first.
pub fn fill(store: &ParamStore, gain: f64, prefix: &str) {
    tch::no_grad(|| {
        for entry in store.entries() {
            let mut tensor = entry.tensor.shallow_clone();
            tensor.copy_(&value(&format!("{prefix}{}", entry.name), &tensor.size(), gain));
        }
    });
}

/// An input in `[0, 1)`.
pub fn field(name: &str, shape: &[i64]) -> Tensor {
    tensor(shape, units(name, count(shape)))
}

/// An input in ±`scale`.
pub fn sfield(name: &str, shape: &[i64], scale: f64) -> Tensor {
    tensor(shape, units(name, count(shape)).map(|u| (2.0 * u - 1.0) * scale))
}

/// A file of the workspace's `tests/golden`.
pub fn golden_path(file: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden")).join(file)
}

/// The tensors of `tests/golden/NAME.safetensors`.
///
/// # Panics
/// When the file cannot be read: the test that asked for it has failed.
pub fn golden(name: &str) -> StateDict {
    read_safetensors(golden_path(&format!("{name}.safetensors"))).unwrap_or_else(|it| panic!("{it}")).tensors
}

/// The text of a file of `tests/golden`.
///
/// # Panics
/// When the file cannot be read.
pub fn golden_text(file: &str) -> String {
    let path = golden_path(file);
    fs::read_to_string(&path).unwrap_or_else(|it| panic!("{}: {it}", path.display()))
}

/// Largest |a − b| divided by the largest |b|.
pub fn relative_error(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size(), "shapes differ");
    let (a, b) = (a.detach().to_kind(tch::Kind::Double), b.detach().to_kind(tch::Kind::Double));
    if b.numel() == 0 {
        return 0.0;
    }
    let (difference, largest) = ((a - &b).abs().max().double_value(&[]), b.abs().max().double_value(&[]));
    difference / largest.max(f64::MIN_POSITIVE)
}

/// Holds `a` against a reference `b`: the largest difference may be `tolerance` times the largest |b|.
///
/// # Panics
/// When it is larger or not a number.
#[track_caller]
pub fn assert_close(what: &str, a: &Tensor, b: &Tensor, tolerance: f64) {
    assert_eq!(a.size(), b.size(), "{what}: shapes differ");
    let error = relative_error(a, b);
    assert!(error <= tolerance, "{what}: off by {error:e} of the largest, {tolerance:e} allowed");
}

/// Holds the gradients of every trainable parameter against `grad.…` entries of a reference file: whole ones, or 16
/// samples and three sums of larger ones, beside `prefix` in front of the names.
///
/// Each may differ by `tolerance` times the largest of the reference's own tensor, but never is held to less than
/// `tolerance / 100` times the model's largest gradient: the true gradient of a bias in front of a batch norm is zero
/// and what is there is rounding.
///
/// # Panics
/// When one differs by more, or the file has gradients of none of the parameters.
#[track_caller]
pub fn assert_gradients(store: &ParamStore, reference: &HashMap<String, Tensor>, tolerance: f64) {
    let mut held = 0;
    let all: Vec<_> = store.entries().into_iter().filter(|it| it.trainable()).collect();
    let largest = |t: &Tensor| if t.numel() == 0 { 0.0 } else { t.abs().max().double_value(&[]) };
    let scale = all.iter().map(|it| it.tensor.grad()).filter(Tensor::defined).map(|g| largest(&g)).fold(0.0, f64::max);
    for entry in all {
        let whole = reference.get(&format!("grad.{}", entry.name));
        let Some(want) = whole.or_else(|| reference.get(&format!("grad.sample.{}", entry.name))) else { continue };
        held += 1;
        let grad = entry.tensor.grad();
        assert!(grad.defined(), "{} has no gradient", entry.name);
        let flat = grad.contiguous().flatten(0, -1);
        let got = match whole {
            Some(_) => grad.shallow_clone(),
            None => {
                let n = flat.size()[0];
                let samples = want.size()[0];
                flat.index_select(0, &Tensor::from_slice(&(0..samples).map(|k| k * n / samples).collect::<Vec<_>>()))
            }
        };
        let allowed = tolerance * largest(want).max(scale / 100.0);
        let error = largest(&(got - want));
        assert!(error <= allowed, "gradient of {}: off by {error:e}, {allowed:e} allowed", entry.name);
        if let Some(sums) = reference.get(&format!("grad.stats.{}", entry.name)) {
            let flat = flat.to_kind(tch::Kind::Double);
            let abs = flat.abs().sum(tch::Kind::Double).double_value(&[]);
            let want = sums.double_value(&[1]);
            let allowed = (tolerance * want).max(allowed * flat.numel() as f64);
            assert!((abs - want).abs() <= allowed, "sum of |gradient| of {}: {abs:e}, not {want:e}", entry.name);
        }
    }
    assert!(held > 0, "the reference has gradients of none of the parameters");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_bit_exact() {
        let reference = golden("fill_rule");
        assert_eq!(crc32(b"stem.0.conv.weight"), 1_613_634_546);
        assert!(!reference.is_empty());
        for (name, want) in &reference {
            let got = match name.split_once(':') {
                Some(("field", name)) => field(name, &want.size()),
                Some((_, name)) => sfield(name, &want.size(), 4.0),
                None => value(name, &want.size(), 1.0),
            };
            assert_eq!(&got, want, "{name}");
        }
    }
}
