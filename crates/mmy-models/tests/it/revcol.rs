//! RevCol against the original, and its reversible pass against the one that keeps activations.

use mmy_models::kinds::{Backbone, Features};
use mmy_nn::{
    MemoryFormat, ParamStore, Role,
    testing::{assert_close, assert_gradients, field, fill, golden, relative_error},
};
use mmy_torch::{alloc::TensorBytes, autocast::autocast, memory_format::to_memory_format};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::support::{assert_raw_maps, build, list_detector, slot};

#[test]
fn tiny_is_the_originals() {
    let reference = golden("revcol_tiny");
    for (format, reversible) in [
        (MemoryFormat::Contiguous, false),
        (MemoryFormat::Contiguous, true),
        (MemoryFormat::ChannelsLast, false),
        (MemoryFormat::ChannelsLast, true),
    ] {
        let store = ParamStore::with_format(Device::Cpu, 0, format);
        let config = json!({
            "type": "revcol_tiny", "drop_path": 0.0, "reversible": reversible, "out_indices": [0, 1, 2, 3],
        });
        let backbone = slot::<Backbone>(config).build(&store.root()).unwrap();
        fill(&store, 1.0, "");
        let x = to_memory_format(&field("input", &[1, 3, 64, 64]), format).unwrap().set_requires_grad(true);
        let maps = backbone.forward(&x, true);
        for (i, map) in maps.iter().enumerate() {
            // Float32 sums of eighty layers in another order; the original's own distance to float64 is as large.
            assert_close(&format!("c{i}"), map, &reference[&format!("c{i}")], 5e-6);
        }
        let loss = sum_of_squares(&maps);
        assert_close("loss", &loss.view([1]), &reference["loss"], 2e-6);
        loss.backward();
        // The bound that the reversible pass promises. The original's two passes agree to 1e-5, both in float32.
        assert_close("gradient of the input", &x.grad(), &reference["grad_input"], 1e-4);
        assert_gradients(&store, &reference, 1e-4);
        let first = store.get("subnet0.alpha0").unwrap().grad();
        assert_eq!(first.abs().max().double_value(&[]), 0.0, "nothing is there for the first column's factors");
    }
}

fn sum_of_squares(maps: &[Tensor]) -> Tensor {
    maps.iter().map(|it| it.square().sum(Kind::Float)).reduce(|a, b| a + b).unwrap()
}

/// A small RevCol with branches and factors as training leaves them. What draws at random has a test in a process of its
/// own, since the generator belongs to the process.
fn small(columns: i64, reversible: bool) -> (ParamStore, Box<dyn Features>) {
    let store = ParamStore::new(Device::Cpu, 0);
    let config = json!({
        "type": "RevCol", "channels": [8, 16, 24, 32], "layers": [1, 1, 2, 1], "columns": columns, "drop_path": 0.0,
        "reversible": reversible, "out_indices": [0, 1, 2, 3],
    });
    let backbone = slot::<Backbone>(config).build(&store.root()).unwrap();
    fill(&store, 1.0, "");
    (store, backbone)
}

/// The worst distance of a gradient from that of the stored pass, relative to its largest number.
fn worst(columns: i64, kind: Kind) -> f64 {
    let run = |reversible| {
        let (store, backbone) = small(columns, reversible);
        let x = field("x", &[4, 3, 64, 96]).set_requires_grad(true);
        let maps = match kind {
            Kind::Float => backbone.forward(&x, true),
            _ => autocast(Device::Cpu, kind, || backbone.forward(&x, true)).unwrap(),
        };
        assert!(maps.iter().all(|it| it.kind() == Kind::Float), "columns add up in float32");
        sum_of_squares(&maps).backward();
        let mut named: Vec<_> = store.entries().into_iter().map(|it| (it.name, it.tensor.grad())).collect();
        named.push(("x".into(), x.grad()));
        (named, maps)
    };
    let ((stored, maps), (reversed, maps_reversed)) = (run(false), run(true));
    for (stored, reversed) in maps.iter().zip(&maps_reversed) {
        // Columns add up in float64 on one side and in float32 on the other, and what sixteen of them round passes through the
        // levels of those that follow; in bfloat16 a level may round either way.
        assert_close("map", reversed, stored, if kind == Kind::Float { 1e-5 } else { 2e-2 });
    }
    let errors = stored.iter().zip(&reversed).map(|((name, a), (_, b))| {
        assert!(a.defined() && b.defined(), "{name}");
        relative_error(b, a)
    });
    errors.fold(0.0, f64::max)
}

