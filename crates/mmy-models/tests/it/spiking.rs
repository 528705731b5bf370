//! Spiking blocks and models against EMS-YOLO's own.

use mmy_models::{
    detectors::yolo_detector::layer_table,
    kinds::{Block, BlockArgs, BuiltBlock, FeatureInfo, Layer, ListSettings},
    layers::spiking::meter::{What, measure},
};
use mmy_nn::{
    MemoryFormat, ParamStore,
    testing::{assert_close, assert_gradients, field, fill, golden, sfield},
};
use mmy_torch::memory_format::to_memory_format;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::support::{assert_raw_maps, build, list_detector, slot};

/// A block that is handed six channels at stride 1, over four time steps.
fn block(config: Value, format: MemoryFormat) -> (ParamStore, Box<dyn Layer>, FeatureInfo) {
    let store = ParamStore::with_format(Device::Cpu, 0, format);
    let list = ListSettings { time_steps: 4, ..ListSettings::default() };
    let inputs = [FeatureInfo { channels: 6, stride: 1 }];
    let built = slot::<Block>(config).build(BlockArgs::new(&store.root(), &inputs, &list)).unwrap();
    fill(&store, 1.0, "");
    match built {
        BuiltBlock::Layer { layer, outputs } => (store, layer, outputs[0]),
        BuiltBlock::Detect { .. } => panic!("no block here detects"),
    }
}

#[test]
fn blocks_are_the_originals() {
    let reference = golden("ems_modules");
    for (name, spikes, config) in [
        ("conv_silu", false, json!({"type": "MembraneConv", "c2": 8, "k": 3})),
        ("conv_A", false, json!({"type": "Conv_A", "c2": 8, "k": 3, "s": 2})),
        ("conv_2", false, json!({"type": "Conv_2", "c2": 8, "k": 3})),
        ("conv_2", false, json!({"type": "Conv_1", "c2": 8, "k": 3})),
        ("conv_lif", true, json!({"type": "LIFConv", "c2": 8, "k": 3})),
        ("pools_2_2", false, json!({"type": "Pools", "k": 2, "s": 2})),
        ("pools_2_1", false, json!({"type": "Pools", "k": 2, "s": 1})),
        ("pools_3_2_1", false, json!({"type": "Pools", "k": 3, "s": 2, "p": 1})),
        ("zeropad_0101", false, json!({"type": "zeropad", "padding": [0, 1, 0, 1]})),
        ("sample_x2", false, json!({"type": "Sample"})),
        ("basicblock_ms", false, json!({"type": "BasicBlock_ms", "c2": 8, "s": 2})),
    ] {
        for format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
            // A map of stride 1 cannot be enlarged further, as far as strides go.
            let (store, layer, output) = match name {
                "sample_x2" => sample(format),
                _ => block(config.clone(), format),
            };
            let x = sfield("xt", &[4, 2, 6, 10, 8], 2.0).view([8, 6, 10, 8]);
            let x = to_memory_format(&x, format).unwrap().set_requires_grad(true);
            let get = |key: &str| &reference[&format!("{name}.{key}")];
            let timed = |t: &Tensor, like: &Tensor| t.contiguous().view(like.size().as_slice());
            let y = tch::no_grad(|| layer.forward(&[x.shallow_clone()], false)).remove(0);
            assert_close(name, &timed(&y, get("eval.y")), get("eval.y"), 2e-6);
            let y = layer.forward(&[x.shallow_clone()], true).remove(0);
            assert_eq!(y.size()[1], output.channels, "{name}");
            assert_close(name, &timed(&y, get("y")), get("y"), 2e-6);
            let loss = match spikes {
                true => (timed(&y, get("y")) * sfield("g", &get("y").size(), 1.0)).sum(Kind::Float),
                false => y.square().sum(Kind::Float),
            };
            loss.backward();
            // A sum of products of 2y and x over time, batch and pixels. Where a norm comes last, the sum of squares does not
            // depend on what is in front of it but for eps, so that rounding is all there is: as much as float32 may lose of
            // so many products.
            let largest = |t: &Tensor| t.abs().max().double_value(&[]);
            let near = |what: &str, got: &Tensor, want: &Tensor| {
                let products = (x.numel() as f64 / 6.0) * 2.0 * largest(get("y")) * largest(&x);
                let error = largest(&(got - want));
                let allowed = (1e-5 * largest(want)).max(f64::from(f32::EPSILON) * products);
                assert!(error <= allowed, "{name}: gradient of {what}: off by {error:e}, {allowed:e} allowed");
            };
            near("x", &timed(&x.grad(), get("grad_x")), get("grad_x"));
            for (key, tensor) in store.state_dict() {
                if let Some(want) = reference.get(&format!("{name}.grad.{key}")) {
                    near(&key, &tensor.grad(), want);
                }
                if let Some(want) = reference.get(&format!("{name}.buf.{key}")) {
                    assert_close(&format!("{name}: {key}"), &tensor, want, 2e-6);
                }
            }
        }
    }
}

