//! The 22 stages, and hooks in their places.

use super::{
    EvalContext, EvalEpochContext, EvalIterContext, Hook, LoadContext, RunContext, SaveContext, TrainContext,
    TrainIterContext, TrainStepContext,
};
use crate::{Priority, error::Result};

macro_rules! stages {
    ($($(#[$doc:meta])* $stage:ident $method:ident($context:ident);)*) => {
        /// A moment of a run at which hooks act.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Stage {
            $($(#[$doc])* $stage,)*
        }

        impl Stage {
            /// All of them, in the order in which a run first comes to them.
            pub const ALL: [Stage; 22] = [$(Stage::$stage),*];

            /// The name, as the method of a hook has it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Stage::$stage => stringify!($method),)*
                }
            }
        }

        /// The stages that the hook names, and no other.
        impl Registered {
            $(
                $(#[$doc])*
                pub(crate) fn $method(&mut self, cx: &mut $context<'_>) -> Result<()> {
                    if self.acts_at(Stage::$stage) { self.hook.$method(cx) } else { Ok(()) }
                }
            )*
        }
    };
}

stages! {
    /// Before anything else, once a run.
    BeforeRun before_run(RunContext);
    /// After a checkpoint was read and before its tensors go into the model.
    AfterLoadCheckpoint after_load_checkpoint(LoadContext);
    /// Before the first epoch of this process.
    BeforeTrain before_train(TrainContext);
    /// Before the first step of an epoch.
    BeforeTrainEpoch before_train_epoch(TrainContext);
    /// Before a step.
    BeforeTrainIter before_train_iter(TrainIterContext);
    /// After a step.
    AfterTrainIter after_train_iter(TrainStepContext);
    /// After the last step of an epoch.
    AfterTrainEpoch after_train_epoch(TrainContext);
    /// Before a validation.
    BeforeVal before_val(EvalContext);
    /// Before the validation's pass over the data.
    BeforeValEpoch before_val_epoch(EvalContext);
    /// Before a validation batch.
    BeforeValIter before_val_iter(EvalContext);
    /// After a validation batch.
    AfterValIter after_val_iter(EvalIterContext);
    /// After the validation's metrics.
    AfterValEpoch after_val_epoch(EvalEpochContext);
    /// After a validation.
    AfterVal after_val(EvalContext);
    /// Before a checkpoint is written.
    BeforeSaveCheckpoint before_save_checkpoint(SaveContext);
    /// After the last epoch.
    AfterTrain after_train(TrainContext);
    /// Before a test.
    BeforeTest before_test(EvalContext);
    /// Before the test's pass over the data.
    BeforeTestEpoch before_test_epoch(EvalContext);
    /// Before a test batch.
    BeforeTestIter before_test_iter(EvalContext);
    /// After a test batch.
    AfterTestIter after_test_iter(EvalIterContext);
    /// After the test's metrics.
    AfterTestEpoch after_test_epoch(EvalEpochContext);
    /// After a test.
    AfterTest after_test(EvalContext);
    /// After everything, once a run.
    AfterRun after_run(RunContext);
}

/// A hook in its place among the others.
#[derive(Debug)]
pub struct Registered {
    /// The key under which its state is saved: its name, and a number where one name is there twice.
    pub key: String,
    /// Where the config names it: `default_hooks.timer`, `custom_hooks.0`.
    pub source: String,
    /// When it runs.
    pub priority: Priority,
    /// The hook.
    pub hook: Box<dyn Hook>,
}

impl Registered {
    /// Whether it does something at a stage.
    pub fn acts_at(&self, stage: Stage) -> bool {
        self.hook.stages().contains(&stage)
    }
}

/// Sorts hooks, given as name, place in the config and hook, by priority (equal ones stay in order) and gives each its key.
pub fn in_order(hooks: impl IntoIterator<Item = (&'static str, String, Box<dyn Hook>)>) -> Vec<Registered> {
    let mut out: Vec<Registered> = Vec::new();
    for (name, source, hook) in hooks {
        let same = out.iter().filter(|it| it.key.split('#').next() == Some(name)).count();
        let key = if same == 0 { name.to_owned() } else { format!("{name}#{same}") };
        out.push(Registered { key, source, priority: hook.priority(), hook });
    }
    out.sort_by_key(|it| it.priority);
    out
}

/// What acts at each stage at which something does, in order: mmengine's order table.
pub fn order_table(hooks: &[Registered]) -> Vec<(Stage, Vec<&Registered>)> {
    let rows = Stage::ALL.map(|stage| (stage, hooks.iter().filter(|it| it.acts_at(stage)).collect::<Vec<_>>()));
    rows.into_iter().filter(|(_, acting)| !acting.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use mmy_registry::Slot;

    use super::*;
    use crate::hooks::HookKind;

    fn hooks(list: &[&str]) -> Vec<Registered> {
        let slots = list.iter().map(|json| serde_json::from_str::<Slot<HookKind>>(json).unwrap());
        in_order(slots.map(|it| (it.name(), String::new(), it.build(()).unwrap())))
    }

    /// What acts when with mmengine's default hooks and its EMAHook at 49, as measured there.
    const MMENGINE: [(&str, &str); 20] = [
        ("before_train", "RuntimeInfo EMA IterTimer Checkpoint"),
        ("before_train_epoch", "RuntimeInfo IterTimer DistSamplerSeed"),
        ("before_train_iter", "RuntimeInfo IterTimer"),
        ("after_train_iter", "RuntimeInfo EMA IterTimer Logger ParamScheduler Checkpoint"),
        ("after_train_epoch", "IterTimer ParamScheduler Checkpoint"),
        ("before_val", "RuntimeInfo"),
        ("before_val_epoch", "EMA IterTimer"),
        ("before_val_iter", "IterTimer"),
        ("after_val_iter", "IterTimer Logger"),
        ("after_val_epoch", "RuntimeInfo EMA IterTimer Logger ParamScheduler Checkpoint"),
        ("after_val", "RuntimeInfo"),
        ("before_save_checkpoint", "EMA"),
        ("after_train", "RuntimeInfo Checkpoint"),
        ("before_test", "RuntimeInfo"),
        ("before_test_epoch", "EMA IterTimer"),
        ("before_test_iter", "IterTimer"),
        ("after_test_iter", "IterTimer Logger"),
        ("after_test_epoch", "RuntimeInfo EMA IterTimer Logger"),
        ("after_test", "RuntimeInfo"),
        ("after_run", "Logger"),
    ];

    /// Where a hook of mmengine's acts and ours has no need to: `Progress` is what RuntimeInfo writes into the message hub
    /// between epochs and passes; the timer's clock starts with a pass and needs no end; the order of samples needs no
    /// seed; a test loads averaged weights; the last checkpoint is that of the last epoch.
    const NEEDLESS: [&str; 16] = [
        "before_train RuntimeInfo",
        "before_train EMA",
        "before_train IterTimer",
        "before_train_epoch RuntimeInfo",
        "before_train_epoch DistSamplerSeed",
        "after_train_epoch IterTimer",
        "before_val RuntimeInfo",
        "after_val_epoch IterTimer",
        "after_val RuntimeInfo",
        "after_train RuntimeInfo",
        "after_train Checkpoint",
        "before_test RuntimeInfo",
        "before_test_epoch EMA",
        "after_test_epoch EMA",
        "after_test_epoch IterTimer",
        "after_test RuntimeInfo",
    ];

    #[test]
    fn the_order_is_mmengines() {
        let hooks = hooks(&[
            r#"{"type": "RuntimeInfoHook"}"#,
            r#"{"type": "IterTimerHook"}"#,
            r#"{"type": "DistSamplerSeedHook"}"#,
            r#"{"type": "LoggerHook"}"#,
            r#"{"type": "ParamSchedulerHook"}"#,
            r#"{"type": "CheckpointHook"}"#,
            r#"{"type": "EMAHook", "priority": 49}"#,
        ]);
        let mut needless = Vec::new();
        for (stage, acting) in MMENGINE {
            let at = Stage::ALL.into_iter().find(|it| it.name() == stage).unwrap();
            let ours = hooks.iter().filter(|it| it.acts_at(at)).map(|it| it.key.trim_end_matches("Hook"));
            let ours: Vec<_> = ours.filter(|it| acting.split(' ').any(|theirs| theirs == *it)).collect();
            let (both, without): (Vec<_>, Vec<_>) = acting.split(' ').partition(|it| ours.contains(it));
            assert_eq!(ours, both, "{stage}");
            needless.extend(without.into_iter().map(|it| format!("{stage} {it}")));
        }
        assert_eq!(needless, NEEDLESS);
    }

    #[test]
    fn equal_priorities_keep_their_order_and_equal_names_get_numbers() {
        let hooks = hooks(&[
            r#"{"type": "IterTimerHook"}"#,
            r#"{"type": "EMAHook"}"#,
            r#"{"type": "IterTimerHook", "priority": 40}"#,
        ]);
        let keys: Vec<_> = hooks.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["IterTimerHook#1", "IterTimerHook", "EMAHook"]);
    }

    #[test]
    fn a_hook_acts_at_the_stages_that_it_names_alone() {
        let hooks = hooks(&[r#"{"type": "SwitchToDeployHook"}"#]);
        let table = order_table(&hooks);
        let stages: Vec<_> = table.iter().map(|(stage, acting)| (*stage, acting.len())).collect();
        assert_eq!(stages, [(Stage::BeforeTestEpoch, 1)]);
    }

    #[test]
    fn every_stage_has_its_own_name() {
        let names: std::collections::HashSet<_> = Stage::ALL.map(Stage::name).into();
        assert_eq!(names.len(), 22);
    }
}
