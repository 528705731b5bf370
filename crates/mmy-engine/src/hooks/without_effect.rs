//! Hooks of mmengine's that have nothing to do here, taken so that configs that name them go on working.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Hook, HookKind, Stage};
use crate::{Priority, error::Result};

register!(HookKind, "DistSamplerSeedHook", DistSamplerSeed);
register!(HookKind, "SyncBuffersHook", SyncBuffers);
register!(HookKind, "EmptyCacheHook", EmptyCache);
register!(HookKind, "NumClassCheckHook", NumClassCheck);
register!(HookKind, "CheckInvalidLossHook", CheckInvalidLoss);

/// Taken, without effect: the order of samples is a function of seed and epoch by itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DistSamplerSeed {
    /// When it would run among the hooks of one stage.
    pub priority: Priority,
}

/// Taken, without effect: one process trains, so that there are no buffers to bring together.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SyncBuffers {
    /// When it would run among the hooks of one stage.
    pub priority: Priority,
}

/// Taken, without effect: there is no cache of a GPU to empty.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmptyCache {
    /// Whether mmengine's would act before each epoch.
    pub before_epoch: bool,
    /// Whether mmengine's would act after each epoch.
    pub after_epoch: bool,
    /// Whether mmengine's would act after each step.
    pub after_iter: bool,
    /// When it would run among the hooks of one stage.
    pub priority: Priority,
}

/// Taken, without effect: every run compares the head's class count with the data set's before it starts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NumClassCheck {
    /// When it would run among the hooks of one stage.
    pub priority: Priority,
}

/// Taken, without effect: every step looks whether its loss and gradients are finite, and ends the run where they are not.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckInvalidLoss {
    /// Steps between two checks of mmengine's.
    pub interval: usize,
    /// When it would run among the hooks of one stage.
    pub priority: Priority,
}

impl Default for EmptyCache {
    fn default() -> Self {
        EmptyCache { before_epoch: false, after_epoch: true, after_iter: false, priority: Priority::NORMAL }
    }
}

impl Default for CheckInvalidLoss {
    fn default() -> Self {
        CheckInvalidLoss { interval: 50, priority: Priority::NORMAL }
    }
}

macro_rules! plain_default {
    ($($config:ident),*) => {$(
        impl Default for $config {
            fn default() -> Self {
                $config { priority: Priority::NORMAL }
            }
        }
    )*};
}

plain_default!(DistSamplerSeed, SyncBuffers, NumClassCheck);

macro_rules! without_effect {
    ($($config:ident),*) => {$(
        impl Build<HookKind> for $config {
            fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
                Ok(Box::new(WithoutEffect { priority: self.priority }))
            }
        }
    )*};
}

without_effect!(DistSamplerSeed, SyncBuffers, EmptyCache, NumClassCheck, CheckInvalidLoss);

#[derive(Debug)]
struct WithoutEffect {
    priority: Priority,
}

impl Hook for WithoutEffect {
    fn priority(&self) -> Priority {
        self.priority
    }

    fn stages(&self) -> &'static [Stage] {
        &[]
    }

    fn changes_training(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use mmy_registry::Slot;

    use super::*;

    #[test]
    fn mmengines_keys_are_taken_and_nothing_acts() {
        for json in [
            r#"{"type": "DistSamplerSeedHook"}"#,
            r#"{"type": "SyncBuffersHook"}"#,
            r#"{"type": "EmptyCacheHook", "after_iter": true}"#,
            r#"{"type": "NumClassCheckHook"}"#,
            r#"{"type": "CheckInvalidLossHook", "interval": 10, "priority": 60}"#,
        ] {
            let hook = serde_json::from_str::<Slot<HookKind>>(json).unwrap().build(()).unwrap();
            assert!(hook.stages().is_empty() && !hook.changes_training(), "{json}");
        }
    }
}
