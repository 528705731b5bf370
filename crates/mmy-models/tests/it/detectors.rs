//! Whole detectors against the originals, and what a batch or a config may not be.

use mmy_models::kinds::{HeadMaps, ModelError};
use mmy_nn::{
    MemoryFormat, ParamStore, Role,
    testing::{assert_close, assert_gradients, field, fill, golden},
};
use mmy_structures::Batch;
use mmy_torch::memory_format::to_memory_format;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::support::{
    as_published, assert_detections, batch, build, detector, meta, rows, starnet, warnings, with, yolov5,
};

fn check(file: &str, config: Value, gain: f64, format: MemoryFormat, gradients: bool) {
    let reference = golden(file);
    let store = ParamStore::with_format(Device::Cpu, 0, format);
    let model = build(config, &store).unwrap();
    fill(&store, gain, "");
    let x = to_memory_format(&field("input", &[2, 3, 96, 128]), format).unwrap();

    let maps = tch::no_grad(|| model.forward(&x, false)).unwrap();
    let HeadMaps { cls, bbox, obj } = &maps.head;
    for (name, maps) in [("backbone", &maps.backbone), ("neck", &maps.neck), ("cls", cls), ("box", bbox), ("obj", obj)]
    {
        for (i, map) in maps.iter().enumerate() {
            let key = format!("{name}{i}");
            // Fifty layers of float32 sums in another order than the original's.
            assert_close(&key, map, &reference[&key], 5e-6);
        }
    }

    let plain = meta([0.0; 4], 1.0, RAW_SHAPE);
    let scaled = meta([10.0, 11.0, 7.0, 8.0], 1.25, (60, 90));
    for (key, meta) in [("det", plain), ("det_rescaled", scaled)] {
        let found = model.predict(&batch(x.shallow_clone(), &rows(&[]), &meta)).unwrap();
        for (i, found) in found.iter().enumerate() {
            // Scores of untrained weights lie closer together than float32 sums are exact.
            assert_detections(found, &reference, &format!("{key}{i}"), 3e-7);
        }
    }

    let batch = batch(x, &reference["gt"], &meta([0.0; 4], 1.0, RAW_SHAPE));
    let losses = model.loss(&batch).unwrap();
    for (name, loss) in &losses.0 {
        assert_close(name, &loss.view([1]), &reference[&format!("train.{name}")], 5e-6);
    }
    losses.total().backward();
    if gradients {
        // Float32 through sixty batch norms, some over only 24 numbers. libtorch's batch norm adds up in float64 where
        // memory is contiguous, in float32 where it is channels-last.
        let tolerance = if format == MemoryFormat::Contiguous { 2e-5 } else { 1e-4 };
        assert_gradients(&store, &reference, tolerance);
    }
}

/// Stored size of the pictures of `det…`, whose boxes are cut to it although they are not rescaled.
const RAW_SHAPE: (usize, usize) = (96, 128);

#[test]
fn yolov5_n() {
    for format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
        check("det_yolov5_n", yolov5(0.33, 0.25, 80), 1.0, format, true);
    }
}

#[test]
fn starnet_s1() {
    let config = starnet(24, &[2, 2, 8, 3], 4, 80);
    check("det_star_s1_corrected", config.clone(), 0.75, MemoryFormat::Contiguous, true);
    // One number in front of a ReLU6 (backbone.stages.2.4.f1) is 1.1e-6 in float64; float32 sums are exact to about
    // 4e-6 there, and those of channels-last convolutions land on the other side of the bend, which changes the
    // gradients of all layers below by some thousandths. `features` holds channels-last gradients of StarNet.
    check("det_star_s1_corrected", config, 0.75, MemoryFormat::ChannelsLast, false);
}

fn zeros(shape: &[i64], kind: Kind) -> Batch {
    batch(Tensor::zeros(shape, (kind, Device::Cpu)), &rows(&[]), &meta([0.0; 4], 1.0, (64, 64)))
}

