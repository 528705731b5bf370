//! Every registered part: its defaults build or say why, it runs forwards and backwards, its names are unique.

use mmy_models::kinds::{
    BBoxCoder, BBoxHead, Backbone, Block, BlockArgs, BoxLoss, BuiltBlock, DataPreprocessor, Detector, FeatureInfo,
    HeadModule, HeadModuleArgs, ListSettings, Loss, Neck, NeckArgs, PriorGenerator,
};
use mmy_nn::{LoadPolicy, ParamStore, Role, testing::field};
use mmy_registry::{Kind, Slot, names};
use serde_json::json;
use tch::{Device, Tensor};

use crate::support::slot;

/// Names of a kind, of which there is at least one.
fn all<K: Kind>() -> Vec<&'static str> {
    let names = names(K::NAME);
    assert!(!names.is_empty(), "no {} is registered", K::NAME);
    names
}

/// Every trainable parameter has a gradient that is a number.
fn assert_all_trained(name: &str, store: &ParamStore) {
    store.check().unwrap();
    for entry in store.entries() {
        if entry.role == Role::Buffer {
            continue;
        }
        let grad = entry.tensor.grad();
        assert!(grad.defined(), "{name}: no gradient reaches {}", entry.name);
        assert_eq!(grad.isfinite().all().int64_value(&[]), 1, "{name}: gradient of {}", entry.name);
    }
}

fn sum(maps: &[Tensor]) -> Tensor {
    maps.iter().map(|it| it.square().mean(tch::Kind::Float)).reduce(|a, b| a + b).unwrap()
}

#[test]
fn nothing_is_registered_twice() {
    mmy_registry::check().unwrap();
}

/// A backbone of more parameters than that is only counted and shaped, not filled and run.
pub const LARGE: u64 = 20_000_000;

/// Every backbone with its config; one that is written as a list of layers has tests of its own.
pub fn smallest_backbones() -> Vec<(&'static str, serde_json::Value)> {
    let config = |name: &'static str| match name {
        "RevCol" => json!({"type": name, "channels": [8, 16, 24, 32], "layers": [1, 2, 1, 1], "columns": 3}),
        _ => json!({"type": name}),
    };
    all::<Backbone>().into_iter().filter(|it| *it != "LayerListBackbone").map(|it| (it, config(it))).collect()
}

#[test]
fn backbones_run_and_train() {
    for (name, config) in smallest_backbones() {
        let dry = ParamStore::dry();
        let backbone = slot::<Backbone>(config.clone()).build(&dry.root()).unwrap();
        let size = 64;
        let x = Tensor::zeros([1], (tch::Kind::Float, Device::Cpu)).expand([2, 3, size, size], false);
        let (maps, _) = mmy_nn::trace::shapes(|| backbone.forward(&x, false));
        let info = backbone.feature_info();
        assert_eq!(maps.len(), info.len(), "{name}");
        for (map, FeatureInfo { channels, stride }) in maps.iter().zip(info) {
            assert_eq!(map.size(), [2, channels, size / stride, size / stride], "{name}");
        }
        if dry.num_params() > LARGE {
            continue;
        }
        let store = ParamStore::new(Device::Cpu, 0);
        let backbone = slot::<Backbone>(config).build(&store.root()).unwrap();
        let maps = backbone.forward(&field(name, &[2, 3, size, size]), true);
        let info = backbone.feature_info();
        assert_eq!(maps.len(), info.len(), "{name}");
        for (map, FeatureInfo { channels, stride }) in maps.iter().zip(info) {
            assert_eq!(map.size(), [2, channels, size / stride, size / stride], "{name}");
        }
        sum(&maps).backward();
        assert_all_trained(name, &store);
    }
}

