//! Kernels of whole numbers: DSConv's quantiser (arXiv 1901.01928), and whole numbers of a few bits in bytes.
//!
//! A kernel (out, in, h, w) is cut into blocks of some input channels. The numbers of a block at one place of the kernel
//! share one scale: `weight ≈ scale · q`, with `q` from −2^(bits−1) to 2^(bits−1) − 1.

use std::ops::RangeInclusive;

use tch::{Kind, Tensor};

/// Bits that a number may have.
pub const BITS: RangeInclusive<u8> = 2..=8;

/// A kernel in whole numbers.
#[derive(Debug)]
pub struct Quantised {
    /// (out, in, h, w): whole numbers in the kind of the weight.
    pub q: Tensor,
    /// (out, ceil(in / block), h, w): what they are multiplied with.
    pub scale: Tensor,
}

impl Quantised {
    /// The kernel that is meant.
    pub fn kernel(&self, block: i64) -> Tensor {
        &self.q * spread(&self.scale, block, self.q.size()[1])
    }
}

/// Blocks of `channels` input channels.
pub fn blocks(channels: i64, block: i64) -> i64 {
    (channels + block - 1) / block
}

/// (out, blocks, h, w) to (out, in, h, w): each block's number for each of its channels.
pub fn spread(per_block: &Tensor, block: i64, channels: i64) -> Tensor {
    let repeated = per_block.repeat_interleave_self_int(block, 1, None);
    repeated.narrow(1, 0, channels)
}

/// (out, in, h, w) to (out, blocks, block, h, w), with zeros in the place of channels that the last block lacks.
fn cut(weight: &Tensor, block: i64) -> Tensor {
    let size = weight.size();
    let n = blocks(size[1], block);
    let padded = weight.constant_pad_nd([0, 0, 0, 0, 0, n * block - size[1]]);
    padded.view([size[0], n, block, size[2], size[3]])
}

/// Undoes [`cut`].
fn join(cut: &Tensor, channels: i64) -> Tensor {
    let size = cut.size();
    cut.reshape([size[0], size[1] * size[2], size[3], size[4]]).narrow(1, 0, channels)
}

/// The scale of least squares for given whole numbers: Σwq / Σq² over each block; 0 where all are 0.
fn least_squares(w: &Tensor, q: &Tensor) -> Tensor {
    let sum = |it: Tensor| it.sum_dim_intlist([2i64].as_slice(), true, w.kind());
    let (wq, qq) = (sum(w * q), sum(q.square()));
    wq / qq.clamp_min(1.0)
}

/// What the number of each block that is furthest from 0 has to be multiplied with to become −2^(bits−1); 0 where all
/// are 0.
fn full_range(w: &Tensor, bits: u8) -> Tensor {
    let furthest = w.gather(2, &w.abs().argmax(2, true), false);
    let lowest = -f64::from(1u32 << (bits - 1));
    furthest.reciprocal() * lowest * furthest.ne(0.0)
}

/// The published quantiser. The number furthest from 0 becomes −2^(bits−1), the others are rounded by the same scale,
/// and the scale is then that of least squares.
///
/// A number almost as far on the other side would become 2^(bits−1), which `bits` bits do not hold: `clamped` says
/// whether it becomes 2^(bits−1) − 1, or stays one above the range, as in the original.
pub fn published(weight: &Tensor, bits: u8, block: i64, clamped: bool) -> Quantised {
    let w = cut(weight, block);
    let q = (&w * full_range(&w, bits).nan_to_num(0.0, 0.0, 0.0)).round();
    let q = if clamped { q.clamp_max(f64::from(1u32 << (bits - 1)) - 1.0) } else { q };
    let scale = least_squares(&w, &q).squeeze_dim(2);
    Quantised { q: join(&q, weight.size()[1]), scale }
}

/// The best that a search finds: for each block the scale, among many around the published one and on both sides of
/// zero, and the whole numbers in range, whose squared error is least. It is never worse than [`published`].
pub fn closest(weight: &Tensor, bits: u8, block: i64) -> Quantised {
    let half = f64::from(1u32 << (bits - 1));
    let w = cut(weight, block);
    let full = full_range(&w, bits).nan_to_num(0.0, 0.0, 0.0);
    let round = |scale: &Tensor| (&w * scale).round().clamp(-half, half - 1.0);
    let error =
        |q: &Tensor, scale: &Tensor| (&w - q * scale).square().sum_dim_intlist([2i64].as_slice(), true, w.kind());
    let mut best: Option<(Tensor, Tensor, Tensor)> = None;
    // From a range that the furthest number fills only in part to one that cuts it to half.
    for factor in (0..=28).map(|i| 0.6 + 0.05 * f64::from(i)).flat_map(|it| [it, -it]).chain([1.0]) {
        let mut q = round(&(&full * factor));
        let mut scale = least_squares(&w, &q);
        // Numbers for the scale, the scale for the numbers: each step can only lessen the error.
        for _ in 0..2 {
            q = round(&(scale.reciprocal() * scale.ne(0.0)).nan_to_num(0.0, 0.0, 0.0));
            scale = least_squares(&w, &q);
        }
        let found = error(&q, &scale);
        best = Some(match best {
            None => (q, scale, found),
            Some((q0, scale0, error0)) => {
                let better = found.lt_tensor(&error0);
                let pick = |new: Tensor, old: &Tensor| new.where_self(&better, old);
                (pick(q, &q0), pick(scale, &scale0), pick(found, &error0))
            }
        });
    }
    let (q, scale, _) = best.expect("there are factors");
    Quantised { q: join(&q, weight.size()[1]), scale: scale.squeeze_dim(2) }
}

