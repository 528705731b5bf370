//! `InfiniteSampler`: samples without an end, for loops that count iterations.

use std::sync::Arc;

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Permutation, SampleOrder, Sampler, SamplerArgs};

/// Samples without an end: one pass over the data set after the other, each in its own order.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether each pass has a random order.
    pub shuffle: bool,
    /// Seed of the orders; the run's own when it is not given.
    pub seed: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Config { shuffle: true, seed: None }
    }
}

register!(Sampler, "InfiniteSampler", Config);

impl Build<Sampler> for Config {
    fn build(&self, args: SamplerArgs) -> Result<Arc<dyn SampleOrder>, BuildError> {
        let seed = self.shuffle.then_some(self.seed.unwrap_or(args.seed));
        Ok(Arc::new(Endless { len: args.len.max(1), seed }))
    }
}

struct Endless {
    len: usize,
    seed: Option<u64>,
}

impl SampleOrder for Endless {
    fn len(&self) -> usize {
        self.len
    }

    fn endless(&self) -> bool {
        true
    }

    fn index(&self, epoch: u64, position: usize) -> usize {
        let (pass, position) = (position / self.len, position % self.len);
        match self.seed {
            // The pass lies in the upper half, so that it meets no later epoch's first pass.
            Some(seed) => Permutation::new(seed, epoch ^ ((pass as u64) << 32), self.len).at(position),
            None => position,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pass_holds_every_sample_once_in_an_order_of_its_own() {
        let sampler = Config::default().build(SamplerArgs { len: 20, seed: 0 }).unwrap();
        let pass = |n: usize| (0..20).map(|it| sampler.index(0, 20 * n + it)).collect::<Vec<_>>();
        assert!(sampler.endless());
        assert_ne!(pass(0), pass(1));
        for n in 0..3 {
            let mut sorted = pass(n);
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..20));
        }
    }
}
