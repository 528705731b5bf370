//! Parts and batches for the other tests.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use mmy_models::kinds::{Detector, DetectorModel, HeadMaps};
use mmy_nn::{ParamStore, StateDict, testing::assert_close};
use mmy_registry::{BuildError, Kind, Slot};
use mmy_structures::{Batch, Detections, ImageMeta, Targets};
use serde_json::{Value, json};
use tch::Tensor;

/// The part that a config describes.
#[track_caller]
pub fn slot<K: Kind>(config: Value) -> Slot<K> {
    serde_json::from_value(config.clone()).unwrap_or_else(|it| panic!("{it}: {config:#}"))
}

/// The config of a StarNet detector, right strides and widths: base width, blocks, branch width, classes.
pub fn starnet(base_dim: i64, depths: &[i64], mlp_ratio: i64, num_classes: i64) -> Value {
    let channels = [2 * base_dim, 4 * base_dim, 8 * base_dim];
    let backbone = json!({"type": "StarNet", "base_dim": base_dim, "depths": depths, "mlp_ratio": mlp_ratio});
    detector(backbone, &channels, 0.33, 1.0, num_classes)
}

/// The config of YOLOv5 in a size.
pub fn yolov5(deepen_factor: f64, widen_factor: f64, num_classes: i64) -> Value {
    let backbone = json!({"type": "YOLOv5CSPDarknet", "deepen_factor": deepen_factor, "widen_factor": widen_factor});
    detector(backbone, &[256, 512, 1024], deepen_factor, widen_factor, num_classes)
}

/// A backbone under YOLOv5's neck and head, with keys as MMYOLO's configs write them. Pictures are taken as they are.
pub fn detector(backbone: Value, channels: &[i64], deepen: f64, widen: f64, num_classes: i64) -> Value {
    json!({
        "type": "YOLODetector",
        "data_preprocessor": {"type": "mmdet.DetDataPreprocessor", "std": [1.0, 1.0, 1.0], "bgr_to_rgb": false},
        "backbone": backbone,
        "neck": {
            "type": "YOLOv5PAFPN",
            "deepen_factor": deepen,
            "widen_factor": widen,
            "in_channels": channels,
            "out_channels": channels,
            "num_csp_blocks": 3,
            "norm_cfg": {"type": "BN", "momentum": 0.03, "eps": 0.001},
            "act_cfg": {"type": "SiLU", "inplace": true},
        },
        "bbox_head": {
            "type": "YOLOv5Head",
            "head_module": {
                "type": "YOLOv5HeadModule",
                "num_classes": num_classes,
                "in_channels": channels,
                "widen_factor": widen,
                "featmap_strides": [8, 16, 32],
                "num_base_priors": 3,
            },
            "prior_generator": {
                "type": "mmdet.YOLOAnchorGenerator",
                "base_sizes": [
                    [[10, 13], [16, 30], [33, 23]],
                    [[30, 61], [62, 45], [59, 119]],
                    [[116, 90], [156, 198], [373, 326]],
                ],
                "strides": [8, 16, 32],
            },
            "loss_cls":
                {"type": "mmdet.CrossEntropyLoss", "use_sigmoid": true, "reduction": "mean", "loss_weight": 0.5},
            "loss_bbox": {
                "type": "IoULoss",
                "iou_mode": "ciou",
                "bbox_format": "xywh",
                "eps": 1e-7,
                "reduction": "mean",
                "loss_weight": 0.05,
                "return_iou": true,
            },
            "loss_obj":
                {"type": "mmdet.CrossEntropyLoss", "use_sigmoid": true, "reduction": "mean", "loss_weight": 1.0},
            "prior_match_thr": 4.0,
            "obj_level_weights": [4.0, 1.0, 0.4],
        },
        "test_cfg": {
            "multi_label": true,
            "nms_pre": 30000,
            "score_thr": 0.001,
            "nms": {"type": "nms", "iou_threshold": 0.65},
            "max_per_img": 300,
        },
    })
}

/// The published StarNet config: s2's depths, strides 4, 8, 16 under a head of 8, 16, 32, widths halved in the neck.
pub fn as_published() -> Value {
    let backbone = json!({
        "type": "StarNet", "base_dim": 24, "out_indices": [0, 1, 2], "depths": [1, 2, 6, 2], "mlp_ratio": 4,
        "num_classes": 80,
    });
    detector(backbone, &[48, 96, 192], 0.33, 0.5, 80)
}

/// What `run` warns of, as `message`s.
pub fn warnings<T>(run: impl FnOnce() -> T) -> (T, Vec<String>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let out = tracing::subscriber::with_default(Listener(heard.clone()), run);
    let heard = heard.lock().unwrap().clone();
    (out, heard)
}

/// Collects the messages of warnings.
struct Listener(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut |field: &tracing::field::Field, value: &dyn Debug| {
            if field.name() == "message" {
                self.0.lock().unwrap().push(format!("{value:?}"));
            }
        });
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Builds a detector into a store.
pub fn build(config: Value, store: &ParamStore) -> Result<Box<dyn DetectorModel>, BuildError> {
    slot::<Detector>(config).build(&store.root())
}

