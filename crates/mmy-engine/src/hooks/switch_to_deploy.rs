//! Tests what will be deployed.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EvalContext, Hook, HookKind, Stage};
use crate::{Priority, error::Result};

register!(HookKind, "SwitchToDeployHook", Config);

/// Merges the layers that re-parameterisation merges before a test, so that the model is tested that `mmy model deploy`
/// writes. Validations between epochs of training see the model that is trained.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// When it runs among the hooks of one stage.
    pub priority: Priority,
}

impl Default for Config {
    fn default() -> Self {
        Config { priority: Priority::NORMAL }
    }
}

impl Build<HookKind> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn Hook>, BuildError> {
        Ok(Box::new(SwitchToDeploy(self.clone())))
    }
}

#[derive(Debug)]
struct SwitchToDeploy(Config);

impl Hook for SwitchToDeploy {
    fn priority(&self) -> Priority {
        self.0.priority
    }

    fn stages(&self) -> &'static [Stage] {
        &[Stage::BeforeTestEpoch]
    }

    fn changes_training(&self) -> bool {
        false
    }

    fn before_test_epoch(&mut self, cx: &mut EvalContext<'_>) -> Result<()> {
        let before = cx.model.params.num_params();
        cx.model.deploy()?;
        tracing::info!("deployed: {before} parameters became {}", cx.model.params.num_params());
        Ok(())
    }
}