#[test]
fn necks_and_head_modules_run_and_train() {
    let features = [(256, 8), (512, 16), (1024, 32)].map(|(channels, stride)| FeatureInfo { channels, stride });
    let x = [8, 4, 2].into_iter().zip(features).map(|(size, it)| field("x", &[2, it.channels, size, size]));
    let x: Vec<_> = x.collect();
    for name in all::<Neck>() {
        let store = ParamStore::new(Device::Cpu, 0);
        let args = NeckArgs { scope: &store.root(), features: &features };
        let neck = slot::<Neck>(json!({"type": name})).build(args).unwrap();
        let maps = neck.forward(&x, true);
        assert_eq!(maps.iter().map(|it| it.size()[1]).collect::<Vec<_>>(), [256, 512, 1024], "{name}");
        assert_eq!(neck.feature_info(), features, "{name}");
        sum(&maps).backward();
        assert_all_trained(name, &store);
    }
    for name in all::<HeadModule>() {
        let store = ParamStore::new(Device::Cpu, 0);
        let args = HeadModuleArgs { scope: &store.root(), features: &features };
        let module = slot::<HeadModule>(json!({"type": name})).build(args).unwrap();
        let maps = module.forward(&x, true);
        let width = (module.num_base_priors() * (5 + module.num_classes())) as i64;
        assert!(maps.iter().all(|it| it.size()[1] == width), "{name}");
        sum(&maps).backward();
        assert_all_trained(name, &store);
    }
}

#[test]
fn parts_without_weights_build_or_say_why() {
    for name in all::<PriorGenerator>() {
        let priors = slot::<PriorGenerator>(json!({"type": name})).build(()).unwrap();
        let levels = priors.strides().len();
        assert_eq!(priors.base_sizes().len(), levels, "{name}");
        let per_cell = priors.base_sizes()[0].len() as i64;
        assert_eq!(priors.grid_priors(levels - 1, (3, 5)).size(), [3 * 5 * per_cell, 4], "{name}");
    }
    for name in all::<BBoxCoder>() {
        let coder = slot::<BBoxCoder>(json!({"type": name})).build(()).unwrap();
        let boxes = field("boxes", &[7, 4]);
        assert_eq!(coder.decode(&boxes, &boxes, &field("stride", &[7])).size(), [7, 4], "{name}");
    }
    for name in all::<DataPreprocessor>() {
        let preprocess = slot::<DataPreprocessor>(json!({"type": name})).build(()).unwrap();
        let x = preprocess.forward(&Tensor::ones([2, 3, 8, 8], (tch::Kind::Uint8, Device::Cpu)));
        assert_eq!((x.size(), x.kind()), (vec![2, 3, 8, 8], tch::Kind::Float), "{name}");
    }
    for name in all::<BoxLoss>() {
        let loss = slot::<BoxLoss>(json!({"type": name})).build(()).unwrap();
        let pred = field("pred", &[7, 4]).set_requires_grad(true);
        let (loss, overlap) = loss.forward(&pred, &field("target", &[7, 4]));
        loss.backward();
        assert_eq!((loss.size(), overlap.size(), pred.grad().size()), (vec![], vec![7], vec![7, 4]), "{name}");
    }
    for name in all::<Loss>() {
        // Its default is softmax, as in the original, which no head takes.
        let error = slot::<Loss>(json!({"type": name})).build(()).unwrap_err();
        assert_eq!(error.path, ["use_sigmoid"], "{name}");
        let loss = slot::<Loss>(json!({"type": name, "use_sigmoid": true})).build(()).unwrap();
        let logits = field("logits", &[7, 4]).set_requires_grad(true);
        let value = loss.forward(&logits, &field("targets", &[7, 4]));
        value.backward();
        assert_eq!((value.size(), logits.grad().size()), (vec![], vec![7, 4]), "{name}");
    }
}

#[test]
fn composed_parts_name_the_key_that_they_lack() {
    fn check<K: Kind>() {
        for name in all::<K>() {
            let schema = serde_json::to_value(mmy_registry::find(K::NAME, name).unwrap().schema()).unwrap();
            let required = schema["required"].as_array().unwrap_or_else(|| panic!("{name} needs no part: {schema:#}"));
            let error = serde_json::from_value::<Slot<K>>(json!({"type": name})).unwrap_err().to_string();
            let named =
                required.iter().any(|key| error.contains(&format!("missing field `{}`", key.as_str().unwrap())));
            assert!(named, "{name}: {error}");
        }
    }
    check::<Detector>();
    check::<BBoxHead>();
}

#[test]
fn every_key_of_every_part_is_documented() {
    for entry in mmy_registry::entries() {
        let schema = serde_json::to_value(entry.schema()).unwrap();
        assert!(schema["description"].is_string(), "{} has no doc", entry.name);
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            assert!(value["description"].is_string(), "{}: {key} has no doc", entry.name);
        }
    }
}

