//! MobileOne against timm: `tests/golden/scripts/mobileone.py` made the numbers.

use mmy_models::kinds::{Backbone, Features};
use mmy_nn::{
    LoadPolicy, MemoryFormat, ParamStore,
    testing::{assert_close, assert_gradients, field, fill, golden, golden_text},
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
        for format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
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
fn training_is_timms() {
    let reference = golden("mobileone");
    let store = ParamStore::new(Device::Cpu, 0);
    let backbone = build("s0", &[1, 2], &store);
    fill(&store, 0.5, "");
    let maps = backbone.forward(&field("train", &[2, 3, 128, 128]), true);
    for (stage, map) in (1..).zip(&maps) {
        let key = format!("train.stage{stage}");
        // Norms over as few as eight numbers enlarge what sums lose.
        assert_close(&key, map, &reference[&key], 1e-4);
    }
    let loss = maps.iter().map(|it| it.square().sum(Kind::Float)).reduce(|a, b| a + b).unwrap();
    assert_close("loss", &loss.view([1]), &reference["train.loss"], 1e-5);
    loss.backward();
    assert_gradients(&store, &reference, 1e-3);
}
