//! What can go wrong with data, and where.

use std::{io, path::PathBuf};

/// What can go wrong with data: each variant names the file, and the place in it where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A picture cannot be used: missing, not a picture, broken, or of no size.
    #[error("{}: {reason}", path.display())]
    Image {
        /// The picture's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An annotation file says something that cannot be.
    #[error("{}: {place}{}{reason}", path.display(), if place.is_empty() { "" } else { ": " })]
    Annotation {
        /// The annotation file.
        path: PathBuf,
        /// `line 3, column 7`, `annotation 18`, or nothing for the file as a whole.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The pictures of a batch do not fit together.
    #[error("a batch cannot be put together: {0}")]
    Collate(String),
    /// A transform met a sample that it cannot handle.
    #[error("{transform}: {reason} (sample {index}: {})", path.display())]
    Transform {
        /// The transform's name.
        transform: &'static str,
        /// Index of the sample in its data set.
        index: usize,
        /// The sample's picture.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No usable sample came out, however often another one was tried.
    #[error("no usable sample after {tries} tries, starting from sample {index} ({draw})")]
    NoSample {
        /// Index of the sample that was wanted.
        index: usize,
        /// How many samples were tried.
        tries: usize,
        /// Seed and epoch.
        draw: String,
    },
    /// No batch came for a long time.
    #[error(
        "the loader gave no batch for {seconds} s; at work on {}: a disk or a network share that does not answer, or a \
         transform that does not end (`timeout` of the dataloader sets how long to wait)",
        samples.join(", ")
    )]
    Hangs {
        /// How long it was waited.
        seconds: u64,
        /// Index and picture of each sample that a thread has been preparing meanwhile.
        samples: Vec<String>,
    },
    /// A worker panicked, which is a bug; the sample makes it repeatable.
    #[error("a transform panicked on sample {index} ({}; {draw}): {message}", path.display())]
    Panic {
        /// Index of the sample.
        index: usize,
        /// The sample's picture.
        path: PathBuf,
        /// Seed and epoch.
        draw: String,
        /// The panic's message.
        message: String,
    },
}

impl DataError {
    /// A file or folder cannot be read or written.
    pub fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        DataError::Io { path: path.into(), source }
    }

    /// A picture cannot be used.
    pub fn image(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        DataError::Image { path: path.into(), reason: reason.to_string() }
    }

    /// An annotation file says something that cannot be, at `place` (empty: the file as a whole).
    pub fn annotation(path: impl Into<PathBuf>, place: impl ToString, reason: impl ToString) -> Self {
        DataError::Annotation { path: path.into(), place: place.to_string(), reason: reason.to_string() }
    }

    /// The picture at fault, when another one may be taken in its place.
    pub fn bad_image(&self) -> Option<&PathBuf> {
        match self {
            DataError::Image { path, .. } => Some(path),
            _ => None,
        }
    }
}