/// Whole numbers from −2^(bits−1) to 2^(bits−1) − 1, one behind the other, lowest bit first.
pub fn pack(values: &Tensor, bits: u8) -> Vec<u8> {
    let numbers = Vec::<i32>::try_from(values.to_kind(Kind::Int).contiguous().view([-1])).unwrap_or_default();
    let mask = (1u64 << bits) - 1;
    let mut out = Vec::with_capacity(packed_len(numbers.len(), bits));
    let (mut buffer, mut held) = (0u64, 0);
    for value in numbers {
        // Two's complement, cut to its bits.
        buffer |= (value as u64 & mask) << held;
        held += u32::from(bits);
        while held >= 8 {
            out.push(buffer as u8);
            buffer >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push(buffer as u8);
    }
    out
}

/// Bytes that [`pack`] makes of `count` numbers.
pub fn packed_len(count: usize, bits: u8) -> usize {
    (count * usize::from(bits)).div_ceil(8)
}

/// Undoes [`pack`].
pub fn unpack(bytes: &[u8], bits: u8, count: usize) -> Vec<f32> {
    let (mask, sign) = ((1u64 << bits) - 1, 1i64 << (bits - 1));
    let mut bytes = bytes.iter();
    let (mut buffer, mut held) = (0u64, 0);
    let mut next = || {
        while held < u32::from(bits) {
            buffer |= u64::from(*bytes.next().unwrap_or(&0)) << held;
            held += 8;
        }
        let value = (buffer & mask) as i64;
        buffer >>= bits;
        held -= u32::from(bits);
        // The sign bit counts as −2^(bits−1).
        ((value ^ sign) - sign) as f32
    };
    (0..count).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::testing::{assert_close, golden, sfield};

    #[test]
    fn the_published_quantiser_gives_the_originals_numbers() {
        let reference = golden("dsconv_quantizer");
        let weight = sfield("wq", &[6, 32, 3, 3], 1.0);
        for bits in [2, 3, 4, 8] {
            let quantised = published(&weight, bits, 32, false);
            assert_eq!(quantised.q, reference[&format!("b{bits}.scaled")], "{bits} bits");
            // Sums of 32 products in another order.
            let scale = quantised.scale.squeeze_dim(1);
            assert_close("scale", &scale, &reference[&format!("b{bits}.alpha")], 1e-6);
            assert_close("kernel", &quantised.kernel(32), &reference[&format!("b{bits}.final")], 1e-6);
        }
    }

    fn error(weight: &Tensor, quantised: &Quantised, block: i64) -> f64 {
        (weight - quantised.kernel(block)).square().sum(Kind::Double).double_value(&[])
    }

    #[test]
    fn the_search_is_never_worse_and_stays_in_range() {
        // 40 channels in blocks of 16: the last block has 8.
        let weight = sfield("w", &[5, 40, 3, 1], 1.0);
        for bits in BITS {
            let (plain, best) = (published(&weight, bits, 16, true), closest(&weight, bits, 16));
            assert_eq!((best.q.size(), best.scale.size()), (vec![5, 40, 3, 1], vec![5, 3, 3, 1]));
            let half = f64::from(1u32 << (bits - 1));
            let (low, high) = (best.q.min().double_value(&[]), best.q.max().double_value(&[]));
            assert!(low >= -half && high < half, "{bits} bits: {low} to {high}");
            let (plain, best) = (error(&weight, &plain, 16), error(&weight, &best, 16));
            assert!(best <= plain * (1.0 + 1e-6), "{bits} bits: {best} instead of {plain}");
            if bits <= 4 {
                assert!(best < plain * 0.97, "{bits} bits: the search gained nothing ({best}, {plain})");
            }
        }
    }

    #[test]
    fn two_bits_of_two_numbers_by_hand() {
        // The best of −2 … 1 for (4, −2): scale −2 gives (−2, 1) and no error.
        let weight = Tensor::from_slice(&[4f32, -2.0]).view([1, 2, 1, 1]);
        let best = closest(&weight, 2, 2);
        assert_eq!(Vec::<f32>::try_from(best.q.view([-1])).unwrap(), [-2.0, 1.0]);
        assert_eq!(best.scale.double_value(&[0, 0, 0, 0]), -2.0);
    }

    #[test]
    fn a_block_of_zeros_stays_zero() {
        let weight = Tensor::zeros([2, 8, 3, 3], (Kind::Float, Device::Cpu));
        for quantised in [published(&weight, 4, 4, true), closest(&weight, 4, 4)] {
            assert_eq!(quantised.kernel(4), weight);
        }
    }

    #[test]
    fn quantising_twice_is_quantising_once() {
        let weight = sfield("w", &[4, 32, 3, 3], 1.0);
        for bits in BITS {
            let once = published(&weight, bits, 32, true).kernel(32);
            assert_close("twice", &published(&once, bits, 32, true).kernel(32), &once, 1e-6);
        }
    }

    #[test]
    fn numbers_of_any_width_come_back_from_bytes() {
        for bits in BITS {
            let half = 1i64 << (bits - 1);
            let numbers: Vec<i64> = (0..101).map(|i| (i * 37) % (2 * half) - half).collect();
            let bytes = pack(&Tensor::from_slice(&numbers), bits);
            assert_eq!(bytes.len(), packed_len(numbers.len(), bits));
            let back: Vec<i64> = unpack(&bytes, bits, numbers.len()).into_iter().map(|it| it as i64).collect();
            assert_eq!(back, numbers, "{bits} bits");
        }
    }
}