#[test]
fn gradients_are_those_of_the_stored_pass() {
    for columns in [1, 2, 4, 9, 16] {
        let worst = worst(columns, Kind::Float);
        assert!(worst < 1e-4, "{columns} columns: {worst:e}");
    }
}

#[test]
fn autocast_is_that_of_the_forward_pass() {
    // Computed anew in bfloat16, a level's output is the same unless its input, rebuilt in float32, is rounded the other
    // way. Computed anew in float32 by mistake, it would differ by bfloat16's own 4e-3 everywhere.
    let worst = worst(4, Kind::BFloat16);
    assert!(worst < 2e-2, "{worst:e}");
}

#[test]
fn factors_are_kept_away_from_0() {
    let (store, backbone) = small(2, true);
    let alpha = store.get("subnet1.alpha2").unwrap();
    let values = Tensor::from_slice(&[0.0f32, -0.0, 1e-5, -1e-5, 0.5, -0.5]).view([1, 6, 1, 1]).repeat([1, 4, 1, 1]);
    tch::no_grad(|| alpha.shallow_clone().copy_(&values));
    sum_of_squares(&backbone.forward(&field("x", &[1, 3, 32, 32]), true)).backward();
    let clamped: Vec<f32> = Vec::try_from(alpha.detach().view([-1]).narrow(0, 0, 6)).unwrap();
    assert_eq!(clamped, [1e-3, 1e-3, 1e-3, -1e-3, 0.5, -0.5]);
    for entry in store.entries() {
        assert_eq!(entry.tensor.grad().isfinite().all().int64_value(&[]), 1, "{}", entry.name);
    }
}

/// The most bytes of tensors that a step holds above what there was before it, gradients included.
fn peak(columns: i64, reversible: bool) -> u64 {
    let store = ParamStore::new(Device::Cpu, 0);
    let config = json!({
        "type": "RevCol", "channels": [16, 32, 64, 128], "columns": columns, "drop_path": 0.0, "reversible": reversible,
    });
    let backbone = slot::<Backbone>(config).build(&store.root()).unwrap();
    let x = to_memory_format(&field("x", &[2, 3, 128, 128]), MemoryFormat::ChannelsLast).unwrap();
    let step = || sum_of_squares(&backbone.forward(&x, true)).backward();
    step();
    let count = TensorBytes::count().unwrap();
    step();
    count.peak()
}

#[test]
fn memory_hardly_grows_with_the_columns() {
    let [two, eight, sixteen] = [2, 8, 16].map(|it| peak(it, true));
    let stored = peak(8, false);
    assert!(2 * eight <= stored, "{eight} of {stored} bytes");
    assert!(sixteen as f64 <= 1.15 * two as f64, "{sixteen} bytes, {two} with two columns");
}

#[test]
fn a_graph_can_be_walked_twice_and_notices_a_change() {
    let (store, backbone) = small(3, true);
    let x = field("x", &[1, 3, 32, 32]);
    let loss = sum_of_squares(&backbone.forward(&x, true));
    let alpha = store.get("subnet2.alpha0").unwrap();
    mmy_torch::autograd::backward(&[&loss], &[], mmy_torch::autograd::Graph::Retain).unwrap();
    let once = alpha.grad().copy();
    mmy_torch::autograd::backward(&[&loss], &[], mmy_torch::autograd::Graph::Retain).unwrap();
    assert_close("the sum of both", &alpha.grad(), &(once * 2.0), 1e-6);
    let _ = tch::no_grad(|| store.get("subnet1.level0.blocks.0.gamma").unwrap().g_add_scalar_(1.0));
    let error = loss.f_backward().unwrap_err().to_string();
    assert!(error.contains("modified by an inplace operation"), "{error}");
}

