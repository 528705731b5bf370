//! Blocks of layer lists against the originals: outputs in evaluation and training, gradients, running statistics.
//!
//! Tolerances are relative to the largest number of a tensor. The originals' float32 differs from their own float64 by up to
//! 1.6e-6; sums in another order add as much again: 4e-6. Gradients through batch norms over few numbers: with one thread
//! libtorch computes small 3×3 convolutions by another algorithm, which was measured to be off by 2.7e-5, so 5e-5.

use mmy_models::kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, Layer, ListSettings};
use mmy_nn::{
    MemoryFormat, ParamStore, StateDict,
    layers::Activation,
    testing::{assert_close, assert_gradients, fill, golden, sfield},
};
use mmy_torch::memory_format::to_memory_format;
use serde_json::{Value, json};
use tch::{Device, Kind};

use crate::support::slot;

const FORWARD: f64 = 4e-6;
const GRADIENT: f64 = 5e-5;

/// YOLOv5 before its sixth version.
fn early() -> ListSettings {
    ListSettings { act: Activation::Hardswish, ..ListSettings::default() }
}

fn layer(built: BuiltBlock) -> (Box<dyn Layer>, Vec<FeatureInfo>) {
    match built {
        BuiltBlock::Layer { layer, outputs } => (layer, outputs),
        BuiltBlock::Detect { .. } => panic!("a detecting block"),
    }
}

/// Holds a block against `{name}.…` of a file, in both memory formats.
#[track_caller]
fn check(reference: &StateDict, name: &str, settings: &ListSettings, config: Value, repeats: i64, shape: [i64; 4]) {
    for format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
        let store = ParamStore::with_format(Device::Cpu, 0, format);
        let inputs = [FeatureInfo { channels: shape[1], stride: 8 }];
        let (root, asked) = (store.root(), std::cell::Cell::new(false));
        let args = BlockArgs::new(&root, &inputs, settings).with_repeats(repeats, &asked);
        let (layer, outputs) = layer(slot::<Block>(config.clone()).build(args).unwrap());
        assert!(asked.get() || repeats == 1, "{name} does not take the number of repeats");
        fill(&store, 1.0, "");
        let x = || to_memory_format(&sfield("x", &shape, 1.0), format).unwrap();
        let key = |it: &str| format!("{name}.{it}");
        let y = tch::no_grad(|| layer.forward(&[x()], false)).remove(0);
        assert_close(&key("eval.y"), &y, &reference[&key("eval.y")], FORWARD);
        if let Some(output) = outputs.first() {
            assert_eq!(y.size()[..2], [shape[0], output.channels], "{name}");
            assert_eq!(y.size()[2] * output.stride, shape[2] * 8, "{name}: stride");
        }
        let x = x().set_requires_grad(true);
        let y = layer.forward(&[x.shallow_clone()], true).remove(0);
        assert_close(&key("y"), &y, &reference[&key("y")], FORWARD);
        let loss = y.square().sum(Kind::Float);
        assert_close(&key("loss"), &loss.view([1]), &reference[&key("loss")], FORWARD);
        loss.backward();
        assert_close(&key("grad_x"), &x.grad(), &reference[&key("grad_x")], GRADIENT);
        let mine: StateDict = reference
            .iter()
            .filter_map(|(it, tensor)| Some((it.strip_prefix(&key(""))?.to_owned(), tensor.shallow_clone())))
            .collect();
        if store.num_params() > 0 {
            // The bias in C3TR gathers from every place what cancels in front of the next batch norm.
            assert_gradients(&store, &mine, if name == "c3tr" { 1e-4 } else { GRADIENT });
        }
        for (it, tensor) in store.state_dict() {
            if let Some(want) = mine.get(&format!("buf.{it}")) {
                assert_close(&key(&it), &tensor, want, FORWARD);
            }
        }
    }
}

