//! The keys that all data sets of picture files share, and what is done with them.

use std::path::{Path, PathBuf};

use mmy_registry::{BuildError, Slot};

use super::{FileDataset, FilterConfig, MetaInfo, Record};
use crate::{BatchShapes, DataError, Pipeline, Transform};

/// Declares the `Config` of a data set of picture files: its own keys, and behind them those that all of them share.
macro_rules! file_config {
    ($(#[$meta:meta])* pub struct Config { $($(#[$doc:meta])* pub $key:ident: $type:ty,)* }) => {
        $(#[$meta])*
        pub struct Config {
            $($(#[$doc])* pub $key: $type,)*
            /// Which pictures are left out in training; none when testing.
            pub filter_cfg: $crate::FilterConfig,
            /// Gives each picture the shape of its batch, for testing.
            pub batch_shapes_cfg: Option<mmy_registry::Slot<$crate::BatchShapes>>,
            /// Whether the samples are for testing: all of them, none redrawn.
            pub test_mode: bool,
            /// Uses only these pictures, by index; negative ones count from the end.
            pub indices: Option<Vec<i64>>,
            /// What is done to each sample.
            pub pipeline: Vec<mmy_registry::Slot<$crate::Transform>>,
        }

        impl Config {
            /// The keys that all data sets of picture files share.
            fn shared(&self) -> $crate::datasets::shared::Shared<'_> {
                $crate::datasets::shared::Shared {
                    metainfo: &self.metainfo,
                    filter_cfg: self.filter_cfg,
                    batch_shapes_cfg: self.batch_shapes_cfg.as_ref(),
                    test_mode: self.test_mode,
                    indices: self.indices.as_deref(),
                    pipeline: &self.pipeline,
                }
            }
        }
    };
}
pub(super) use file_config;

/// The keys that all data sets of picture files share.
pub(super) struct Shared<'a> {
    pub(super) metainfo: &'a MetaInfo,
    pub(super) filter_cfg: FilterConfig,
    pub(super) batch_shapes_cfg: Option<&'a Slot<BatchShapes>>,
    pub(super) test_mode: bool,
    pub(super) indices: Option<&'a [i64]>,
    pub(super) pipeline: &'a [Slot<Transform>],
}

/// What annotations hold.
pub(super) struct Read {
    pub(super) records: Vec<Record>,
    pub(super) metainfo: MetaInfo,
    /// The annotation file, where there is one for the whole.
    pub(super) ann_file: Option<PathBuf>,
}

impl Shared<'_> {
    /// Whether the classes are names that fit together.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        self.metainfo.check().map_err(|error| error.at("metainfo"))
    }

    /// Builds pipeline and batch shapes, and only then reads the annotations.
    pub(super) fn open(&self, read: impl FnOnce() -> Result<Read, BuildError>) -> Result<FileDataset, BuildError> {
        self.check()?;
        let pipeline = Pipeline::build(self.pipeline)?;
        let shapes = self.batch_shapes_cfg.map(|it| it.build(())).transpose()?;
        let Read { records, metainfo, ann_file } = read()?;
        let dataset = FileDataset::new(records, metainfo, pipeline, self.test_mode);
        let dataset = match ann_file {
            Some(path) => dataset.with_ann_file(path),
            None => dataset,
        };
        let dataset = dataset.filtered(self.filter_cfg, self.indices)?;
        match shapes {
            Some(policy) => dataset.with_batch_shapes(&*policy),
            None => Ok(dataset),
        }
    }
}

/// The classes: those that are wanted, or all that `path` names when none are. That it lacks a wanted one is told; that
/// it lacks them all is an error.
pub(super) fn classes(path: &Path, there: Vec<String>, wanted: &MetaInfo) -> Result<MetaInfo, DataError> {
    if wanted.classes.is_empty() {
        return Ok(MetaInfo { classes: there, palette: wanted.palette.clone() });
    }
    let missing: Vec<_> = wanted.classes.iter().filter(|it| !there.contains(it)).map(String::as_str).collect();
    if !missing.is_empty() {
        let reason = format!(
            "has no category `{}` that metainfo.classes names; it has {}",
            missing.join("`, `"),
            there.join(", ")
        );
        if missing.len() == wanted.classes.len() {
            return Err(DataError::annotation(path, "", reason));
        }
        tracing::warn!("{}: {reason}", path.display());
    }
    Ok(wanted.clone())
}