/// A config of the block `name` that holds what it needs and nothing else, with so many channels.
pub fn smallest_block(name: &str, channels: i64) -> serde_json::Value {
    let schema = serde_json::to_value(mmy_registry::find("block", name).unwrap().schema()).unwrap();
    let mut config = json!({"type": name});
    for key in schema["required"].as_array().into_iter().flatten() {
        let key = key.as_str().unwrap();
        config[key] = match (key, schema["properties"][key]["type"].as_str()) {
            ("c2", _) => json!(channels),
            (_, Some("array")) => json!([0, 1, 0, 1]),
            _ => json!(2),
        };
    }
    config
}

#[test]
fn blocks_run_train_save_and_load() {
    let map = FeatureInfo { channels: 16, stride: 8 };
    for name in all::<Block>() {
        // Two time steps, since what a neuron carries over from the last one reaches nothing.
        let mut settings = ListSettings { num_classes: 3, time_steps: 2, ..ListSettings::default() };
        let inputs = match name {
            "Concat" => vec![map; 2],
            it if it.ends_with("Detect") => {
                settings.anchors = vec![vec![(10.0, 13.0), (16.0, 30.0)]; 2];
                vec![map, FeatureInfo { stride: 16, ..map }]
            }
            _ => vec![map],
        };
        let x =
            || -> Vec<_> { inputs.iter().map(|it| field(name, &[2, 16, 128 / it.stride, 128 / it.stride])).collect() };
        let build = |seed| {
            let store = ParamStore::new(Device::Cpu, seed);
            let root = store.root();
            let args = BlockArgs::new(&root, &inputs, &settings);
            // Some blocks keep their channels, some have to add to them.
            let built = slot::<Block>(smallest_block(name, 16)).build(args);
            let built = built.or_else(|_| slot::<Block>(smallest_block(name, 32)).build(args));
            (store, built.unwrap_or_else(|it| panic!("{name}: {it}")))
        };
        let run = |built: &BuiltBlock, train| match built {
            BuiltBlock::Layer { layer, .. } => layer.forward(&x(), train),
            BuiltBlock::Detect { module, .. } => module.forward(&x(), train),
        };
        let (store, built) = build(0);
        let maps = run(&built, true);
        if let BuiltBlock::Layer { outputs, .. } = &built {
            for (map, it) in maps.iter().zip(outputs) {
                assert_eq!(map.size()[..2], [2, it.channels], "{name}");
            }
        }
        if store.num_params() > 0 {
            sum(&maps).backward();
            assert_all_trained(name, &store);
        }
        let state: mmy_nn::StateDict = store.state_dict().into_iter().collect();
        let (other, copy) = build(1);
        other.load_state(&state, LoadPolicy::Exact).unwrap_or_else(|it| panic!("{name}: {it}"));
        for (a, b) in run(&built, false).iter().zip(run(&copy, false)) {
            assert_eq!(a, &b, "{name}");
        }
    }
}

#[test]
fn parts_of_published_models_give_their_channels() {
    let map = FeatureInfo { channels: 16, stride: 8 };
    for (name, channels) in [
        ("Bottleneck_DSConv2D", 32),
        ("C3GC", 32),
        ("DSConv2D", 32),
        ("DSConv2D_C3AsPublished", 32),
        ("MobileOneAsPublished", 16),
        ("ZeroPad2d", 16),
    ] {
        let (store, list) = (ParamStore::dry(), ListSettings::default());
        let built =
            slot::<Block>(smallest_block(name, channels)).build(BlockArgs::new(&store.root(), &[map], &list)).unwrap();
        let BuiltBlock::Layer { outputs, .. } = built else { panic!("{name} detects") };
        assert_eq!(outputs[0].channels, channels, "{name}");
    }
    let backbone = slot::<Backbone>(json!({"type": "MobileOne"})).build(&ParamStore::dry().root()).unwrap();
    assert_eq!(backbone.feature_info().iter().map(|it| it.stride).collect::<Vec<_>>(), [8, 16, 32]);
    let error = serde_json::from_value::<Slot<Detector>>(json!({"type": "DSConvDetector"})).unwrap_err();
    assert!(error.to_string().contains("missing field `detector`"), "{error}");
}
