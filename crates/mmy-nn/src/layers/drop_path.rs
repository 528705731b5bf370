//! Stochastic depth (arXiv 1603.09382).

use tch::Tensor;

/// Drops a residual branch for some samples of the batch and scales the others up, so that the mean stays.
///
/// The draw is libtorch's default generator's, whose state belongs to the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropPath {
    rate: f64,
}

impl DropPath {
    /// Drops with the probability `rate`, 0 to below 1.
    pub fn new(rate: f64) -> Self {
        DropPath { rate }
    }

    /// Rates that grow in equal steps from 0 in the first of `blocks` blocks to `last` in the last one.
    pub fn linear(last: f64, blocks: usize) -> impl Iterator<Item = DropPath> {
        (0..blocks).map(move |i| DropPath::new(last * i as f64 / blocks.saturating_sub(1).max(1) as f64))
    }

    /// (B, …) to the same shape; nothing happens outside of training or at rate 0.
    pub fn forward(self, x: Tensor, train: bool) -> Tensor {
        if !train || self.rate <= 0.0 {
            return x;
        }
        let keep = 1.0 - self.rate;
        let mut shape = vec![1; x.dim()];
        shape[0] = x.size()[0];
        let mask = Tensor::empty(shape, (x.kind(), x.device())).bernoulli_float_(keep) / keep;
        x * mask
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn keeps_the_mean_and_drops_whole_samples() {
        let x = Tensor::ones([4000, 2, 3], (Kind::Float, Device::Cpu));
        let y = DropPath::new(0.25).forward(x.shallow_clone(), true);
        let per_sample = y.view([4000, 6]);
        let kept = per_sample.select(1, 0).gt(0.0).sum(Kind::Int64).int64_value(&[]);
        // Six standard deviations of a binomial count.
        assert!((kept - 3000).abs() < 165, "{kept}");
        assert_eq!(per_sample.amax(1, false), per_sample.amin(1, false));
        assert!((per_sample.max().double_value(&[]) - 4.0 / 3.0).abs() < 1e-6);
        assert_eq!(DropPath::new(0.25).forward(x.shallow_clone(), false), x);
    }

    #[test]
    fn rates_grow_linearly() {
        let rates: Vec<_> = DropPath::linear(0.3, 4).map(|it| it.rate).collect();
        assert_eq!(rates, [0.0, 0.3 / 3.0, 0.6 / 3.0, 0.3]);
        assert_eq!(DropPath::linear(0.3, 1).next(), Some(DropPath::new(0.0)));
    }
}