fn sample(format: MemoryFormat) -> (ParamStore, Box<dyn Layer>, FeatureInfo) {
    let store = ParamStore::with_format(Device::Cpu, 0, format);
    let list = ListSettings { time_steps: 4, ..ListSettings::default() };
    let inputs = [FeatureInfo { channels: 6, stride: 2 }];
    match slot::<Block>(json!({"type": "Sample"})).build(BlockArgs::new(&store.root(), &inputs, &list)).unwrap() {
        BuiltBlock::Layer { layer, outputs } => (store, layer, outputs[0]),
        BuiltBlock::Detect { .. } => panic!("no block here detects"),
    }
}

/// Blocks of which the original has no numbers here: shapes, names, gradients, and what is refused.
#[test]
fn blocks_run_at_every_size() {
    let x = sfield("xt", &[8, 6, 12, 8], 2.0);
    for (config, names) in [
        (json!({"type": "BasicBlock_1", "c2": 8, "s": 2}), vec!["shortcut.2.weight", "residual_function.4.weight"]),
        (json!({"type": "BasicBlock_2", "c2": 8}), vec!["shortcut.2.weight"]),
        (json!({"type": "BasicBlock_ms", "c2": 8, "k": 1, "kernels": "binary"}), vec!["shortcut.1.weight"]),
        (json!({"type": "Concat_res2", "c2": 16, "s": 2}), vec!["shortcut.1.weight"]),
        (json!({"type": "ConcatBlock_ms", "c2": 16, "s": 2, "kernels": "binary"}), vec!["shortcut.2.bn.weight"]),
        (json!({"type": "LIFConv_quant", "c2": 8, "k": 3, "kernels": "binary"}), vec!["act.alpha"]),
    ] {
        let (store, layer, output) = block(config.clone(), MemoryFormat::ChannelsLast);
        let y = layer.forward(&[x.shallow_clone()], true).remove(0);
        assert_eq!(y.size(), [8, output.channels, 12 / output.stride, 8 / output.stride], "{config}");
        y.square().mean(Kind::Float).backward();
        for entry in store.entries().into_iter().filter(|it| it.trainable()) {
            assert!(entry.tensor.grad().defined(), "{config}: {}", entry.name);
        }
        assert!(names.into_iter().all(|it| store.get(it).is_some()), "{config}");
    }
    let list = ListSettings { time_steps: 4, ..ListSettings::default() };
    let inputs = [FeatureInfo { channels: 16, stride: 1 }];
    for (config, key) in [
        (json!({"type": "ConcatBlock_ms", "c2": 16}), "c2"),
        (json!({"type": "BasicBlock_2", "c2": 16, "k": 2}), "k"),
        (json!({"type": "LIFConv", "c2": 16, "g": 3}), "g"),
        (json!({"type": "Sample", "scale_factor": 2}), "scale_factor"),
    ] {
        let root = ParamStore::dry().root();
        let error = slot::<Block>(config.clone()).build(BlockArgs::new(&root, &inputs, &list)).unwrap_err();
        assert_eq!(error.path, [key], "{config}");
    }
}

/// YOLOv3-tiny with neurons behind every convolution but the detecting ones, or with what was published in their place.
fn yolov3_tiny(conv: &str, time_steps: i64) -> Value {
    let conv = |channels: i64, kernel: i64| json!([-1, 1, conv, [channels, kernel, 1]]);
    // With one step there is no axis of time in front.
    let axis = if time_steps == 1 { 1 } else { 2 };
    let pool = || json!([-1, 1, "Pools", [2, 2, 0]]);
    let backbone = json!([
        conv(16, 3),
        pool(),
        conv(32, 3),
        pool(),
        conv(64, 3),
        pool(),
        conv(128, 3),
        pool(),
        conv(256, 3),
        pool(),
        conv(512, 3),
        [-1, 1, "zeropad", [[0, 1, 0, 1]]],
        [-1, 1, "Pools", [2, 1, 0]],
    ]);
    let head = json!([
        conv(1024, 3),
        conv(256, 1),
        conv(512, 3),
        [-2, 1, conv(128, 1)[2], [128, 1, 1]],
        [-1, 1, "Sample", ["None", 2, "nearest"]],
        [[-1, 8], 1, "Concat", [axis]],
        conv(256, 3),
        [[19, 15], 1, "Detect", ["nc", "anchors"]],
    ]);
    let anchors = json!([[10, 14, 23, 27, 37, 58], [81, 82, 135, 169, 344, 319]]);
    list_detector(backbone, head, json!({"anchors": anchors, "time_steps": time_steps}))
}

