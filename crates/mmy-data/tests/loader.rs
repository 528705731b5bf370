//! The loader's promises: order, sameness, bounds, and what happens when something goes wrong.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use mmy_data::{
    Buffers, CollateFn, DataError, DataloaderConfig, DatasetSource, Draw, Loader, LoaderArgs, MetaInfo, SampleOrder,
    ShapesConfig, Watch, make_shapes,
};
use mmy_structures::{Batch, Image, ImageMeta, Instance, Sample};
use serde_json::json;

/// A data set of `train` small pictures of shapes.
fn shapes(dir: &Path, train: usize) -> serde_json::Value {
    let config = ShapesConfig { train, val: 5, image_size: [64, 48], ..ShapesConfig::default() };
    make_shapes(&dir.join("shapes"), &config, &|_, _| ()).unwrap();
    serde_json::to_value(config).unwrap()
}

fn training(dir: &Path, workers: usize, change: impl FnOnce(&mut serde_json::Value)) -> Loader {
    let load = [json!({ "type": "LoadImageFromFile" }), json!({ "type": "LoadAnnotations", "with_bbox": true })];
    let albu: Vec<_> =
        ["Blur", "MedianBlur", "ToGray", "CLAHE"].iter().map(|it| json!({ "type": it, "p": 0.3 })).collect();
    let mosaic = [
        json!({ "type": "Mosaic", "img_scale": [64, 64], "pre_transform": load }),
        json!({ "type": "YOLOv5RandomAffine", "scaling_ratio_range": [0.5, 1.5], "border": [-32, -32] }),
    ];
    let mixed: Vec<_> = load.iter().chain(&mosaic).collect();
    let mut pipeline: Vec<_> = mixed.iter().map(|it| (*it).clone()).collect();
    pipeline.extend([
        json!({ "type": "YOLOv5MixUp", "prob": 0.5, "pre_transform": mixed }),
        json!({ "type": "mmdet.Albu", "transforms": albu }),
        json!({ "type": "YOLOv5HSVRandomAug" }),
        json!({ "type": "mmdet.RandomFlip", "prob": 0.5 }),
        json!({ "type": "mmdet.PackDetInputs" }),
    ]);
    let mut config = json!({
        "batch_size": 4,
        "num_workers": workers,
        "sampler": { "type": "DefaultSampler", "shuffle": true },
        "collate_fn": { "type": "yolov5_collate" },
        "dataset": {
            "type": "ShapesDataset",
            "data_root": dir.join("shapes"),
            "shapes": serde_json::from_slice::<serde_json::Value>(&fs::read(dir.join("shapes/shapes.json")).unwrap())
                .unwrap()["config"],
            "pipeline": pipeline,
        },
    });
    change(&mut config);
    let config: DataloaderConfig = serde_json::from_value(config).unwrap();
    config.build(LoaderArgs { seed: 7 }).unwrap()
}

/// All that a batch says, as comparable bytes.
fn fingerprint(batch: &Batch) -> (Vec<i64>, Vec<u8>, Vec<f32>, Vec<ImageMeta>) {
    let pixels = Vec::try_from(batch.inputs.contiguous().view(-1)).unwrap();
    let boxes = Vec::try_from(batch.targets.bboxes_labels.contiguous().view(-1)).unwrap();
    (batch.inputs.size(), pixels, boxes, batch.metas.clone())
}

#[test]
fn the_same_bytes_with_any_number_of_threads_and_from_any_batch() {
    let dir = tempfile::tempdir().unwrap();
    shapes(dir.path(), 18);
    let run = |workers: usize, epoch: u64, first: usize| -> Vec<_> {
        let loader = training(dir.path(), workers, |_| ());
        loader.epoch(epoch, first).map(|it| fingerprint(&it.unwrap())).collect()
    };
    let alone = run(0, 0, 0);
    assert_eq!(alone.len(), 5);
    assert_eq!(alone[0].0, [4, 3, 64, 64]);
    assert_eq!(alone[4].0, [2, 3, 64, 64]);
    assert!(alone.iter().all(|it| !it.2.is_empty()));
    for workers in [1, 2, 8] {
        assert!(run(workers, 0, 0) == alone, "{workers} threads");
    }
    assert!(run(2, 0, 3)[..] == alone[3..]);
    assert!(run(2, 0, 5).is_empty() && run(0, 0, 99).is_empty());
    let later = run(3, 1, 0);
    assert!(later.iter().zip(&alone).all(|(a, b)| a.1 != b.1), "another epoch has other pictures");
}

