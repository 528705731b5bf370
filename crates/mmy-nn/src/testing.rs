//! The rule that fills weights and inputs for comparisons with reference numbers, and a reader for those numbers.
//!
//! A value is a function of the tensor's name and of its place in it, through a 32-bit integer hash that is exact in any
//! language, so that a reference implementation and this one can be given the same weights without a file of them:
//!
//! - `x = index · 0x9E3779B1 + crc32(name)`, then murmur3's finaliser; `u = (x >> 8) / 2²⁴`, `v = 2u − 1`;
//! - `running_var` 1 + v/2; `running_mean` v/10; `gamma`, `rate1`, `rate2` 1/2 + v/4; `alpha…` 1/2 + v/10; two and more
//!   axes v · √(3 / fan_in) · gain; `bias` v/10; what is left 1 + v/4; `num_batches_tracked` 0.

use std::{
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
            // The anchors of a layer list's detecting line are not weights; the goldens leave them as they are built.
            if entry.name.rsplit('.').next() == Some("anchors") {
                continue;
            }
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

/// Holds the gradients of every trainable parameter against `grad.…` entries of a reference: whole ones, or samples at
/// `k · n / samples` and sums of larger ones.
///
/// A gradient may differ by `tolerance` times the largest number of the reference's tensor; of a sampled one the file
/// does not tell it, and three times its root mean square, which some number of a large tensor exceeds, stands for it.
/// Where that number is no more than a hundred-thousandth of the model's largest gradient, what is there is rounding (the true gradient of
/// a bias in front of a batch norm is zero), and it may differ by `tolerance` times the model's largest. Nor is anything
/// held closer than two roundings of the model's largest, since small gradients are sums of large numbers that cancel.
///
/// # Panics
/// When one differs by more, or the reference has gradients of none of the parameters.
#[track_caller]
pub fn assert_gradients(store: &ParamStore, reference: &StateDict, tolerance: f64) {
    let largest = |t: &Tensor| if t.numel() == 0 { 0.0 } else { t.abs().max().double_value(&[]) };
    let wanted = |name: &str| {
        let whole = reference.get(&format!("grad.{name}"));
        whole.or_else(|| reference.get(&format!("grad.sample.{name}")))
    };
    let held: Vec<_> = store.entries().into_iter().filter(|it| it.trainable() && wanted(&it.name).is_some()).collect();
    assert!(!held.is_empty(), "the reference has gradients of none of the parameters");
    let scale = held.iter().filter_map(|it| wanted(&it.name)).map(largest).fold(0.0, f64::max);
    let mut wrong = Vec::new();
    for entry in &held {
        let (Some(want), grad) = (wanted(&entry.name), entry.tensor.grad()) else { continue };
        if !grad.defined() {
            wrong.push(format!("{}: none", entry.name));
            continue;
        }
        let n = entry.tensor.numel() as f64;
        let sums = reference.get(&format!("grad.stats.{}", entry.name));
        let rms = sums.map_or(0.0, |it| (it.double_value(&[2]) / n).sqrt());
        let own = if want.numel() as f64 == n { largest(want) } else { largest(want).max(3.0 * rms) };
        let roundings = 2.0 * f64::from(f32::EPSILON) * scale;
        let allowed = (tolerance * if own > scale * 1e-5 { own } else { scale }).max(roundings);
        let flat = grad.contiguous().view([-1]);
        let samples = want.numel() as i64;
        let places: Vec<_> = (0..samples).map(|k| k * flat.size()[0] / samples).collect();
        let error = largest(&(flat.index_select(0, &Tensor::from_slice(&places)) - want.contiguous().view([-1])));
        if error.is_nan() || error > allowed {
            wrong.push(format!("{}: off by {error:e} of {own:e}", entry.name));
        }
        if let Some(sums) = sums {
            let flat = flat.to_kind(tch::Kind::Double);
            let (sum, want) = (flat.abs().sum(tch::Kind::Double).double_value(&[]), sums.double_value(&[1]));
            if (sum - want).abs() > (tolerance * want).max(allowed * n) {
                wrong.push(format!("{}: sum of absolutes {sum:e}, not {want:e}", entry.name));
            }
        }
    }
    let (count, of) = (wrong.len(), held.len());
    assert!(wrong.is_empty(), "{count} of {of} gradients, largest {scale:e}:\n{}", wrong.join("\n"));
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
