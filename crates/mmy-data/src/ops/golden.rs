//! Golden pictures and numbers of OpenCV and MMYOLO, for tests.

use std::{fs, path::PathBuf};

use mmy_structures::Image;
use safetensors::SafeTensors;

fn folder() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden").into()
}

/// `data_ops.json`.
pub(crate) fn json() -> serde_json::Value {
    serde_json::from_slice(&fs::read(folder().join("data_ops.json")).unwrap()).unwrap()
}

/// A picture of `data_ops.safetensors`.
pub(crate) fn picture(name: &str) -> Image {
    let bytes = fs::read(folder().join("data_ops.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let it = tensors.tensor(name).unwrap();
    Image::new(it.shape()[0], it.shape()[1], it.data().to_vec()).unwrap()
}

/// Rows of four floats of `data_ops.safetensors`.
pub(crate) fn floats<const N: usize>(name: &str) -> Vec<[f32; N]> {
    let bytes = fs::read(folder().join("data_ops.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let data = tensors.tensor(name).unwrap().data().to_vec();
    let values: Vec<_> = data.chunks_exact(4).map(|it| f32::from_le_bytes(it.try_into().unwrap())).collect();
    values.chunks_exact(N).map(|it| it.try_into().unwrap()).collect()
}

/// Whole numbers of `data_ops.safetensors`.
pub(crate) fn integers(name: &str) -> Vec<i64> {
    let bytes = fs::read(folder().join("data_ops.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let data = tensors.tensor(name).unwrap().data().to_vec();
    data.chunks_exact(8).map(|it| i64::from_le_bytes(it.try_into().unwrap())).collect()
}

/// The picture that the golden's image rule makes: 4×4 blocks of one colour, hashed from its name.
pub(crate) fn by_rule(name: &str, height: usize, width: usize) -> Image {
    let mut image = Image::filled(height, width, [0; 3]);
    let crc = crc32(name.as_bytes());
    for y in 0..height {
        for x in 0..width {
            for c in 0..3 {
                let i = ((y / 4 * (width / 4 + 1) + x / 4) * 3 + c) as u32;
                let mut h = i.wrapping_mul(0x9E37_79B1).wrapping_add(crc);
                h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
                h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
                h ^= h >> 16;
                // floor(256 · (h >> 8) / 2²⁴) is the top byte.
                image.row_mut(y)[x * 3 + c] = (h >> 24) as u8;
            }
        }
    }
    image
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |it, _| (it >> 1) ^ (0xEDB8_8320 & (it & 1).wrapping_neg()))
    };
    !bytes.iter().fold(!0, step)
}

/// The largest difference of two pictures, in grey levels, and how many of their bytes differ.
pub(crate) fn difference(a: &Image, b: &Image) -> (u8, usize) {
    assert_eq!(a.shape(), b.shape());
    let pairs = a.data().iter().zip(b.data());
    let each = pairs.map(|(a, b)| a.abs_diff(*b));
    each.fold((0, 0), |(most, count), it| (most.max(it), count + usize::from(it > 0)))
}

#[test]
fn the_rule_makes_the_stored_picture() {
    assert_eq!(difference(&by_rule("im", 96, 128), &picture("im")), (0, 0));
}
