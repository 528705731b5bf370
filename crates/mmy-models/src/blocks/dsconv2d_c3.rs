//! C3 whose bottlenecks have DSConv's kernels (arXiv 1901.01928): `cv1`, `cv2`, `cv3`, `m.J`.

use mmy_nn::layers::DsKernel;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    blocks::{
        args::{check_groups, half, one, yes},
        bottleneck::bottleneck,
        c3::{Row, csp},
        dsconv2d::{bits, block_size, place},
    },
    kinds::{Block, BlockArgs, BuiltBlock},
};

register!(Block, "DSConv2D_C3", Config);

/// `C3` whose bottlenecks' kernels are made of whole numbers of a few bits (DSConv, arXiv 1901.01928). In order: channels,
/// whether bottlenecks have a way past them, their groups, share of the channels inside, bits, channels that share a
/// scale, what is trained.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels that it gives, before the list's `width_multiple`.
    pub c2: i64,
    /// Whether bottlenecks add their input.
    #[serde(default = "yes")]
    pub shortcut: bool,
    /// Groups of the bottlenecks' second convolutions.
    #[serde(default = "one")]
    pub g: i64,
    /// Channels of each half, as a share of those given.
    #[serde(default = "half")]
    pub e: f64,
    /// Bits of each number, 2 to 8.
    #[serde(default = "bits")]
    pub bits: u8,
    /// Input channels that share a scale.
    #[serde(default = "block_size")]
    pub block_size: i64,
    /// What is trained, as in `DSConv2D`.
    #[serde(default)]
    pub kernel: DsKernel,
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let repeats = args.repeats();
        let scope = place(&(args.scope / "m"), self.bits, self.block_size, self.kernel)?;
        csp(&args, self.c2, self.e, |mid| {
            check_groups(self.g, &[mid])?;
            let block = |j| bottleneck(&(&scope / j), (mid, mid, mid), (1, 3), self.shortcut, self.g, args.list);
            Ok(Row((0..repeats).map(block).collect()))
        })
    }
}

#[cfg(test)]
mod tests {
    use mmy_nn::{
        LoadPolicy, ParamStore, StateDict,
        testing::{assert_close, assert_gradients, fill, golden, relative_error, sfield},
    };
    use mmy_registry::Slot;
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::kinds::{FeatureInfo, Layer, ListSettings};

    fn build(kernel: &str, store: &ParamStore) -> Box<dyn Layer> {
        let config = serde_json::json!({"type": "DSConv2D_C3", "c2": 48, "kernel": kernel, "block_size": 16});
        let slot: Slot<Block> = serde_json::from_value(config).unwrap();
        let (root, inputs, list) = (store.root(), [FeatureInfo { channels: 32, stride: 8 }], ListSettings::default());
        let asked = std::cell::Cell::new(false);
        match slot.build(BlockArgs::new(&root, &inputs, &list).with_repeats(2, &asked)).unwrap() {
            BuiltBlock::Layer { layer, .. } => layer,
            BuiltBlock::Detect { .. } => panic!("it detects"),
        }
    }

    fn x() -> Tensor {
        sfield("x", &[2, 32, 12, 10], 1.0)
    }

    #[test]
    fn plain_kernels_compute_what_the_published_layer_computes() {
        let mine: StateDict = golden("dsconv_block")
            .into_iter()
            .filter_map(|(name, it)| Some((name.strip_prefix("block.")?.to_owned(), it)))
            .collect();
        let store = ParamStore::new(Device::Cpu, 0);
        let layer = build("plain", &store);
        assert_eq!(store.num_params(), 15_744);
        fill(&store, 1.0, "");
        let y = tch::no_grad(|| layer.forward(&[x()], false)).remove(0);
        assert_close("y", &y, &mine["y"], 4e-6);
        let x = x().set_requires_grad(true);
        let y = layer.forward(&[x.shallow_clone()], true).remove(0);
        assert_close("training", &y, &mine["train.y"], 4e-6);
        let loss = y.square().sum(Kind::Float);
        assert_close("loss", &loss.view([1]), &mine["train.loss"], 4e-6);
        loss.backward();
        assert_close("grad_x", &x.grad(), &mine["train.grad_x"], 2e-5);
        assert_gradients(&store, &mine, 2e-5);
    }

    #[test]
    fn kernels_of_four_bits_are_near_to_plain_ones_in_both_forms() {
        let plain = ParamStore::new(Device::Cpu, 0);
        let layer = build("plain", &plain);
        fill(&plain, 1.0, "");
        let want = tch::no_grad(|| layer.forward(&[x()], false)).remove(0);
        let state: StateDict = plain.state_dict().into_iter().collect();
        for (kernel, most) in [("shadow", 0.1), ("fixed", 0.1)] {
            let store = ParamStore::new(Device::Cpu, 1);
            let layer = build(kernel, &store);
            store.load_state(&state, LoadPolicy::Exact).unwrap();
            let got = tch::no_grad(|| layer.forward(&[x()], false)).remove(0);
            let off = relative_error(&got, &want);
            assert!((1e-4..most).contains(&off), "{kernel}: {off}");
        }
    }
}
