//! Twelve training steps against MMYOLO's own: losses, schedule, parameter groups, optimiser, averaging, all through the
//! runner. The data set and the collate function are parts of this very crate, as a plugin's would be.

use std::{path::Path, sync::Arc};

use mmy_config::{Options, from_node, load_str};
use mmy_data::{Buffers, Collate, CollateFn, DataError, Dataset, DatasetSource, Draw, MetaInfo, Watch};
use mmy_engine::{Interrupt, Quiet, Resume, RunConfig, Runner, Start, WorkDir};
use mmy_nn::{
    file::{read_safetensors, write_safetensors},
    testing,
};
use mmy_registry::{Build, BuildError, register};
use mmy_structures::{Batch, Image, ImageMeta, Instance, Sample, Targets};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::support::{folder, root, stamps};

/// Batches in an epoch and pictures in a batch.
const EPOCH: usize = 4;
const BATCH: usize = 2;

register!(Dataset, "TraceDataset", TraceDataset);
register!(Collate, "trace_collate", TraceCollate);

/// Empty pictures: the collate function makes the numbers.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct TraceDataset {}

struct Source(MetaInfo);

impl Build<Dataset> for TraceDataset {
    fn build(&self, (): ()) -> Result<Arc<dyn DatasetSource>, BuildError> {
        let classes = ["a", "b", "c"].map(str::to_owned).to_vec();
        Ok(Arc::new(Source(MetaInfo { classes, palette: Vec::new() })))
    }
}

impl DatasetSource for Source {
    fn len(&self) -> usize {
        EPOCH * BATCH
    }
    fn metainfo(&self) -> &MetaInfo {
        &self.0
    }
    fn test_mode(&self) -> bool {
        false
    }
    fn ann_file(&self) -> Option<&Path> {
        None
    }
    fn meta(&self, _: usize) -> ImageMeta {
        ImageMeta { img_shape: (64, 64), ori_shape: (64, 64), scale_factor: (1.0, 1.0), ..ImageMeta::default() }
    }
    fn ground_truth(&self, _: usize) -> &[Instance] {
        &[]
    }
    fn watched(&self, index: usize, _: Draw, _: &mut Buffers, _: Watch<'_>) -> Result<Option<Sample>, DataError> {
        Ok(Some(Sample { image: Image::filled(64, 64, [0; 3]), instances: Vec::new(), meta: self.meta(index) }))
    }
}

/// The golden's pictures and boxes of batch `i` of an epoch.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct TraceCollate {}

impl Build<Collate> for TraceCollate {
    fn build(&self, (): ()) -> Result<Arc<dyn CollateFn>, BuildError> {
        Ok(Arc::new(TraceCollate {}))
    }
}

impl CollateFn for TraceCollate {
    fn collate(
        &self,
        samples: Vec<(usize, Sample)>,
        _: &dyn DatasetSource,
        _: &mut Buffers,
    ) -> Result<Batch, DataError> {
        let i = samples[0].0 / BATCH;
        let x = i as f32;
        let rows = [
            [0.0, (i % 3) as f32, 4.0 + x, 6.0, 40.0, 44.0 - x],
            [1.0, ((i + 1) % 3) as f32, 20.0, 10.0, 62.0, 30.0 + 3.0 * x],
            [1.0, 2.0, 1.0, 30.0, 15.0, 60.0],
        ];
        Ok(Batch {
            inputs: testing::field(&format!("img{i}"), &[2, 3, 64, 64]),
            targets: Targets { bboxes_labels: Tensor::from_slice2(&rows) },
            metas: samples.into_iter().map(|it| it.1.meta).collect(),
            ground_truth: Vec::new(),
        })
    }
}

