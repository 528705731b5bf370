//! Initial values as a function of seed and name.

/// How a parameter starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// One number everywhere.
    Const(f64),
    /// Uniform in `[-bound, bound)`.
    Uniform {
        /// Half of the interval's width.
        bound: f64,
    },
    /// PyTorch's default for the weight of a convolution or a linear layer, `kaiming_uniform_(a=sqrt(5))`: uniform in
    /// ±1/√fan_in, where fan_in is the product of all axes but the first.
    KaimingUniform,
    /// Normal around 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
}

/// How convolutions and linear layers start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Start {
    /// As PyTorch has it: weights and biases uniform in ±1/√fan_in.
    #[default]
    Torch,
    /// Weights normal around 0, biases 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
}

impl Start {
    /// How the weight starts.
    pub fn weight(self) -> Init {
        match self {
            Start::Torch => Init::KaimingUniform,
            Start::Normal { std } => Init::Normal { std },
        }
    }

    /// How the bias of a layer starts that sums `fan_in` products for each number that it gives out.
    pub fn bias(self, fan_in: i64) -> Init {
        match self {
            Start::Torch => Init::Uniform { bound: 1.0 / (fan_in.max(1) as f64).sqrt() },
            Start::Normal { .. } => Init::Const(0.0),
        }
    }
}

impl Init {
    /// The values of a tensor of this shape, row-major.
    pub(crate) fn values(self, seed: u64, name: &str, shape: &[i64]) -> Vec<f32> {
        let n = shape.iter().product::<i64>().max(0) as usize;
        match self {
            Init::Const(value) => vec![value as f32; n],
            Init::Uniform { bound } => uniform(key(seed, name), n, bound as f32),
            Init::KaimingUniform => {
                let fan_in = shape.iter().skip(1).product::<i64>().max(1);
                uniform(key(seed, name), n, (1.0 / fan_in as f64).sqrt() as f32)
            }
            Init::Normal { std } => normal(key(seed, name), n, std),
        }
    }

    /// Any one value that the distribution can take, for stores that allocate nothing.
    pub(crate) fn typical(self) -> f64 {
        match self {
            Init::Const(value) => value,
            Init::Uniform { .. } | Init::KaimingUniform | Init::Normal { .. } => 0.0,
        }
    }
}

/// 64 bits that depend on every bit of the seed and every byte of the name: FNV-1a over the name, finished by
/// [`mix`] with the seed.
fn key(seed: u64, name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    mix(hash ^ mix(seed.wrapping_add(GOLDEN)))
}

/// 2⁶⁴ divided by the golden ratio, the increment of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// `n` draws of SplitMix64 from the state `key`, 24 bits each, spread over `[-bound, bound)`.
fn uniform(key: u64, n: usize, bound: f32) -> Vec<f32> {
    let scale = bound / (1 << 23) as f32;
    (0..n as u64)
        .map(|i| {
            let bits = mix(key.wrapping_add((i + 1).wrapping_mul(GOLDEN))) >> 40;
            (bits as i64 - (1 << 23)) as f32 * scale
        })
        .collect()
}

/// `n` draws around 0 by Box and Muller's method, two of SplitMix64's for each; none is farther out than 5.8 `std`.
fn normal(key: u64, n: usize, std: f64) -> Vec<f32> {
    let unit = |i: u64| (mix(key.wrapping_add((i + 1).wrapping_mul(GOLDEN))) >> 40) as f64 / f64::from(1 << 24);
    (0..n as u64)
        .map(|i| {
            // Between 0 and 1, 0 left out.
            let radius = (-2.0 * (unit(2 * i) + 0.5f64.powi(24)).ln()).sqrt();
            (std * radius * (std::f64::consts::TAU * unit(2 * i + 1)).cos()) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_depend_on_seed_and_name_alone() {
        let draw = |seed, name| Init::KaimingUniform.values(seed, name, &[4, 2, 3, 3]);
        assert_eq!(draw(0, "stem.conv.weight"), draw(0, "stem.conv.weight"));
        assert_ne!(draw(0, "stem.conv.weight"), draw(1, "stem.conv.weight"));
        assert_ne!(draw(0, "stem.conv.weight"), draw(0, "stem.conv.bias"));
    }

    #[test]
    fn moments_are_those_of_a_uniform_distribution() {
        let n = 100_000;
        let values = Init::KaimingUniform.values(7, "w", &[n, 25]);
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let var = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n;
        // fan_in 25: the bound is 0.2, the variance 0.2² / 3; five standard errors at 2.5 million draws.
        assert!(mean.abs() < 5.0 * 0.1155 / n.sqrt(), "{mean}");
        assert!((var / (0.04 / 3.0) - 1.0).abs() < 5.0 * 0.8944 / n.sqrt(), "{var}");
        let (low, high) = values.iter().fold((0f32, 0f32), |(l, h), &v| (l.min(v), h.max(v)));
        assert!((-0.2..-0.1999).contains(&low) && (0.1999..0.2).contains(&high), "{low} {high}");
    }

    #[test]
    fn moments_are_those_of_a_normal_distribution() {
        let n = 1_000_000;
        let values = Init::Normal { std: 0.02 }.values(7, "w", &[n]);
        let moment = |p| values.iter().map(|&v| (f64::from(v) / 0.02).powi(p)).sum::<f64>() / n as f64;
        // Five standard errors: of the mean 1, of the variance √2, of the fourth moment √96, each by √n.
        assert!(moment(1).abs() < 5e-3 && (moment(2) - 1.0).abs() < 7.1e-3 && (moment(4) - 3.0).abs() < 4.9e-2);
        assert!(values.iter().all(|it| it.abs() < 0.02 * 5.8));
    }
}
