//! Which of a config's data sets a command is about.

use std::sync::Arc;

use clap::ValueEnum;
use mmy_data::{DataloaderConfig, DatasetSource};

use crate::{
    failure::{Failure, Outcome},
    project::Project,
};

/// A loader of a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LoaderName {
    /// The training data
    Train,
    /// The validation data
    Val,
    /// The test data
    Test,
}

impl LoaderName {
    /// The key of its table.
    pub fn key(self) -> &'static str {
        match self {
            LoaderName::Train => "train_dataloader",
            LoaderName::Val => "val_dataloader",
            LoaderName::Test => "test_dataloader",
        }
    }

    /// Its table.
    pub fn config(self, project: &Project) -> Outcome<&DataloaderConfig> {
        let config = match self {
            LoaderName::Train => &project.config.train_dataloader,
            LoaderName::Val => &project.config.val_dataloader,
            LoaderName::Test => &project.config.test_dataloader,
        };
        config.as_ref().ok_or_else(|| Failure::User(format!("the config lacks `{}`", self.key())))
    }

    /// Its data set, with the annotations read.
    pub fn dataset(self, project: &Project) -> Outcome<Arc<dyn DatasetSource>> {
        let source = self.config(project)?.dataset.build(()).map_err(|it| project.place_build(it))?;
        match source.is_empty() {
            true => Err(Failure::User(format!("the data set of `{}` has no pictures", self.key()))),
            false => Ok(source),
        }
    }
}
