//! Names, shapes, order, counts and multiply-adds against tables made with the originals.

use mmy_models::detectors::yolo_detector::layer_table;
use mmy_nn::{ParamStore, Role, testing::golden_text};
use serde_json::{Value, json};
use tch::Kind;

use crate::support::{as_published, build, detector, starnet, with, yolov5};

#[test]
fn names_shapes_and_order_are_mmyolos() {
    for (file, config) in [
        ("yolov5_n", yolov5(0.33, 0.25, 80)),
        ("yolov5_s", yolov5(0.33, 0.5, 80)),
        ("starnet_A_as_published", as_published()),
        ("starnet_C_corrected_idx123_widen1", starnet(24, &[2, 2, 8, 3], 4, 80)),
    ] {
        let store = ParamStore::dry();
        build(config, &store).unwrap();
        let line = |it: mmy_nn::Entry| {
            let kind = if it.tensor.kind() == Kind::Int64 { "int64" } else { "float32" };
            format!("{}\t{:?}\t{kind}", it.name, it.tensor.size())
        };
        let lines: Vec<_> = store.entries().into_iter().map(line).collect();
        let text = golden_text(&format!("{file}.keys.txt"));
        let table: Vec<_> = text.lines().filter(|it| !it.starts_with('#')).collect();
        for (got, want) in lines.iter().zip(&table) {
            assert_eq!(got, want, "{file}");
        }
        assert_eq!(lines.len(), table.len(), "{file}");
    }
}

/// Parameters in all, below backbone, neck and head, and 10⁹ multiply-adds at 640 and 320 pixels to four places.
fn check(name: &str, config: Value, params: [u64; 4], gmacs: [Option<f64>; 2]) {
    let store = ParamStore::dry();
    let model = build(config, &store).unwrap();
    let below = |it| store.num_params_below(it);
    assert_eq!([store.num_params(), below("backbone"), below("neck"), below("bbox_head")], params, "{name}");
    for (size, want) in [640, 320].into_iter().zip(gmacs) {
        let rows = layer_table(&*model, (size, size)).unwrap();
        let macs: u64 = rows.iter().map(|it| it.macs).sum();
        let got = (macs as f64 / 1e5).round() / 1e4;
        assert!(want.is_none_or(|it| it == got), "{name} at {size}: {got}, not {want:?}");
        // A part that runs is in the table; the sum counts shared layers once for each run, and there are none.
        let listed: u64 = rows.iter().map(|it| it.params).sum();
        assert_eq!(listed, params[0], "{name}: parameters in the layer table");
    }
}

#[test]
fn parameters_and_multiply_adds_of_yolov5() {
    let check = |name, deepen, widen, params, gmacs: [f64; 2]| {
        check(name, yolov5(deepen, widen, 80), params, gmacs.map(Some));
    };
    check("n", 0.33, 0.25, [1_872_157, 1_046_368, 710_784, 115_005], [2.2341, 0.5585]);
    check("s", 0.33, 0.5, [7_235_389, 4_171_456, 2_834_688, 229_245], [8.2168, 2.0542]);
    check("m", 0.67, 0.75, [21_190_557, 12_167_904, 8_679_168, 343_485], [24.4362, 6.1091]);
    check("l", 1.0, 1.0, [46_563_709, 26_582_912, 19_523_072, 457_725], [54.4969, 13.6242]);
    check("x", 1.33, 1.25, [86_749_405, 49_275_040, 36_902_400, 571_965], [102.7241, 25.681]);
}

#[test]
fn parameters_and_multiply_adds_of_starnet() {
    let right = |name, base_dim, depths: &[i64], mlp_ratio, params, gmac640| {
        check(name, starnet(base_dim, depths, mlp_ratio, 80), params, [Some(gmac640), None]);
    };
    right("s1", 24, &[2, 2, 8, 3], 4, [3_162_837, 2_675_784, 400_608, 86_445], 3.9554);
    right("s2", 32, &[1, 2, 6, 2], 4, [4_250_301, 3_424_512, 710_784, 115_005], 5.2909);
    right("s3", 32, &[2, 2, 8, 4], 4, [6_319_069, 5_493_280, 710_784, 115_005], 7.0043);
    right("s4", 32, &[3, 3, 12, 5], 4, [8_051_005, 7_225_216, 710_784, 115_005], 9.417);
    right("s050", 16, &[1, 1, 3, 1], 3, [650_109, 413_472, 178_752, 57_885], 1.0026);
    right("s100", 20, &[1, 2, 4, 1], 4, [1_232_765, 881_960, 278_640, 72_165], 1.8894);
    right("s150", 24, &[1, 2, 4, 2], 3, [1_854_285, 1_367_232, 400_608, 86_445], 2.3677);
    check("as published", as_published(), [2_103_765, 1_959_216, 100_944, 43_605], [Some(3.2869), Some(0.8217)]);
    let s1_depths = with(as_published(), "backbone.depths", json!([2, 2, 8, 3]));
    check("published with s1's depths", s1_depths, [2_820_333, 2_675_784, 100_944, 43_605], [Some(4.0925), None]);
}

#[test]
fn optimiser_groups_are_mmyolos() {
    let reference: Value = serde_json::from_str(&golden_text("optimizer_groups.json")).unwrap();
    for (name, config) in
        [("yolov5_s", yolov5(0.33, 0.5, 80)), ("star_s1_corrected", starnet(24, &[2, 2, 8, 3], 4, 80))]
    {
        let store = ParamStore::dry();
        build(config, &store).unwrap();
        let group = |role| {
            let of_role = store.entries().into_iter().filter(|it| it.role == role).map(|it| it.tensor.numel());
            of_role.fold((0, 0), |(n, elements), it| (n + 1, elements + it))
        };
        let (n, elements): (Vec<_>, Vec<_>) =
            [Role::Weight, Role::NormWeight, Role::Bias].map(group).into_iter().unzip();
        let want = &reference["cases"][name]["16"];
        assert_eq!((json!(n), json!(elements)), (want["n"].clone(), want["elements"].clone()), "{name}");
    }
}

#[test]
fn what_the_published_config_got_wrong() {
    // A width that does not survive halving and rounding to eights: two maps of 24 channels for a layer of 40.
    let backbone = json!({"type": "starnet_s100", "out_indices": [0, 1, 2]});
    let error = build(detector(backbone, &[40, 80, 160], 0.33, 0.5, 80), &ParamStore::dry()).unwrap_err();
    assert_eq!(error.to_string(), "in_channels: the backbone gives maps of [20, 40, 80] channels, not [24, 40, 80]");
    // Its table says 120 where 160 is meant.
    let backbone = json!({"type": "starnet_s100"});
    let error = build(detector(backbone, &[40, 80, 120], 0.33, 1.0, 80), &ParamStore::dry()).unwrap_err();
    assert_eq!(error.help.as_deref(), Some("set in_channels = [40, 80, 160]"));
    // A loss argument that MMYOLO does not have either.
    let focal = with(as_published(), "bbox_head.loss_bbox.focal", json!(true));
    let error = serde_json::from_value::<mmy_registry::Slot<mmy_models::kinds::Detector>>(focal).unwrap_err();
    assert!(error.to_string().contains("focal"), "{error}");
}
