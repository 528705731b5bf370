//! A step that went wrong, in a file; and the same step once more.

use std::path::Path;

use mmy_config::{Options, from_node, load_str};
use mmy_models::kinds::Losses;
use mmy_nn::{LoadPolicy, StateDict, trace};
use mmy_structures::{Batch, ImageMeta, Targets};
use mmy_torch::memory_format::{MemoryFormat, to_memory_format};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{Checkpoint, EngineError, Model, RunConfig, error::Result, guard::guarded, optim::WrapperArgs};

/// The file's name, in the process's own folder.
pub(crate) const FILE: &str = "failed_step.safetensors";
const INPUTS: &str = "inputs";
const TARGETS: &str = "bboxes_labels";

/// What a checkpoint says of the step that failed right after it; the batch is in it as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedStep {
    /// What went wrong, in words.
    pub reason: String,
    /// The pictures.
    pub metas: Vec<ImageMeta>,
    /// The loss and its parts, as text, since JSON knows no NaN.
    pub losses: Vec<(String, String)>,
}

/// The tensors of a batch, for a file.
pub(crate) fn tensors(batch: &Batch) -> Vec<(String, Tensor)> {
    let row = |name: &str, it: &Tensor| (name.to_owned(), it.shallow_clone());
    vec![row(INPUTS, &batch.inputs), row(TARGETS, &batch.targets.bboxes_labels)]
}

/// The loss and its parts, as numbers.
pub(crate) fn values(losses: &Losses, total: &Tensor) -> Vec<(String, f64)> {
    let parts = losses.0.iter().map(|(name, value)| ((*name).to_owned(), value.double_value(&[])));
    std::iter::once(("loss".to_owned(), total.double_value(&[]))).chain(parts).collect()
}

/// What a layer draws at random is a function of seed and step, so that nothing of it has to be saved.
pub(crate) fn seed_layers(seed: u64, iter: usize) {
    mmy_torch::rng::seed(seed ^ (iter as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
}

/// What came of running a failed step again.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// Training step, from 1.
    pub iter: usize,
    /// What the file says.
    pub failed: FailedStep,
    /// The loss and its parts, now.
    pub losses: Vec<(String, f64)>,
    /// Parameters and buffers that were not finite before the step.
    pub bad_weights: Vec<String>,
    /// Class and path of the first layer that gave out something that is not finite.
    pub first_layer: Option<(&'static str, String)>,
    /// Modules with the norm of their gradient, in the model's order; none where the loss was not finite.
    pub gradients: Vec<(String, f64)>,
    /// The first parameter, in the model's order, whose gradient is not finite.
    pub first_gradient: Option<String>,
}

/// Runs the step in `path` again: forward pass, loss, backward pass, and no more.
///
/// # Errors
/// When the file holds no failed step, or its model cannot be built any more.
pub fn replay(path: &Path) -> Result<Replay> {
    let unfit = |text: String| EngineError::Unfit(format!("`{}` {text}", path.display()));
    let checkpoint = Checkpoint::read(path)?;
    let manifest = checkpoint.manifest.ok_or_else(|| unfit("is not a checkpoint of mmy".into()))?;
    let failed = manifest.failed.clone().ok_or_else(|| unfit(format!("holds no failed step, as `{FILE}` would")))?;
    let loaded = load_str("failed_step.toml", &manifest.config, &Options::default());
    let config = loaded.and_then(|it| from_node::<RunConfig>(&it));
    let config = config.map_err(|it| unfit(format!("holds a config that cannot be read: {}", it.render(false))))?;
    mmy_torch::threads::set_intra_op(manifest.threads)?;

    let model = Model::build(&config.model, manifest.seed)?;
    let state: StateDict = checkpoint.model.into_iter().collect();
    model.params.load_state(&state, LoadPolicy::Exact).map_err(|it| unfit(format!("does not fit: {it}")))?;
    let tensors: StateDict = checkpoint.batch.into_iter().collect();
    let batch = batch(&tensors, failed.metas.clone()).ok_or_else(|| unfit("lacks the batch".into()))?;
    let optim = config.optim_wrapper.as_ref().ok_or_else(|| unfit("is of a run without an optimiser".into()))?;
    let optim = optim.build(WrapperArgs { params: &model.params, batch_size: batch.len(), lr_scale: 1.0 })?;

    let bad = |it: &Tensor| it.is_floating_point() && it.isfinite().all().int64_value(&[]) == 0;
    let entries = model.params.entries();
    let bad_weights = entries.iter().filter(|it| bad(&it.tensor)).map(|it| it.name.clone()).collect();
    seed_layers(manifest.seed, manifest.progress.iter);
    let (losses, first) = guarded(&batch.inputs.size(), || {
        let (losses, first) = trace::first_not_finite(|| optim.precision().run(|| model.net.loss(&batch)));
        Ok((losses??, first))
    })?;
    let total = losses.total();
    let values = values(&losses, &total);
    let (mut gradients, mut first_gradient) = (Vec::<(String, f64)>::new(), None);
    if values.iter().all(|it| it.1.is_finite()) {
        guarded(&batch.inputs.size(), || Ok(total.f_backward()?))?;
        for entry in entries.iter().filter(|it| it.tensor.requires_grad() && it.tensor.grad().defined()) {
            let grad = entry.tensor.grad();
            if first_gradient.is_none() && bad(&grad) {
                first_gradient = Some(entry.name.clone());
            }
            let square = grad.to_kind(tch::Kind::Double).square().sum(tch::Kind::Double).double_value(&[]);
            match gradients.last_mut() {
                Some((name, sum)) if *name == module(&entry.name) => *sum += square,
                _ => gradients.push((module(&entry.name), square)),
            }
        }
        gradients.iter_mut().for_each(|it| it.1 = it.1.sqrt());
    }
    Ok(Replay {
        iter: manifest.progress.iter + 1,
        failed,
        losses: values,
        bad_weights,
        first_layer: first.map(|it| (it.module, it.path)),
        gradients,
        first_gradient,
    })
}

fn batch(tensors: &StateDict, metas: Vec<ImageMeta>) -> Option<Batch> {
    Some(Batch {
        inputs: to_memory_format(tensors.get(INPUTS)?, MemoryFormat::ChannelsLast).ok()?,
        targets: Targets { bboxes_labels: tensors.get(TARGETS)?.shallow_clone() },
        metas,
        ground_truth: Vec::new(),
    })
}

/// The module of a parameter, at most three steps deep: fine enough to find a fault, coarse enough to read.
fn module(name: &str) -> String {
    let steps: Vec<_> = name.split('.').collect();
    steps[..steps.len().saturating_sub(1).min(3)].join(".")
}
