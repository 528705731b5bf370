//! Backbones and necks against the originals.
//!
//! Tolerances are relative to the largest number of a tensor. Forward passes add up float32 products in another order
//! than the original run did: 2e-6. Gradients of deep stacks of batch norms: 2e-5, and biases in front of a batch norm,
//! whose true gradient is zero, relative to the model's largest gradient.

use mmy_models::kinds::{Backbone, FeatureInfo, Neck, NeckArgs};
use mmy_nn::{
    MemoryFormat, ParamStore,
    testing::{assert_close, assert_gradients, field, fill, golden, sfield},
};
use mmy_torch::memory_format::to_memory_format;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::support::slot;

const FORWARD: f64 = 2e-6;
const GRADIENT: f64 = 2e-5;
const FORMATS: [MemoryFormat; 2] = [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast];

#[test]
fn starnet_features_of_all_sizes() {
    let reference = golden("starnet_features");
    for name in ["s1", "s2", "s3", "s4", "s050", "s100", "s150"] {
        for format in FORMATS {
            let store = ParamStore::with_format(Device::Cpu, 0, format);
            let config = json!({"type": format!("starnet_{name}"), "out_indices": [0, 1, 2, 3]});
            let backbone = slot::<Backbone>(config).build(&store.root()).unwrap();
            fill(&store, 0.75, "");
            for size in [64, 128] {
                let x = to_memory_format(&field("input", &[1, 3, size, size]), format).unwrap();
                let maps = tch::no_grad(|| backbone.forward(&x, false));
                for (stage, map) in maps.iter().enumerate() {
                    let key = format!("{name}.{size}.stage{stage}");
                    assert_close(&key, map, &reference[&key], FORWARD);
                }
            }
        }
    }
}

#[test]
fn starnet_gradients_and_running_statistics() {
    let reference = golden("starnet_s1_train");
    for format in FORMATS {
        let store = ParamStore::with_format(Device::Cpu, 0, format);
        let backbone = slot::<Backbone>(json!({"type": "StarNet"})).build(&store.root()).unwrap();
        fill(&store, 0.75, "");
        let x = to_memory_format(&field("input", &[2, 3, 64, 64]), format).unwrap().set_requires_grad(true);
        let maps = backbone.forward(&x, true);
        for (stage, map) in (1..).zip(&maps) {
            let key = format!("train.stage{stage}");
            // Means over as few as eight numbers: what the sums lose, a batch norm may enlarge.
            assert_close(&key, map, &reference[&key], 1e-5);
        }
        let loss = sum_of_squares(&maps);
        assert_close("loss", &loss.view([1]), &reference["loss"], FORWARD);
        loss.backward();
        assert_close("gradient of the input", &x.grad(), &reference["grad_input"], GRADIENT);
        assert_gradients(&store, &reference, GRADIENT);
        let mut held = 0;
        for (name, tensor) in store.state_dict() {
            if let Some(want) = reference.get(&format!("buf.{name}")) {
                assert_close(&name, &tensor, want, FORWARD);
                held += 1;
            }
        }
        assert_eq!(held, 2 * 35, "running statistics of 35 batch norms");
    }
}

#[test]
fn neck_outputs_and_gradients() {
    let cases =
        [("pafpn_star_s1", [48, 96, 192], [48, 96, 192], 1.0), ("pafpn_v5n", [256, 512, 1024], [64, 128, 256], 0.25)];
    for (file, in_channels, widths, widen_factor) in cases {
        let reference = golden(file);
        for format in FORMATS {
            let features: Vec<_> = (0..3).map(|i| FeatureInfo { channels: widths[i], stride: 8 << i }).collect();
            let store = ParamStore::with_format(Device::Cpu, 0, format);
            let config = json!({
                "type": "YOLOv5PAFPN",
                "in_channels": in_channels,
                "out_channels": in_channels,
                "deepen_factor": 0.33,
                "widen_factor": widen_factor,
                "num_csp_blocks": 3,
            });
            let neck = slot::<Neck>(config).build(NeckArgs { scope: &store.root(), features: &features }).unwrap();
            fill(&store, 1.0, "");
            let input = |(i, size): (usize, i64)| {
                let x = sfield(&format!("feat{i}"), &[2, widths[i], size, size], 1.0);
                to_memory_format(&x, format).unwrap()
            };
            let x: Vec<_> = [16, 8, 4].into_iter().enumerate().map(input).collect();
            let outs = tch::no_grad(|| neck.forward(&x, false));
            for (i, out) in outs.iter().enumerate() {
                assert_close(&format!("{file} {i}"), out, &reference[&format!("out{i}")], FORWARD);
            }
            let outs = neck.forward(&x, true);
            for (i, out) in outs.iter().enumerate() {
                assert_close(&format!("{file} train {i}"), out, &reference[&format!("train.out{i}")], 1e-5);
            }
            let loss = sum_of_squares(&outs);
            assert_close(file, &loss.view([1]), &reference["train.loss"], FORWARD);
            loss.backward();
            assert_gradients(&store, &reference, GRADIENT);
        }
    }
}

fn sum_of_squares(maps: &[Tensor]) -> Tensor {
    maps.iter().map(|it| it.square().sum(Kind::Float)).reduce(|a, b| a + b).unwrap()
}
