//! Every part computes the same before and after its layers are merged.
//!
//! Weights and running statistics are the goldens' rule's, so that no norm is an identity. Merging rounds each weight
//! once and changes the order of sums: deep stacks may be off by 1e-5 of the largest number of a map.

use mmy_models::kinds::{
    Backbone, Block, BlockArgs, BuiltBlock, FeatureInfo, HeadModule, HeadModuleArgs, ListSettings, Neck, NeckArgs,
};
use mmy_nn::{
    LoadPolicy, ParamStore,
    testing::{assert_close, field, fill, sfield},
};
use mmy_registry::names;
use serde_json::json;
use tch::{Device, Tensor};

use crate::{
    registry::{LARGE, smallest_backbones, smallest_block},
    support::slot,
};

const MERGED: f64 = 1e-5;

/// Builds in both forms by `build`, gives the deployed one the other's weights, and holds `run`'s maps of the two
/// against each other.
fn check<T>(name: &str, build: impl Fn(&ParamStore) -> T, run: impl Fn(&T) -> Vec<Tensor>) {
    let (trained, deployed) = (ParamStore::new(Device::Cpu, 0), ParamStore::new(Device::Cpu, 0).deployed());
    let (before, after) = (build(&trained), build(&deployed));
    deployed.check().unwrap();
    // Half of He's gain: sums of many branches stay within float32.
    fill(&trained, 0.5, "");
    let state = trained.state_dict().into_iter().collect();
    deployed.load_state(&state, LoadPolicy::Exact).unwrap_or_else(|it| panic!("{name}: {it}"));
    let (want, got) = tch::no_grad(|| (run(&before), run(&after)));
    assert_eq!(want.len(), got.len(), "{name}");
    for (want, got) in want.iter().zip(&got) {
        assert_close(name, got, want, MERGED);
    }
    assert!(deployed.num_params() <= trained.num_params(), "{name} grew");
}

#[test]
fn backbones() {
    let x = field("input", &[1, 3, 64, 64]);
    for (name, config) in smallest_backbones() {
        let part = slot::<Backbone>(config);
        let dry = ParamStore::dry();
        part.build(&dry.root()).unwrap();
        if dry.num_params() <= LARGE {
            check(name, |store| part.build(&store.root()).unwrap(), |it| it.forward(&x, false));
        }
    }
}

#[test]
fn necks_and_head_modules() {
    let features = [(256, 8), (512, 16), (1024, 32)].map(|(channels, stride)| FeatureInfo { channels, stride });
    let x = [8, 4, 2].into_iter().zip(features).map(|(size, it)| field("x", &[1, it.channels, size, size]));
    let x: Vec<_> = x.collect();
    for name in names("neck") {
        let part = slot::<Neck>(json!({"type": name}));
        let build = |store: &ParamStore| part.build(NeckArgs { scope: &store.root(), features: &features }).unwrap();
        check(name, build, |it| it.forward(&x, false));
    }
    for name in names("head_module") {
        let part = slot::<HeadModule>(json!({"type": name}));
        let build =
            |store: &ParamStore| part.build(HeadModuleArgs { scope: &store.root(), features: &features }).unwrap();
        check(name, build, |it| it.forward(&x, false));
    }
}

#[test]
fn blocks() {
    let (list, inputs) = (ListSettings::default(), [FeatureInfo { channels: 16, stride: 8 }]);
    let x = sfield("x", &[2, 16, 16, 16], 1.0);
    let mut merged = 0;
    for name in names("block") {
        let build = |store: &ParamStore| {
            let (root, args) = (store.root(), |channels| smallest_block(name, channels));
            let built = |config| slot::<Block>(config).build(BlockArgs::new(&root, &inputs, &list));
            // Some blocks keep their channels, some have to add to them.
            built(args(16)).or_else(|_| built(args(32)))
        };
        // The detecting blocks, and those that join several maps, have nothing to merge.
        let Ok(BuiltBlock::Layer { .. }) = build(&ParamStore::dry()) else { continue };
        let layer = |store: &ParamStore| match build(store) {
            Ok(BuiltBlock::Layer { layer, .. }) => layer,
            _ => panic!("{name}: built once, and not again"),
        };
        check(name, layer, |it| it.forward(&[x.shallow_clone()], false));
        merged += 1;
    }
    assert!(merged >= 30, "only {merged} blocks were merged");
}