#[test]
fn scales_and_factors_are_weights_to_an_optimiser() {
    let (store, _) = small(2, true);
    for entry in store.entries() {
        let leaf = entry.name.rsplit('.').next().unwrap();
        let want = match leaf {
            "bias" => Role::Bias,
            "weight" if entry.tensor.dim() == 1 => Role::NormWeight,
            _ => Role::Weight,
        };
        assert_eq!(entry.role, want, "{}", entry.name);
    }
}

#[test]
fn under_a_c3_head_it_is_the_originals() {
    let reference = golden("yolov5_revcol_fixed");
    let line = |from: Value, module: &str, args: Value| json!([from, 1, module, args]);
    let config = |down: [i64; 2]| {
        let backbone = json!([
            [-1, 1, "revcol_tiny", {"drop_path": 0.0, "out_indices": [0, 1, 2, 3]}],
            line(json!(-1), "SPPF", json!([1024, 5])),
        ]);
        let head = json!([
            line(json!(-1), "Conv", json!([512, 1, 1])),
            line(json!(-1), "Upsample", json!(["None", 2, "nearest"])),
            line(json!([-1, 3]), "Concat", json!([1])),
            [-1, 3, "C3", [512, false]],
            line(json!(-1), "Conv", json!([256, 1, 1])),
            line(json!(-1), "Upsample", json!(["None", 2, "nearest"])),
            line(json!([-1, 2]), "Concat", json!([1])),
            [-1, 3, "C3", [256, false]],
            line(json!(-1), "Conv", json!([256, 3, 2])),
            line(json!([-1, down[0]]), "Concat", json!([1])),
            [-1, 3, "C3", [512, false]],
            line(json!(-1), "Conv", json!([512, 3, 2])),
            line(json!([-1, down[1]]), "Concat", json!([1])),
            [-1, 3, "C3", [1024, false]],
            line(json!([13, 16, 19]), "Detect", json!(["nc", "anchors"])),
        ]);
        list_detector(backbone, head, json!({"depth_multiple": 0.33, "width_multiple": 0.25}))
    };
    for (down, params) in [([10, 6], 31_182_653), ([9, 5], 31_223_613)] {
        let store = ParamStore::dry();
        build(config(down), &store).unwrap();
        assert_eq!(store.num_params(), params);
    }
    let store = ParamStore::new(Device::Cpu, 0);
    let model = build(config([10, 6]), &store).unwrap();
    let anchors = store.get("model.16.anchors").unwrap().copy();
    fill(&store, 1.0, "");
    tch::no_grad(|| store.get("model.16.anchors").unwrap().copy_(&anchors));
    let x = to_memory_format(&field("input", &[1, 3, 96, 64]), MemoryFormat::ChannelsLast).unwrap();
    let maps = tch::no_grad(|| model.forward(&x, false)).unwrap();
    assert_raw_maps(&maps.head, &reference, "raw", 5e-6);
    let maps = model.forward(&x, true).unwrap();
    // Batch norms over as few as six numbers enlarge what sums lose.
    assert_raw_maps(&maps.head, &reference, "train.raw", 5e-5);
    let head = &maps.head;
    let all: Vec<_> = head.cls.iter().chain(&head.bbox).chain(&head.obj).map(Tensor::shallow_clone).collect();
    let loss = sum_of_squares(&all);
    assert_close("loss", &loss.view([1]), &reference["train.loss"], 1e-5);
    loss.backward();
    assert_gradients(&store, &reference, 1e-4);
}