fn config(base: &Path) -> String {
    format!(
        r#"
_base_ = "{}"

[vars]
base_dim = 16
depths = [1, 1, 3, 1]
mlp_ratio = 3
num_classes = 3
amp = "float32"
max_epochs = 3
train_batch_size_per_gpu = 48
save_checkpoint_intervals = 1

[model.data_preprocessor]
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
bgr_to_rgb = false

[model.bbox_head.loss_cls]
loss_weight = 0.01875

[model.bbox_head.loss_obj]
loss_weight = 1.0

[train_dataloader]
_delete_ = true
batch_size = {BATCH}
sampler = {{ type = "DefaultSampler", shuffle = false }}
collate_fn = {{ type = "trace_collate" }}
dataset = {{ type = "TraceDataset" }}

[default_hooks.param_scheduler]
warmup_epochs = 1.0
warmup_mim_iter = 6

[default_hooks.logger]
interval = 1
"#,
        base.display()
    )
}

#[test]
fn twelve_steps_are_the_originals() {
    let dir = folder();
    let base = root().join("configs/starnet/starnet_s1.toml");
    let mut set = Vec::new();
    for key in ["val_dataloader", "val_cfg", "val_evaluator", "test_dataloader", "test_cfg", "test_evaluator"] {
        set.push(format!("~{key}"));
    }
    let options = Options { set, ..Options::default() };
    let loaded = load_str("trace.toml", &config(&base), &options).unwrap_or_else(|it| panic!("{}", it.render(false)));
    let config: RunConfig = from_node(&loaded).unwrap_or_else(|it| panic!("{}", it.render(false)));
    let start = |name: &str| Start {
        config: config.clone(),
        config_text: loaded.to_toml(),
        name: "trace".into(),
        work_dir: WorkDir::create(&dir.path().join(name)).unwrap(),
        interrupt: Interrupt::default(),
        observer: Box::new(Quiet),
    };

    // The golden's initial weights, through a file.
    let mut runner = Runner::for_training(start("run")).unwrap();
    testing::fill(&runner.model().params, 0.75, "");
    let state = runner.model().params.state_dict();
    let weights = dir.path().join("weights.safetensors");
    write_safetensors(&weights, state.iter().map(|(n, t)| (n.as_str(), t)), Default::default()).unwrap();
    runner.train(&Resume::Weights(weights)).unwrap();

    let golden = read_safetensors(root().join("tests/golden/train_trace.safetensors")).unwrap().tensors;
    // Twelve float32 steps: the original's own float32 and float64 runs drift apart by 3.5e-6, sums in another order add
    // the same again.
    const DRIFT: f64 = 2e-5;
    let near = |name: &str, ours: f64, theirs: f64| {
        let off = (ours - theirs).abs() / theirs.abs().max(1e-3);
        assert!(off < DRIFT, "{name}: {ours} is not {theirs}");
    };
    let run = dir.path().join("run");
    let scalars = std::fs::read_to_string(stamps(&run)[0].join("vis_data/scalars.json")).unwrap();
    let ours: Vec<Value> = scalars.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let rows = Vec::<Vec<f64>>::try_from(&golden["rows"]).unwrap();
    assert_eq!((ours.len(), rows.len()), (12, 12));
    // Log lines show running means, so the golden's rows are averaged the same way.
    for (step, row) in ours.iter().enumerate() {
        for (column, key) in [(0, "loss"), (1, "loss_cls"), (2, "loss_obj"), (3, "loss_bbox")] {
            let mean = rows[..=step].iter().map(|it| it[column]).sum::<f64>() / (step + 1) as f64;
            near(&format!("{key} of step {step}"), row[key].as_f64().unwrap(), mean);
        }
        near(&format!("lr of step {step}"), row["lr"].as_f64().unwrap(), rows[step][4]);
    }

    let checkpoint = mmy_engine::Checkpoint::read(&run.join("epoch_3.safetensors")).unwrap();
    let mut held = 0;
    for (prefix, tensors) in [("ema.", &checkpoint.model), ("final.", &checkpoint.raw)] {
        for (name, tensor) in tensors {
            let Some(want) = golden.get(&format!("{prefix}{name}")) else { continue };
            let (ours, want) = (tensor.to_kind(Kind::Double), want.to_kind(Kind::Double));
            let off = (&ours - &want).abs().max().double_value(&[]) / want.abs().max().double_value(&[]).max(1e-3);
            assert!(off < DRIFT, "{prefix}{name} is off by {off}");
            held += 1;
        }
    }
    assert!(held > 200, "only {held} tensors have a golden");
}
