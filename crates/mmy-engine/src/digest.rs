//! Fingerprints of tensors and of data sets.

use mmy_data::DatasetSource;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// The BLAKE3 hash of a tensor's kind, shape and numbers in row-major order, as hexadecimal digits.
pub(crate) fn tensor(tensor: &Tensor) -> String {
    let tensor = tensor.detach().contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{:?} {:?}\n", tensor.kind(), tensor.size()).as_bytes());
    hasher.update(&bytes);
    hasher.finalize().to_hex().to_string()
}

/// The hash of a text and of named tensors, in whatever order they come.
pub(crate) fn content<'a>(text: &str, tensors: impl Iterator<Item = (String, &'a Tensor)>) -> String {
    let mut rows: Vec<_> = tensors.map(|(name, it)| format!("{name} {}\n", tensor(it))).collect();
    rows.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
    rows.iter().for_each(|it| {
        hasher.update(it.as_bytes());
    });
    hasher.finalize().to_hex().to_string()
}

/// What tells one data set from another: the pictures' names and sizes and their annotations, in order. What the
/// pictures show is not looked at, nor where they lie, so that a data set may move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// What it is used for: `train`, `val`.
    pub role: String,
    /// Pictures.
    pub pictures: usize,
    /// Annotated objects.
    pub objects: usize,
    /// BLAKE3 over all of it, as hexadecimal digits.
    pub digest: String,
}

impl Fingerprint {
    /// Reads what the data set knows of its pictures; opens none.
    pub fn of(role: &str, source: &dyn DatasetSource) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut objects = 0;
        for class in &source.metainfo().classes {
            hasher.update(class.as_bytes()).update(b"\n");
        }
        for index in 0..source.len() {
            let meta = source.meta(index);
            let name = meta.img_path.file_name().unwrap_or_default();
            hasher.update(name.as_encoded_bytes()).update(b"\n");
            for side in [meta.ori_shape.0, meta.ori_shape.1] {
                hasher.update(&(side as u64).to_le_bytes());
            }
            let truth = source.ground_truth(index);
            objects += truth.len();
            hasher.update(&(truth.len() as u64).to_le_bytes());
            for it in truth {
                hasher.update(&it.label.to_le_bytes()).update(&[u8::from(it.ignore)]);
                it.bbox.xyxy().iter().for_each(|edge| {
                    hasher.update(&edge.to_le_bytes());
                });
            }
        }
        Fingerprint {
            role: role.into(),
            pictures: source.len(),
            objects,
            digest: hasher.finalize().to_hex().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn a_digest_sees_numbers_shape_and_kind_and_not_the_layout() {
        let x = Tensor::arange(24, (Kind::Float, tch::Device::Cpu)).reshape([2, 3, 2, 2]);
        let turned = x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        assert_eq!(tensor(&x), tensor(&turned));
        for other in [x.reshape([2, 3, 4]), x.to_kind(Kind::Double), &x + 1.0] {
            assert_ne!(tensor(&x), tensor(&other));
        }
    }

    #[test]
    fn content_does_not_depend_on_order() {
        let (a, b) = (Tensor::from(1f32), Tensor::from(2f32));
        let of = |text: &str, rows: [(&str, &Tensor); 2]| content(text, rows.into_iter().map(|(n, t)| (n.into(), t)));
        assert_eq!(of("x", [("a", &a), ("b", &b)]), of("x", [("b", &b), ("a", &a)]));
        assert_ne!(of("x", [("a", &a), ("b", &b)]), of("x", [("a", &b), ("b", &a)]));
        assert_ne!(of("x", [("a", &a), ("b", &b)]), of("y", [("a", &a), ("b", &b)]));
    }
}
