//! Another pipeline for the last epochs.

use mmy_data::{Pipeline, Transform};
use mmy_registry::{Build, BuildError, Outline, Slot, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Hook, HookKind, Request, Stage, TrainContext};
use crate::{EngineError, Priority, error::Result};

register!(HookKind, "PipelineSwitchHook", PipelineSwitch);
register!(HookKind, "YOLOXModeSwitchHook", YoloxModeSwitch);

/// Trains with another pipeline from an epoch on, as MMDetection's hook of that name.
///
/// Which pipeline an epoch has is a function of its number alone, so a run that is resumed later goes on with the right
/// one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PipelineSwitch {
    /// First epoch with the other pipeline, from 0.
    pub switch_epoch: usize,
    /// The other pipeline.
    pub switch_pipeline: Vec<Slot<Transform>>,
    /// When it runs among the hooks of one stage.
    #[serde(default = "normal")]
    pub priority: Priority,
}

/// Trains the last epochs without mosaic and mix-up, or with whatever pipeline is given (YOLOX; Ge and others 2021), as
/// MMYOLO's hook of that name.
///
/// Which pipeline an epoch has is a function of its number alone, so a run that is resumed in the last epochs goes on with
/// the right one; MMYOLO's stays with the first.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct YoloxModeSwitch {
    /// How many epochs at the end of the run.
    #[serde(default = "fifteen")]
    pub num_last_epochs: usize,
    /// Their pipeline.
    pub new_train_pipeline: Vec<Slot<Transform>>,
    /// When it runs among the hooks of one stage.
    #[serde(default = "normal")]
    pub priority: Priority,
}

fn normal() -> Priority {
    Priority::NORMAL
}

fn fifteen() -> usize {
    15
}

impl Build<HookKind> for PipelineSwitch {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        ModeSwitch::build(When::From(self.switch_epoch), &self.switch_pipeline, self.priority)
    }

    fn outline(&self) -> Outline {
        let pipeline = self.switch_pipeline.clone();
        Outline::default().fact(PipelineOutline { when: When::From(self.switch_epoch), pipeline })
    }
}

impl Build<HookKind> for YoloxModeSwitch {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        ModeSwitch::build(When::Last(self.num_last_epochs), &self.new_train_pipeline, self.priority)
    }

    fn outline(&self) -> Outline {
        let pipeline = self.new_train_pipeline.clone();
        Outline::default().fact(PipelineOutline { when: When::Last(self.num_last_epochs), pipeline })
    }
}

/// Which epochs have the other pipeline.
#[derive(Debug, Clone, Copy)]
enum When {
    From(usize),
    Last(usize),
}

impl When {
    fn holds(self, epoch: usize, max_epochs: usize) -> bool {
        match self {
            When::From(first) => epoch >= first,
            When::Last(epochs) => epoch + epochs >= max_epochs,
        }
    }
}

/// Which epochs have which other pipeline, as a fact of the hook's [`mmy_registry::Outline`].
#[derive(Debug, Clone)]
pub struct PipelineOutline {
    when: When,
    pipeline: Vec<Slot<Transform>>,
}

impl PipelineOutline {
    /// The pipeline of an epoch (from 0) of so many, where it is another than the data set's own.
    pub fn at(&self, epoch: usize, max_epochs: usize) -> Option<&[Slot<Transform>]> {
        self.when.holds(epoch, max_epochs).then_some(&self.pipeline[..])
    }
}

#[derive(Debug)]
struct ModeSwitch {
    when: When,
    pipeline: Vec<Slot<Transform>>,
    priority: Priority,
    /// Whether the loader of this process has the other pipeline.
    switched: bool,
}

impl ModeSwitch {
    fn build(when: When, pipeline: &[Slot<Transform>], priority: Priority) -> Result<Box<dyn Hook>, BuildError> {
        // What cannot be built is told now, not after days of training.
        Pipeline::build(pipeline)?;
        Ok(Box::new(ModeSwitch { when, pipeline: pipeline.to_vec(), priority, switched: false }))
    }
}

impl Hook for ModeSwitch {
    fn priority(&self) -> Priority {
        self.priority
    }

    fn stages(&self) -> &'static [Stage] {
        &[Stage::BeforeTrain, Stage::BeforeTrainEpoch]
    }

    fn before_train(&mut self, cx: &mut TrainContext<'_>) -> Result<()> {
        if cx.progress.by_iter() {
            return Err(EngineError::Unfit(
                "a pipeline is switched between epochs, and this run is counted in steps: use EpochBasedTrainLoop"
                    .into(),
            ));
        }
        Ok(())
    }

    fn before_train_epoch(&mut self, cx: &mut TrainContext<'_>) -> Result<()> {
        if self.when.holds(cx.progress.epoch, cx.progress.max_epochs) && !self.switched {
            self.switched = true;
            tracing::info!("from epoch {} on another pipeline makes the batches", cx.progress.epoch + 1);
            cx.requests.ask(Request::TrainPipeline(self.pipeline.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_pipeline_is_a_function_of_the_epoch() {
        let first = |when: When| (0..10).find(|&epoch| when.holds(epoch, 10));
        assert_eq!(first(When::From(4)), Some(4));
        assert_eq!(first(When::Last(3)), Some(7));
        assert_eq!((first(When::Last(0)), first(When::Last(20))), (None, Some(0)));
    }

    #[test]
    fn both_forms_are_built_and_a_wrong_pipeline_is_told_at_once() {
        let build = |json: &str| serde_json::from_str::<Slot<HookKind>>(json).unwrap().build(());
        let flip = r#"[{"type": "RandomFlip", "prob": 0.5}]"#;
        build(&format!(r#"{{"type": "YOLOXModeSwitchHook", "num_last_epochs": 2, "new_train_pipeline": {flip}}}"#))
            .unwrap();
        let wrong = r#"[{"type": "RandomFlip", "prob": 2.0}]"#;
        let json = format!(r#"{{"type": "PipelineSwitchHook", "switch_epoch": 2, "switch_pipeline": {wrong}}}"#);
        assert!(build(&json).unwrap_err().message.contains("no probability"));
    }
}
