//! YOLOv5's three parameter groups, as MMYOLO's `YOLOv5OptimizerConstructor` orders them.

use mmy_nn::Role;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GroupArgs, OptimConstructor, OptimConstructorKind, ParamGroup, Paramwise};

register!(OptimConstructorKind, "YOLOv5OptimizerConstructor", Config);

/// Three groups: weights (decayed), weights of norm layers, biases; the weight decay is scaled to the batch size.
///
/// The decay is multiplied by `batch · accumulate / base_total_batch_size` with
/// `accumulate = max(round(base / batch), 1)`. MMYOLO leaves parameters that are called neither `weight` nor `bias` in
/// no group and so never trains them; here they are in the first group, where YOLOv5's own code has them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The batch size that the weight decay was chosen for.
    pub base_total_batch_size: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config { base_total_batch_size: 64 }
    }
}

impl Build<OptimConstructorKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn OptimConstructor>, BuildError> {
        if self.base_total_batch_size == 0 {
            return Err(BuildError::new("the base batch size is 0").at("base_total_batch_size"));
        }
        Ok(Box::new(YoloV5 { base: self.base_total_batch_size as f64 }))
    }
}

#[derive(Debug)]
struct YoloV5 {
    base: f64,
}

impl YoloV5 {
    fn decay_scale(&self, batch: usize) -> f64 {
        let batch = batch as f64;
        // Half to even, as Python rounds.
        let accumulate = (self.base / batch).round_ties_even().max(1.0);
        batch * accumulate / self.base
    }
}

impl OptimConstructor for YoloV5 {
    fn groups(&self, args: &GroupArgs<'_>) -> Result<Vec<ParamGroup>, BuildError> {
        if *args.paramwise != Paramwise::default() {
            let error = BuildError::new("`YOLOv5OptimizerConstructor` makes groups of its own").at("paramwise_cfg");
            return Err(error.help("use `DefaultOptimWrapperConstructor`, or take `paramwise_cfg` out"));
        }
        let of = |keep: fn(Role) -> bool| {
            let kept = args.params.iter().filter(move |it| keep(it.role));
            kept.map(|it| (it.name.clone(), it.tensor.shallow_clone())).collect::<Vec<_>>()
        };
        let batch = args.defaults.batch_size.unwrap_or(args.batch_size);
        let decay = args.defaults.weight_decay * self.decay_scale(batch);
        Ok(vec![
            ParamGroup::new(
                "weights",
                of(|role| !matches!(role, Role::NormWeight | Role::Bias)),
                &args.defaults,
                decay,
            ),
            ParamGroup::new("norms", of(|role| role == Role::NormWeight), &args.defaults, 0.0),
            ParamGroup::new("biases", of(|role| role == Role::Bias), &args.defaults, 0.0),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decay_scales_as_the_original_does() {
        // `golden/optimizer_groups.json`: weight decay 5e-4 at each batch size.
        let scale = |batch| 5e-4 * YoloV5 { base: 64.0 }.decay_scale(batch);
        let want =
            [(4, 5e-4), (8, 5e-4), (16, 5e-4), (32, 5e-4), (48, 3.75e-4), (64, 5e-4), (80, 6.25e-4), (128, 1e-3)];
        for (batch, decay) in want {
            assert!((scale(batch) - decay).abs() < 1e-18, "batch {batch}: {} is not {decay}", scale(batch));
        }
    }
}
