//! MobileOne against timm: `tests/golden/scripts/mobileone.py` made the numbers.

use mmy_models::{
    kinds::{Backbone, Features},
    layers::MobileOneBlock,
};
use mmy_nn::{
    LoadPolicy, MemoryFormat, ParamStore,
    testing::{assert_close, assert_gradients, field, fill, golden, golden_text, sfield},
};
use mmy_torch::memory_format::to_memory_format;
use serde_json::json;
use tch::{Device, Kind};

use crate::support::slot;

fn build(size: &str, stages: &[i64], store: &ParamStore) -> Box<dyn Features> {
    let config = json!({"type": format!("mobileone_{size}"), "out_indices": stages});
    slot::<Backbone>(config).build(&store.root()).unwrap()
}

#[test]
fn names_shapes_and_order_are_timms() {
    for size in ["s0", "s4"] {
        let store = ParamStore::dry();
        build(size, &[0, 1, 2, 3], &store);
        let line = |it: mmy_nn::Entry| {
            let kind = if it.tensor.kind() == Kind::Int64 { "int64" } else { "float32" };
            format!("{}\t{:?}\t{kind}", it.name, it.tensor.size())
        };
        let lines: Vec<_> = store.entries().into_iter().map(line).collect();
        assert_eq!(lines, golden_text(&format!("mobileone_{size}.keys.txt")).lines().collect::<Vec<_>>(), "{size}");
    }
}

#[test]
fn maps_are_timms_before_and_after_merging() {
    let reference = golden("mobileone");
    for size in ["s0", "s1", "s2", "s3", "s4"] {
        // The layout is the same for all: one size in both will do.
        let other = (size == "s0").then_some(MemoryFormat::Contiguous);
        for format in [MemoryFormat::ChannelsLast].into_iter().chain(other) {
            let trained = ParamStore::with_format(Device::Cpu, 0, format);
            let deployed = trained.deployed();
            let (before, after) = (build(size, &[0, 1, 2, 3], &trained), build(size, &[0, 1, 2, 3], &deployed));
            fill(&trained, 0.5, "");
            let state = trained.state_dict().into_iter().collect();
            deployed.load_state(&state, LoadPolicy::Exact).unwrap();
            let x = to_memory_format(&field("input", &[1, 3, 64, 32]), format).unwrap();
            let (before, after) = tch::no_grad(|| (before.forward(&x, false), after.forward(&x, false)));
            for (stage, (before, after)) in before.iter().zip(&after).enumerate() {
                let key = format!("{size}.stage{stage}");
                // Forty layers of float32 sums in another order.
                assert_close(&key, before, &reference[&key], 5e-6);
                assert_close(&format!("{key}, merged"), after, &reference[&key], 1e-5);
            }
        }
    }
}

#[test]
fn batch_statistics_are_timms() {
    let reference = golden("mobileone");
    let store = ParamStore::new(Device::Cpu, 0);
    let backbone = build("s0", &[1, 2], &store);
    fill(&store, 0.5, "");
    let maps = tch::no_grad(|| backbone.forward(&field("train", &[2, 3, 128, 128]), true));
    // timm's own float32 differs from its float64 by 4e-6 and, twenty blocks later, by 8e-5.
    for (stage, tolerance) in [(1, 2e-5), (2, 3e-4)] {
        let key = format!("train.stage{stage}");
        assert_close(&key, &maps[stage - 1], &reference[&key], tolerance);
    }
}

#[test]
fn gradients_of_a_stage_are_timms() {
    let reference = golden("mobileone");
    let store = ParamStore::new(Device::Cpu, 0);
    let depthwise = MobileOneBlock::new(&(store.root() / 0), (896, 896), (3, 2, 896), 1, true);
    let pointwise = MobileOneBlock::new(&(store.root() / 1), (896, 2048), (1, 1, 1), 1, true);
    fill(&store, 0.5, "");
    let x = sfield("stage", &[2, 896, 10, 6], 1.0);
    let y = pointwise.forward(&depthwise.forward(&x, true), true);
    assert_close("output", &y, &reference["block.y"], 1e-5);
    let loss = y.square().sum(Kind::Float);
    assert_close("loss", &loss.view([1]), &reference["block.loss"], 1e-5);
    loss.backward();
    assert_gradients(&store, &reference, 1e-4);
}
