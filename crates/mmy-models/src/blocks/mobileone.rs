//! MobileOne's pairs of a depthwise and a pointwise convolution (arXiv 2206.04040), as lines of YOLOv5's lists: `m.J`.

use mmy_nn::{
    Scope,
    layers::{Activation, Norm},
};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    blocks::{args::one, c3::Row},
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, MapLayer, in_range},
    layers::{BranchNames, BranchSum, Branches, SqueezeExcite},
};

register!(Block, "MobileOne", Config);

/// MobileOne's blocks (arXiv 2206.04040), as many as the line's number says: a depthwise and a pointwise convolution, each
/// trained as several kernels side by side, a 1×1 one and the input itself, each followed by ReLU. `mmy model deploy`
/// merges the branches. In order: channels, kernels side by side, stride, squeeze and excitation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Kernels side by side.
    #[serde(default = "four")]
    pub k: i64,
    /// Pixels from one window of the first block to the next; later blocks have 1.
    #[serde(default = "one")]
    pub s: i64,
    /// Whether each of the two convolutions weights its channels by squeeze and excitation.
    #[serde(default)]
    pub se: bool,
}

fn four() -> i64 {
    4
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let (repeats, (input, channels)) = (args.repeats(), (args.input()?, args.width(self.c2)?));
        check(self.k, self.s)?;
        let block = |j| {
            let (from, stride) = if j == 0 { (input.channels, self.s) } else { (channels, 1) };
            Pair::new(&(args.scope / "m" / j), (from, channels), (self.k, stride), args.list.norm, self.se)
        };
        let row = Row((0..repeats).map(block).collect());
        Ok(BuiltBlock::map(row, FeatureInfo { channels, stride: input.stride * self.s }))
    }
}

/// An error unless that many kernels with that stride can be.
pub(super) fn check(count: i64, stride: i64) -> Result<(), BuildError> {
    in_range("k", count, 1..=16)?;
    in_range("s", stride, 1..=64)
}

const DEPTHWISE: BranchNames = BranchNames {
    identity: "dw_bn_layer",
    kxk: |i| format!("dw_3x3_{i}.conv"),
    scale: "dw_1x1.conv",
    deployed: "dw_reparam",
};

const POINTWISE: BranchNames =
    BranchNames { identity: "pw_bn_layer", kxk: |i| format!("pw_1x1_{i}.conv"), scale: "", deployed: "pw_reparam" };

/// A depthwise and a pointwise sum of branches, each with ReLU.
#[derive(Debug)]
pub(super) struct Pair {
    path: String,
    depthwise: BranchSum,
    pointwise: BranchSum,
    attention: Option<[SqueezeExcite; 2]>,
}

impl Pair {
    /// `count` kernels side by side, from `from` to `to` channels.
    pub(super) fn new(
        scope: &Scope,
        (from, to): (i64, i64),
        (count, stride): (i64, i64),
        norm: Norm,
        attention: bool,
    ) -> Self {
        // Of the whole pair: the original gives its two halves an identity together.
        let identity = from == to && stride == 1;
        let branches = Branches { kernel: 3, stride, groups: from, count, identity, norm };
        let pointwise = Branches { kernel: 1, stride: 1, groups: 1, ..branches };
        Pair {
            path: scope.path().to_owned(),
            depthwise: BranchSum::new(scope, DEPTHWISE, (from, from), branches),
            pointwise: BranchSum::new(scope, POINTWISE, (from, to), pointwise),
            attention: attention.then(|| {
                [("dw_se", from), ("pw_se", to)]
                    .map(|(name, channels)| SqueezeExcite::new(&(scope / name), ["reduce", "expand"], channels))
            }),
        }
    }
}

impl MapLayer for Pair {
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let [depthwise, pointwise] = match &self.attention {
            Some([depthwise, pointwise]) => [Some(depthwise), Some(pointwise)],
            None => [None, None],
        };
        let end = |y: Tensor, attention: Option<&SqueezeExcite>, name: &str| {
            let y = attention.map_or_else(|| y.shallow_clone(), |it| it.forward(&y));
            Activation::ReLU.forward(y, format_args!("{}.{name}", self.path))
        };
        let y = end(self.depthwise.forward(x, train), depthwise, "dw_act");
        end(self.pointwise.forward(&y, train), pointwise, "pw_act")
    }
}

#[cfg(test)]
mod tests {
    use mmy_nn::{
        LoadPolicy, ParamStore, StateDict,
        testing::{assert_close, assert_gradients, fill, golden, sfield},
    };
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn a_pair_is_the_originals_before_and_after_merging() {
        let reference = golden("mobileone_block");
        for (case, [from, to, count, stride]) in [
            ("c16_k4_s1", [16, 16, 4, 1]),
            ("c16_24_k4_s2", [16, 24, 4, 2]),
            ("c8_8_k1_s2", [8, 8, 1, 2]),
            ("c12_20_k2_s1", [12, 20, 2, 1]),
        ] {
            let mine: StateDict = reference
                .iter()
                .filter_map(|(name, it)| Some((name.strip_prefix(case)?.strip_prefix('.')?.into(), it.shallow_clone())))
                .collect();
            let pair = |store: &ParamStore| Pair::new(&store.root(), (from, to), (count, stride), Norm::TORCH, false);
            let (trained, deployed) = (ParamStore::new(Device::Cpu, 0), ParamStore::new(Device::Cpu, 0).deployed());
            let (before, after) = (pair(&trained), pair(&deployed));
            fill(&trained, 1.0, "");
            deployed.load_state(&trained.state_dict().into_iter().collect(), LoadPolicy::Exact).unwrap();
            for (name, tensor) in deployed.state_dict() {
                // Both merged in float64; the original rounds to float32 once, too.
                assert_close(&name, &tensor, &mine[&format!("deploy.{name}")], 1e-6);
            }
            let x = sfield("x", &[2, from, 12, 10], 1.0);
            let (y, merged) = tch::no_grad(|| (before.forward(&x, false), after.forward(&x, false)));
            assert_close(case, &y, &mine["y"], 4e-6);
            assert_close(case, &merged, &mine["y_deploy"], 4e-6);
            let y = before.forward(&x, true);
            assert_close(case, &y, &mine["train.y"], 4e-6);
            let loss = y.square().sum(Kind::Float);
            assert_close(case, &loss.view([1]), &mine["train.loss"], 4e-6);
            loss.backward();
            assert_gradients(&trained, &mine, 5e-5);
        }
    }
}