/// Puts `value` where the dotted path leads.
pub fn with(mut config: Value, path: &str, value: Value) -> Value {
    let place = path.split('.').fold(&mut config, |it, key| &mut it[key]);
    *place = value;
    config
}

/// A batch of pictures with rows `[picture, label, x1, y1, x2, y2]` to learn.
pub fn batch(inputs: Tensor, targets: &Tensor, meta: &ImageMeta) -> Batch {
    let pictures = inputs.size()[0] as usize;
    let targets = Targets { bboxes_labels: targets.shallow_clone() };
    Batch { inputs, targets, metas: vec![meta.clone(); pictures], ground_truth: vec![] }
}

/// Rows of six numbers as a table.
pub fn rows(rows: &[[f32; 6]]) -> Tensor {
    Tensor::from_slice(&rows.concat()).view([-1, 6])
}

/// How a picture got to the network: padding top, bottom, left, right; scale; stored (height, width).
pub fn meta(pad_param: [f32; 4], scale: f32, ori_shape: (usize, usize)) -> ImageMeta {
    ImageMeta { pad_param, scale_factor: (scale, scale), ori_shape, ..ImageMeta::default() }
}

/// Holds what was found against `{key}.bboxes`, `.scores` and `.labels`: the same scores in the same order to a
/// millionth (sigmoids of another library), and the same boxes to 1e-4 of a pixel.
///
/// Scores that differ by less than `tie` may have changed places, since sums in another order move them by as much; of
/// the last such group some may have fallen behind the cut.
#[track_caller]
pub fn assert_detections(found: &Detections, reference: &StateDict, key: &str, tie: f32) {
    let numbers = |name| {
        let flat = reference[&format!("{key}.{name}")].to_kind(tch::Kind::Float).contiguous().view([-1]);
        Vec::<f32>::try_from(flat).unwrap()
    };
    let (boxes, scores, labels) = (numbers("bboxes"), numbers("scores"), numbers("labels"));
    assert_eq!(found.len(), scores.len(), "{key}");
    for (got, want) in found.scores.iter().zip(&scores) {
        assert!((got - want).abs() <= 1e-6, "{key}: a score of {got}, not {want}");
    }
    let same = |i: usize, j: usize| {
        let corners = found.bboxes[i].xyxy().into_iter().zip(&boxes[4 * j..4 * j + 4]);
        found.labels[i] as f32 == labels[j] && corners.into_iter().all(|(a, b)| (a - b).abs() <= 1e-4)
    };
    let mut moved = 0;
    for i in 0..found.len() {
        if same(i, i) {
            continue;
        }
        moved += 1;
        let near = |it: f32| (it - found.scores[i]).abs() <= tie;
        let elsewhere = (0..scores.len()).any(|j| near(scores[j]) && same(i, j));
        let at_the_cut = near(scores[scores.len() - 1]);
        let lost = (found.bboxes[i], found.scores[i], found.labels[i]);
        assert!(elsewhere || at_the_cut, "{key}: number {i}, {lost:?}, is not in the reference");
    }
    assert!(moved <= found.len() / 10, "{key}: {moved} of {} changed places", found.len());
}

/// The config of a layer list with YOLOv5's losses, eighty classes and pictures as they are; `more` adds keys.
pub fn list_detector(backbone: Value, head: Value, more: Value) -> Value {
    let mut config = json!({
        "type": "LayerListDetector",
        "nc": 80,
        "anchors": [
            [10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326],
        ],
        "data_preprocessor": {"type": "DetDataPreprocessor", "std": [1.0, 1.0, 1.0], "bgr_to_rgb": false},
        "backbone": backbone,
        "head": head,
        "bbox_head": {
            "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": true, "loss_weight": 0.5},
            "loss_bbox": {"type": "IoULoss", "loss_weight": 0.05},
            "loss_obj": {"type": "CrossEntropyLoss", "use_sigmoid": true},
        },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

/// Holds a head's maps against `{key}0` … of a reference, (B, anchors, H, W, 5 + classes) as YOLOv5 keeps them.
#[track_caller]
pub fn assert_raw_maps(maps: &HeadMaps, reference: &StateDict, key: &str, tolerance: f64) {
    for level in 0..maps.bbox.len() {
        let raw = reference[&format!("{key}{level}")].permute([0, 1, 4, 2, 3]);
        let size = raw.size();
        let part = |from, to| raw.narrow(2, from, to - from).reshape([size[0], -1, size[3], size[4]]);
        assert_close(&format!("{key}{level}: boxes"), &maps.bbox[level], &part(0, 4), tolerance);
        assert_close(&format!("{key}{level}: objectness"), &maps.obj[level], &part(4, 5), tolerance);
        assert_close(&format!("{key}{level}: classes"), &maps.cls[level], &part(5, size[2]), tolerance);
    }
}
