//! `DefaultSampler`: every sample once an epoch.

use std::sync::Arc;

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Permutation, SampleOrder, Sampler, SamplerArgs};

/// Every sample once an epoch, in the data set's order or in one that depends on (seed, epoch).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether the order is a random one, another each epoch.
    pub shuffle: bool,
    /// Seed of the order; the run's own when it is not given.
    pub seed: Option<u64>,
    /// Whether samples are repeated until every process has equally many. One process: no effect.
    pub round_up: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { shuffle: true, seed: None, round_up: true }
    }
}

register!(Sampler, "DefaultSampler", Config);

impl Build<Sampler> for Config {
    fn build(&self, args: SamplerArgs) -> Result<Arc<dyn SampleOrder>, BuildError> {
        Ok(Arc::new(InOrder { len: args.len, seed: self.shuffle.then_some(self.seed.unwrap_or(args.seed)) }))
    }
}

/// The sampler; no seed means the data set's own order.
struct InOrder {
    len: usize,
    seed: Option<u64>,
}

impl SampleOrder for InOrder {
    fn len(&self) -> usize {
        self.len
    }

    fn index(&self, epoch: u64, position: usize) -> usize {
        match self.seed {
            Some(seed) => Permutation::new(seed, epoch, self.len).at(position),
            None => position,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(config: &Config, epoch: u64) -> Vec<usize> {
        let sampler = config.build(SamplerArgs { len: 50, seed: 4 }).unwrap();
        (0..sampler.len()).map(|it| sampler.index(epoch, it)).collect()
    }

    #[test]
    fn shuffled_by_seed_and_epoch_alone() {
        let shuffled = Config::default();
        assert_ne!(order(&shuffled, 0), order(&shuffled, 1));
        assert_eq!(order(&shuffled, 1), order(&shuffled, 1));
        assert_ne!(order(&shuffled, 0), order(&Config { seed: Some(5), ..Config::default() }, 0));
        let mut sorted = order(&shuffled, 3);
        sorted.sort_unstable();
        assert_eq!(sorted, order(&Config { shuffle: false, ..Config::default() }, 3));
        assert!(sorted.into_iter().eq(0..50));
    }
}