#[test]
fn blocks_of_the_early_versions() {
    let reference = golden("blocks");
    let leaky = json!({"type": "LeakyReLU", "negative_slope": 0.1});
    let check = |name: &str, config: Value, repeats: i64, channels: i64| {
        check(&reference, name, &early(), config, repeats, [2, channels, 12, 10]);
    };
    check("hs_conv", json!({"type": "Conv", "c2": 24, "k": 3, "s": 2}), 1, 16);
    check("hs_bottleneck", json!({"type": "Bottleneck", "c2": 16}), 1, 16);
    let csp = |shortcut: bool| json!({"type": "BottleneckCSP", "c2": 24, "shortcut": shortcut, "act": leaky});
    check("hs_bottleneck_csp", csp(false), 2, 16);
    check("hs_bottleneck_csp_sc", csp(true), 1, 16);
    check("hs_spp", json!({"type": "SPP", "c2": 24}), 1, 16);
    check("hs_focus", json!({"type": "Focus", "c2": 16, "k": 3}), 1, 3);
    check("hs_ca", json!({"type": "CA", "c2": 16}), 1, 16);
    check("hs_classify", json!({"type": "Classify", "c2": 10, "early": true}), 1, 16);
    check("hs_cneb", json!({"type": "CNeB", "c2": 24}), 2, 16);
    check("hs_acmix", json!({"type": "ACmix", "c2": 24}), 1, 16);
    check("hs_acmix_k3", json!({"type": "ACmix", "c2": 16, "kernel_att": 3, "head": 2}), 1, 16);
    check("hs_space_to_depth", json!({"type": "space_to_depth"}), 1, 3);
    check("hs_dwconv", json!({"type": "DWConv", "c2": 24, "k": 3, "s": 2}), 1, 16);
}

#[test]
fn blocks_of_the_sixth_version() {
    let reference = golden("blocks");
    let check = |name: &str, config: Value, repeats: i64, channels: i64| {
        check(&reference, name, &ListSettings::default(), config, repeats, [2, channels, 12, 10]);
    };
    check("y5_conv", json!({"type": "Conv", "c2": 24, "k": 3, "s": 2}), 1, 16);
    check("y5_bottleneck", json!({"type": "Bottleneck", "c2": 16}), 1, 16);
    check("y5_c3", json!({"type": "C3", "c2": 24}), 2, 16);
    check("y5_c3_noadd", json!({"type": "C3", "c2": 24, "shortcut": false}), 1, 16);
    check("y5_spp", json!({"type": "SPP", "c2": 24}), 1, 16);
    check("y5_sppf", json!({"type": "SPPF", "c2": 24}), 1, 16);
    check("y5_focus", json!({"type": "Focus", "c2": 16, "k": 3}), 1, 3);
    check("y5_bottleneck_csp", json!({"type": "BottleneckCSP", "c2": 24, "shortcut": false}), 2, 16);
    check("y5_dwconv", json!({"type": "DWConv", "c2": 24, "k": 3, "s": 2}), 1, 16);
    check("y5_ghostconv", json!({"type": "GhostConv", "c2": 24}), 1, 16);
    check("y5_c3ghost", json!({"type": "C3Ghost", "c2": 24}), 1, 16);
    check("y5_ghostbottleneck_s2", json!({"type": "GhostBottleneck", "c2": 24, "s": 2}), 1, 16);
    check("y5_crossconv", json!({"type": "CrossConv", "c2": 16}), 1, 16);
    check("y5_contract", json!({"type": "Contract"}), 1, 16);
    check("y5_expand", json!({"type": "Expand"}), 1, 16);
}

#[test]
fn blocks_that_the_first_file_is_silent_about() {
    let reference = golden("blocks_more");
    let check = |name: &str, config: Value, repeats: i64, channels: i64, side: i64| {
        let shape = [2, channels, side, side * 5 / 6];
        check(&reference, name, &ListSettings::default(), config, repeats, shape);
    };
    check("c2f", json!({"type": "C2f", "c2": 24, "shortcut": true}), 2, 16, 12);
    check("c2f_noadd", json!({"type": "C2f", "c2": 24}), 1, 16, 12);
    check("classify", json!({"type": "Classify", "c2": 10}), 1, 16, 12);
    check("se", json!({"type": "SE", "c2": 32, "reduction": 8}), 1, 32, 12);
    check("cbam", json!({"type": "CBAM", "c2": 32, "reduction": 8}), 1, 32, 12);
    check("gc", json!({"type": "CB2D", "c2": 16}), 1, 16, 12);
    check("gc_avg", json!({"type": "CB2D", "c2": 16, "pool": "avg", "fusions": ["channel_add"]}), 1, 16, 12);
    check("c3tr", json!({"type": "C3TR", "c2": 24}), 2, 16, 6);
    check("c3x", json!({"type": "C3x", "c2": 24}), 2, 16, 12);
    check("c3spp", json!({"type": "C3SPP", "c2": 24}), 1, 16, 12);
    check("mixconv2d", json!({"type": "MixConv2d", "c2": 24, "k": [1, 3, 5], "s": 2}), 1, 16, 12);
    let leaky = json!({"type": "LeakyReLU", "negative_slope": 0.1});
    check("mixconv2d_early", json!({"type": "MixConv2d", "c2": 16, "act": leaky, "add": true}), 1, 16, 12);
}