#[test]
fn a_spiking_yolov3_tiny_is_the_originals() {
    let reference = golden("ems_tiny_yolov3_lif");
    for format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
        let store = ParamStore::with_format(Device::Cpu, 0, format);
        let model = build(yolov3_tiny("LIFConv", 4), &store).unwrap();
        assert_eq!(store.num_params(), 8_852_366);
        let anchors = store.get("model.20.anchors").unwrap().copy();
        fill(&store, 1.0, "");
        tch::no_grad(|| store.get("model.20.anchors").unwrap().copy_(&anchors));
        let x = to_memory_format(&field("input", &[1, 3, 64, 96]), format).unwrap();
        let (maps, readings) = measure(|| tch::no_grad(|| model.forward(&x, false)).unwrap());
        // A sum in another order may put a potential on the other side of a threshold; none does here.
        assert_raw_maps(&maps.head, &reference, "raw", 5e-6);
        let neurons: Vec<_> = readings.iter().filter(|it| matches!(it.what, What::Spikes { steps: 4 })).collect();
        assert_eq!(neurons.len(), 11);
        assert!(neurons.iter().all(|it| it.active > 0 && it.active < it.of), "{neurons:?}");
        let fed = readings.iter().filter(|it| it.what == What::SpikesIn).count();
        assert_eq!(fed, 10, "all but the first convolution are fed spikes");

        let maps = model.forward(&x, true).unwrap();
        assert_raw_maps(&maps.head, &reference, "train.raw", 1e-5);
        let head = &maps.head;
        let all = head.cls.iter().chain(&head.bbox).chain(&head.obj);
        let loss = all.map(|it| it.square().sum(Kind::Float)).reduce(|a, b| a + b).unwrap();
        assert_close("loss", &loss.view([1]), &reference["train.loss"], 5e-6);
        loss.backward();
        assert_gradients(&store, &reference, 1e-4);
    }
}

#[test]
fn event_frames_are_steps_of_their_own() {
    let store = ParamStore::new(Device::Cpu, 0);
    let model = build(yolov3_tiny("LIFConv", 4), &store).unwrap();
    fill(&store, 1.0, "");
    let x = field("input", &[2, 3, 64, 32]);
    let of = |x: &Tensor| tch::no_grad(|| model.forward(x, false)).unwrap().head.bbox.remove(0);
    let still = x.unsqueeze(1).repeat([1, 4, 1, 1, 1]);
    assert_eq!(of(&still), of(&x), "a picture is its own frame in each step");
    let _ = still.select(1, 3).fill_(0.0);
    assert_ne!(of(&still), of(&x));
    assert!(model.forward(&still.narrow(1, 0, 3), false).is_err(), "three frames for four steps");
}

#[test]
fn the_published_yolov3_tiny_does_not_spike() {
    let store = ParamStore::new(Device::Cpu, 0);
    let model = build(yolov3_tiny("Conv_2", 4), &store).unwrap();
    assert_eq!(store.num_params(), 8_852_366);
    let x = field("input", &[1, 3, 64, 96]);
    let (maps, readings) = measure(|| tch::no_grad(|| model.forward(&x, false)).unwrap());
    assert!(readings.iter().all(|it| it.what == What::CurrentsIn), "{readings:?}");
    // Every step is the same, so that one is as good as four.
    let store = ParamStore::new(Device::Cpu, 0);
    let once = build(yolov3_tiny("Conv_2", 1), &store).unwrap();
    let once = tch::no_grad(|| once.forward(&x, false)).unwrap();
    for (four, one) in maps.head.bbox.iter().zip(&once.head.bbox) {
        assert_close("one step", four, one, 1e-6);
    }
    let rows = layer_table(&*model, (640, 640)).unwrap();
    let macs: u64 = rows.iter().map(|it| it.macs).sum();
    // Four times 6.5858, but for the detecting convolutions, which run once on the mean over time.
    let detect: u64 = rows.iter().filter(|it| it.path.starts_with("model.20")).map(|it| it.macs).sum();
    assert_eq!(((macs + 3 * detect) as f64 / 4e5).round() as u64, 65_858);
}