#[test]
fn pictures_are_channels_last_and_boxes_lie_in_them() {
    let dir = tempfile::tempdir().unwrap();
    shapes(dir.path(), 8);
    let batch = training(dir.path(), 1, |_| ()).epoch(0, 0).next().unwrap().unwrap();
    assert_eq!(batch.inputs.stride(), [3 * 64 * 64, 1, 3 * 64, 3]);
    assert_eq!(batch.inputs.kind(), tch::Kind::Uint8);
    let rows: Vec<f32> = Vec::try_from(batch.targets.bboxes_labels.view(-1)).unwrap();
    for row in rows.chunks_exact(6) {
        assert!(row[0] < 4.0 && row[1] < 4.0, "{row:?}");
        assert!(0.0 <= row[2] && row[2] < row[4] && row[4] <= 64.0, "{row:?}");
        assert!(0.0 <= row[3] && row[3] < row[5] && row[5] <= 64.0, "{row:?}");
    }
}

#[test]
fn the_last_batch_may_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    shapes(dir.path(), 10);
    for (drop_last, expect, samples) in [(false, 3, 10), (true, 2, 8)] {
        let loader = training(dir.path(), 2, |it| it["drop_last"] = json!(drop_last));
        assert_eq!((loader.len(), loader.samples()), (expect, samples));
        let got: Vec<_> = loader.epoch(0, 0).map(|it| it.unwrap().len()).collect();
        assert_eq!((got.len(), got.iter().sum::<usize>()), (expect, samples));
    }
}

#[test]
fn an_endless_sampler_does_not_end() {
    let dir = tempfile::tempdir().unwrap();
    shapes(dir.path(), 6);
    let loader = training(dir.path(), 2, |it| it["sampler"] = json!({ "type": "InfiniteSampler" }));
    assert_eq!(loader.len(), 2);
    assert_eq!(loader.epoch(0, 0).take(9).map(|it| it.unwrap().len()).collect::<Vec<_>>(), [4; 9]);
}