#[test]
fn batches_that_a_model_cannot_take_are_errors() {
    let store = ParamStore::new(Device::Cpu, 0);
    let model = build(yolov5(0.33, 0.125, 3), &store).unwrap();
    let kind = Kind::Uint8;
    assert!(model.loss(&zeros(&[2, 3, 64, 64], kind)).is_ok());
    let check = |batch: Batch, want: &str| {
        for error in [model.loss(&batch).map(drop), model.predict(&batch).map(drop)] {
            assert!(error.unwrap_err().to_string().contains(want), "{want}");
        }
    };
    check(zeros(&[2, 1, 64, 64], kind), "(batch, 3, height, width)");
    check(zeros(&[0, 3, 64, 64], kind), "(batch, 3, height, width)");
    check(zeros(&[3, 64, 64], kind), "(batch, 3, height, width)");
    check(zeros(&[2, 3, 64, 72], kind), "64×72 do not fit a model that needs multiples of 32");
    check(zeros(&[2, 3, 64, 64], Kind::Int64), "Int64");
    let mut few = zeros(&[2, 3, 64, 64], kind);
    few.metas.pop();
    assert_eq!(model.predict(&few), Err(ModelError::Metas { metas: 1, pictures: 2 }));
    let short = Tensor::zeros([1, 3, 64, 64], (Kind::Half, Device::Cpu));
    assert!(matches!(model.forward(&short, false), Err(ModelError::NumberKind { .. })));
}

#[test]
fn a_padding_preprocessor_mends_sizes() {
    let store = ParamStore::new(Device::Cpu, 0);
    let config = with(yolov5(0.33, 0.125, 3), "data_preprocessor.pad_size_divisor", json!(32));
    let model = build(config, &store).unwrap();
    assert!(model.loss(&zeros(&[2, 3, 64, 72], Kind::Uint8)).is_ok());
}

#[test]
fn a_step_of_training_lowers_the_loss_in_both_kinds() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let store = ParamStore::new(Device::Cpu, 1);
        let model = build(starnet(8, &[1, 1, 1, 1], 2, 3), &store).unwrap();
        let batch = two_pictures();
        let mut totals = Vec::new();
        for _ in 0..4 {
            let losses = match kind {
                Kind::Float => model.loss(&batch),
                _ => mmy_torch::autocast::autocast(Device::Cpu, kind, || model.loss(&batch)).unwrap(),
            };
            let total = losses.unwrap().total();
            totals.push(total.double_value(&[]));
            total.backward();
            tch::no_grad(|| {
                for mut it in store.entries().into_iter().filter(|it| it.trainable()).map(|it| it.tensor) {
                    let step = it.grad() * 0.002;
                    let _ = it.g_sub_(&step);
                    it.zero_grad();
                }
            });
        }
        assert!(totals[3] < totals[0], "{kind:?}: {totals:?}");
    }
}

/// Two pictures of 64 × 64 pixels with a box each.
fn two_pictures() -> Batch {
    let table = rows(&[[0.0, 1.0, 8.0, 10.0, 30.0, 34.0], [1.0, 2.0, 4.0, 4.0, 60.0, 50.0]]);
    batch(field("pictures", &[2, 3, 64, 64]), &table, &meta([0.0; 4], 1.0, (64, 64)))
}

#[test]
fn the_published_config_warns_of_its_strides_and_trains() {
    let store = ParamStore::new(Device::Cpu, 0);
    let (model, warnings) = warnings(|| build(as_published(), &store).unwrap());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("strides [4, 8, 16]") && warnings[0].contains("[8, 16, 32]"), "{warnings:?}");
    model.loss(&two_pictures()).unwrap().total().backward();
    // Stage 3 runs and nobody uses it.
    let idle = store.entries().into_iter().filter(|it| it.trainable() && !it.tensor.grad().defined());
    let (count, numbers) = idle.fold((0, 0), |(n, all), it| (n + 1, all + it.tensor.numel()));
    assert_eq!((count, numbers), (32, 1_094_592));
}

