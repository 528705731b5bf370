//! What RevCol draws in its forward pass is drawn again in the reversible backward pass. The generator belongs to the process:
//! one test, so that no other draws in between.

use mmy_models::kinds::Backbone;
use mmy_nn::{
    ParamStore,
    testing::{field, fill, relative_error},
};
use mmy_registry::Slot;
use mmy_torch::{autocast::autocast, rng};
use serde_json::json;
use tch::{Device, Kind, Tensor};

#[test]
fn drop_path_is_replayed() {
    // In bfloat16 a level that is computed anew from a rebuilt input may round it the other way.
    for (columns, rate, kind, tolerance) in
        [(3, 0.5, Kind::Float, 1e-4), (9, 0.3, Kind::Float, 1e-4), (4, 0.3, Kind::BFloat16, 2e-2)]
    {
        let run = |reversible: bool| {
            let config = json!({
                "type": "RevCol", "channels": [8, 16, 24, 32], "layers": [1, 1, 2, 1], "columns": columns,
                "drop_path": rate, "reversible": reversible, "out_indices": [0, 1, 2, 3],
            });
            let store = ParamStore::new(Device::Cpu, 0);
            let backbone = serde_json::from_value::<Slot<Backbone>>(config).unwrap().build(&store.root()).unwrap();
            fill(&store, 1.0, "");
            rng::seed(7);
            let x = field("x", &[4, 3, 64, 96]);
            let maps = match kind {
                Kind::Float => backbone.forward(&x, true),
                _ => autocast(Device::Cpu, kind, || backbone.forward(&x, true)).unwrap(),
            };
            maps.iter().map(|it| it.square().sum(Kind::Float)).reduce(|a, b| a + b).unwrap().backward();
            // What is drawn next does not depend on the pass.
            let next = Tensor::rand([4], (Kind::Float, Device::Cpu));
            let grads: Vec<_> = store.entries().into_iter().map(|it| (it.name, it.tensor.grad())).collect();
            (grads, maps, next)
        };
        let ((stored, maps, next), (reversed, maps_reversed, next_reversed)) = (run(false), run(true));
        assert_eq!(next, next_reversed, "{columns} columns");
        for (want, got) in maps.iter().zip(&maps_reversed) {
            assert!(relative_error(got, want) <= tolerance, "{columns} columns");
        }
        for ((name, want), (_, got)) in stored.iter().zip(&reversed) {
            let error = relative_error(got, want);
            assert!(error <= tolerance, "{columns} columns, {kind:?}: {name} off by {error:e}");
        }
    }
}