#[test]
fn testing_keeps_the_order_and_gives_the_ground_truth() {
    let dir = tempfile::tempdir().unwrap();
    shapes(dir.path(), 2);
    let loader = training(dir.path(), 2, |it| {
        it["batch_size"] = json!(2);
        it["sampler"] = json!({ "type": "DefaultSampler", "shuffle": false });
        it["collate_fn"] = json!({ "type": "pseudo_collate" });
        it["dataset"]["split"] = json!("val");
        it["dataset"]["test_mode"] = json!(true);
        it["dataset"]["batch_shapes_cfg"] = json!({ "type": "BatchShapePolicy", "batch_size": 2, "img_size": 96 });
        it["dataset"]["pipeline"] = json!([
            { "type": "LoadImageFromFile" },
            { "type": "YOLOv5KeepRatioResize", "scale": [96, 96] },
            { "type": "LetterResize", "scale": [96, 96], "allow_scale_up": false, "pad_val": { "img": 114 } },
            { "type": "LoadAnnotations", "with_bbox": true },
            { "type": "PackDetInputs", "meta_keys": ["img_id", "img_path"] },
        ]);
    });
    let batches: Vec<_> = loader.epoch(0, 0).map(Result::unwrap).collect();
    let ids: Vec<_> = batches.iter().flat_map(|it| &it.metas).map(|it| it.img_id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    let truth: Vec<_> = batches.iter().flat_map(|it| &it.ground_truth).cloned().collect();
    let expect: Vec<_> = (0..5).map(|it| loader.dataset().ground_truth(it).to_vec()).collect();
    assert_eq!(truth, expect);
    let meta = &batches[0].metas[0];
    // 48 × 64 becomes 72 × 96 in a batch of ceil(0.75 · 96 / 32 + 0.5) · 32 = 96 by 128.
    assert_eq!(batches[0].inputs.size(), [2, 3, 96, 128]);
    assert_eq!((meta.ori_shape, meta.img_shape, meta.batch_shape), ((48, 64), (96, 128), Some((96, 128))));
    assert_eq!((meta.scale_factor, meta.pad_param), ((1.5, 1.5), [12.0, 12.0, 16.0, 16.0]));
    assert_eq!(batches[0].targets.bboxes_labels.size(), [0, 6]);
}

/// What is wrong with pictures 2 and 5 of a data set, and what the loader makes of it.
fn check_bad(spoil: impl Fn(&Path), expect: &str) {
    let dir = tempfile::tempdir().unwrap();
    shapes(dir.path(), 12);
    for name in ["000002.jpg", "000005.jpg"] {
        spoil(&dir.path().join("shapes/train").join(name));
    }
    let plain = |it: &mut serde_json::Value| {
        it["dataset"]["pipeline"] = json!([{ "type": "LoadImageFromFile" }, { "type": "LoadAnnotations" }]);
    };
    let run = |workers| -> Vec<_> {
        training(dir.path(), workers, plain).epoch(3, 0).map(|it| fingerprint(&it.unwrap())).collect()
    };
    let redrawn = run(0);
    assert_eq!(redrawn.iter().map(|it| it.3.len()).sum::<usize>(), 12);
    let bad = |it: &ImageMeta| it.img_path.ends_with("000002.jpg") || it.img_path.ends_with("000005.jpg");
    assert!(!redrawn.iter().flat_map(|it| &it.3).any(bad));
    assert!(run(4) == redrawn);
    for (key, value) in [("on_bad_image", json!("error")), ("test_mode", json!(true))] {
        let loader = training(dir.path(), 2, |it| {
            plain(it);
            if key == "test_mode" { it["dataset"][key] = value } else { it[key] = value }
        });
        let mut batches = loader.epoch(3, 0);
        let error = batches.find_map(Result::err).unwrap().to_string();
        assert!(error.contains("shapes/train/00000") && error.contains(expect), "{error}");
        assert!(batches.next().is_none());
    }
}

#[test]
fn bad_pictures_are_redrawn_or_stop_the_run() {
    check_bad(|it| fs::remove_file(it).unwrap(), "No such file");
    check_bad(|it| fs::write(it, "").unwrap(), "the file is empty");
    check_bad(|it| fs::write(it, "GIF89a and so on").unwrap(), "Gif is not supported");
    check_bad(|it| fs::write(it, "<html>").unwrap(), "not a picture");
    check_bad(
        |it| {
            let whole = fs::read(it).unwrap();
            fs::write(it, &whole[..whole.len() / 2]).unwrap();
        },
        "ends early",
    );
    check_bad(
        |it| {
            let other = ShapesConfig { train: 1, val: 1, image_size: [48, 64], ..ShapesConfig::default() };
            let dir = it.with_extension("other");
            make_shapes(&dir, &other, &|_, _| ()).unwrap();
            fs::rename(dir.join("train/000001.jpg"), it).unwrap();
        },
        "its annotations say 64×48",
    );
    check_bad(
        |it| {
            fs::remove_file(it).unwrap();
            fs::create_dir(it).unwrap();
        },
        "directory",
    );
}

#[test]
fn configs_that_cannot_work_say_where() {
    let dir = tempfile::tempdir().unwrap();
    shapes(dir.path(), 2);
    let check = |dataset: serde_json::Value, expect: &str| {
        let config = json!({ "sampler": { "type": "DefaultSampler" }, "dataset": dataset });
        let config: DataloaderConfig = serde_json::from_value(config).unwrap();
        let error = config.build(LoaderArgs::default()).err().unwrap().to_string();
        assert!(error.contains(expect), "{error}");
    };
    let root = dir.path().join("shapes");
    let coco = |ann: &str, img: &str| json!({ "type": "YOLOv5CocoDataset", "data_root": root, "ann_file": ann, "data_prefix": { "img": img } });
    check(coco("annotations/none.json", "train"), "none.json: No such file");
    check(coco("annotations", "train"), "directory");
    check(coco("train/000001.jpg", "train"), "000001.jpg: expected value at line 1 column 1");
    check(coco("annotations/instances_val.json", "elsewhere"), "data_prefix.img: ");
    check(coco("annotations/instances_val.json", "train/000001.jpg"), "is not a folder");
    let mut empty = coco("annotations/instances_train.json", "train");
    empty["filter_cfg"] = json!({ "min_size": 1000 });
    check(empty, "the data set has no samples");
    let mut outside = coco("annotations/instances_train.json", "train");
    outside["indices"] = json!([0, 7]);
    check(outside, "indices: 7 is outside of 2 pictures");
    let mut names = coco("annotations/instances_train.json", "train");
    names["metainfo"] = json!({ "classes": ["cat", "cat"] });
    check(names, "metainfo.classes: the class `cat` is there twice");
}

/// A data set that counts what is asked of it, and panics or hangs on demand.
#[derive(Default)]
struct Counting {
    asked: AtomicUsize,
    panics_at: Option<usize>,
    hangs_at: Option<usize>,
    released: AtomicBool,
    threads: Mutex<Vec<String>>,
}

impl DatasetSource for Counting {
    fn len(&self) -> usize {
        1000
    }
    fn metainfo(&self) -> &MetaInfo {
        static NONE: MetaInfo = MetaInfo { classes: Vec::new(), palette: Vec::new() };
        &NONE
    }
    fn test_mode(&self) -> bool {
        false
    }
    fn ann_file(&self) -> Option<&Path> {
        None
    }
    fn meta(&self, index: usize) -> ImageMeta {
        ImageMeta { img_path: PathBuf::from(format!("{index}.jpg")), ..ImageMeta::default() }
    }
    fn ground_truth(&self, _: usize) -> &[Instance] {
        &[]
    }
    fn watched(&self, index: usize, _: Draw, _: &mut Buffers, _: Watch<'_>) -> Result<Option<Sample>, DataError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        self.threads.lock().unwrap().push(name);
        assert!(self.panics_at != Some(index), "out of cheese");
        while self.hangs_at == Some(index) && !self.released.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(Some(Sample { image: Image::filled(2, 2, [1; 3]), instances: Vec::new(), meta: self.meta(index) }))
    }
}

struct InOrder;
impl SampleOrder for InOrder {
    fn len(&self) -> usize {
        1000
    }
    fn index(&self, _: u64, position: usize) -> usize {
        position
    }
}

struct First;
impl CollateFn for First {
    fn collate(&self, it: Vec<(usize, Sample)>, _: &dyn DatasetSource, _: &mut Buffers) -> Result<Batch, DataError> {
        let metas = it.into_iter().map(|it| it.1.meta).collect();
        let targets = mmy_structures::Targets::none();
        Ok(Batch {
            inputs: tch::Tensor::zeros([1], (tch::Kind::Uint8, tch::Device::Cpu)),
            targets,
            metas,
            ground_truth: vec![],
        })
    }
}

fn counting(panics_at: Option<usize>) -> (Arc<Counting>, Loader) {
    let source = Arc::new(Counting { panics_at, ..Counting::default() });
    let loader = Loader::new(source.clone(), Arc::new(InOrder), Arc::new(First), 10, 0);
    (source, loader)
}

#[test]
fn only_so_many_batches_are_in_memory_and_threads_end_with_the_iterator() {
    let (source, loader) = counting(None);
    let mut batches = loader.with_workers(3, 2).epoch(0, 0);
    for number in 0..20 {
        assert_eq!(batches.next().unwrap().unwrap().metas[0].img_path, Path::new(&format!("{}.jpg", 10 * number)));
        // Those handed out, and 3 · 2 more.
        let asked = source.asked.load(Ordering::SeqCst);
        assert!(asked <= 10 * (number + 1 + 6), "{asked} samples after batch {number}");
    }
    drop(batches);
    let asked = source.asked.load(Ordering::SeqCst);
    assert_eq!(Arc::strong_count(&source), 2, "a thread still holds the data set");
    assert!(asked < 1000 && source.threads.lock().unwrap().iter().all(|it| it.starts_with("loader ")));
}

/// A sampler and a collate function that panic in their third batch.
struct Faulty;
impl SampleOrder for Faulty {
    fn len(&self) -> usize {
        1000
    }
    fn index(&self, _: u64, position: usize) -> usize {
        assert!(position < 25, "no more");
        position
    }
}
impl CollateFn for Faulty {
    fn collate(
        &self,
        it: Vec<(usize, Sample)>,
        of: &dyn DatasetSource,
        with: &mut Buffers,
    ) -> Result<Batch, DataError> {
        assert!(it[0].0 < 20, "no more");
        First.collate(it, of, with)
    }
}

#[test]
fn a_panic_elsewhere_ends_the_epoch_too() {
    for workers in [0, 3] {
        for (order, collate) in [
            (Arc::new(Faulty) as Arc<dyn SampleOrder>, Arc::new(First) as Arc<dyn CollateFn>),
            (Arc::new(InOrder), Arc::new(Faulty)),
        ] {
            let source = Arc::new(Counting::default());
            let loader = Loader::new(source, order, collate, 10, 0).with_workers(workers, 2);
            let results: Vec<_> = loader.epoch(0, 0).collect();
            assert_eq!(results.len(), 3);
            assert!(results[2].as_ref().unwrap_err().to_string().ends_with("panic: no more"));
        }
    }
}

#[test]
fn a_panic_becomes_an_error_that_names_the_sample() {
    for workers in [0, 2] {
        let (_, loader) = counting(Some(25));
        let results: Vec<_> = loader.with_workers(workers, 2).epoch(4, 0).collect();
        assert_eq!(results.len(), 3);
        let error = results[2].as_ref().unwrap_err().to_string();
        assert_eq!(error, "a transform panicked on sample 25 (25.jpg; seed 0, epoch 4, index 25): out of cheese");
    }
}

#[test]
fn a_thread_that_hangs_ends_the_epoch_with_the_name_of_its_picture() {
    let source = Arc::new(Counting { hangs_at: Some(25), ..Counting::default() });
    let loader = Loader::new(source.clone(), Arc::new(InOrder), Arc::new(First), 10, 0);
    let results: Vec<_> = loader.with_workers(2, 2).with_timeout(3).epoch(0, 0).collect();
    assert_eq!(results.len(), 3);
    let error = results[2].as_ref().unwrap_err().to_string();
    assert!(error.contains("no batch for 3 s; at work on sample 25 (25.jpg)"), "{error}");
    source.released.store(true, Ordering::SeqCst);
}