#[test]
fn four_levels_train() {
    let channels = [256, 512, 768, 1024];
    let backbone = json!({
        "type": "YOLOv5CSPDarknet", "arch": "P6", "deepen_factor": 0.33, "widen_factor": 0.125,
        "out_indices": [2, 3, 4, 5],
    });
    let mut config = detector(backbone, &channels, 0.33, 0.125, 3);
    config = with(config, "bbox_head.head_module.featmap_strides", json!([8, 16, 32, 64]));
    config = with(config, "bbox_head.prior_generator.strides", json!([8, 16, 32, 64]));
    let sizes = [[[19, 27]], [[96, 68]], [[140, 301]], [[436, 615]]];
    config = with(config, "bbox_head.prior_generator.base_sizes", json!(sizes));
    config = with(config, "bbox_head.head_module.num_base_priors", json!(1));
    config = with(config, "bbox_head.obj_level_weights", json!([4.0, 1.0, 0.25, 0.06]));
    let store = ParamStore::new(Device::Cpu, 0);
    let model = build(config, &store).unwrap();
    assert_eq!(model.size_divisor(), 64);
    model.loss(&two_pictures()).unwrap().total().backward();
    assert!(store.entries().iter().filter(|it| it.trainable()).all(|it| it.tensor.grad().defined()));
}

#[test]
fn frozen_stages_and_running_statistics_stay() {
    let mut config = with(yolov5(0.33, 0.125, 3), "backbone.frozen_stages", json!(1));
    config = with(config, "backbone.norm_eval", json!(true));
    let store = ParamStore::new(Device::Cpu, 0);
    let model = build(config, &store).unwrap();
    model.loss(&two_pictures()).unwrap().total().backward();
    for entry in store.entries() {
        let below = |prefix: &str| entry.name.starts_with(prefix);
        match entry.role {
            Role::Buffer if entry.name.ends_with("num_batches_tracked") => {
                assert_eq!(entry.tensor.int64_value(&[]), i64::from(!below("backbone.")), "{}", entry.name);
            }
            Role::Buffer => {}
            _ => {
                assert_eq!(entry.trainable(), !below("backbone.stem.") && !below("backbone.stage1."), "{}", entry.name)
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_found_before_memory_is_asked_for() {
    let good = starnet(24, &[2, 2, 8, 3], 4, 80);
    let check = |path: &str, value: Value, want: &str, help: &str| {
        let store = ParamStore::new(Device::Cpu, 0);
        let error = build(with(good.clone(), path, value), &store).unwrap_err();
        assert_eq!(error.to_string(), want);
        assert!(error.help.unwrap_or_default().contains(help), "{want}");
        assert!(store.entries().is_empty(), "{want}: tensors were made");
    };
    check(
        "backbone.out_indices",
        json!([0, 1, 2]),
        "in_channels: the backbone gives maps of [24, 48, 96] channels, not [48, 96, 192]",
        "set in_channels = [24, 48, 96]",
    );
    check("backbone.out_indices", json!([1, 2, 4]), "out_indices: there is no stage 4: stages are 0 to 3", "");
    check(
        "backbone.out_indices",
        json!([2, 1, 3]),
        "out_indices: [2, 1, 3] does not name stages from the finest to the coarsest, each once",
        "",
    );
    check(
        "neck.widen_factor",
        json!(0.5),
        "in_channels: the backbone gives maps of [48, 96, 192] channels, not [24, 48, 96]",
        "in_channels = [48, 96, 192] with widen_factor = 1.0",
    );
    check(
        "bbox_head.head_module.in_channels",
        json!([48, 96]),
        "in_channels: the neck gives 3 maps, not 2",
        "set in_channels = [48, 96, 192]",
    );
    check(
        "bbox_head.prior_generator.strides",
        json!([4, 8, 16]),
        "prior_generator.strides: the anchors lie at strides [4, 8, 16], the head module's maps at [8, 16, 32]",
        "set strides = [8, 16, 32]",
    );
    check(
        "bbox_head.head_module.num_base_priors",
        json!(4),
        "head_module.num_base_priors: the head module predicts 4 boxes in each cell, but there are 3 anchors",
        "num_base_priors = 3",
    );
    check("bbox_head.obj_level_weights", json!([4.0, 1.0]), "obj_level_weights: 2 weights for 3 levels", "one weight");
    check("test_cfg.score_thr", json!(1.5), "test_cfg.score_thr: 1.5 is out of range", "0 to 1");
    check(
        "backbone.depths",
        json!([2, -1]),
        "depths: [2, -1] are no depths: give 1 to 8 stages of 0 to 100 blocks",
        "",
    );
    check("backbone.base_dim", json!(1_000_000), "base_dim: 1000000 is out of range", "1 to 1024");
}
