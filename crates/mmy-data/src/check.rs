//! Looks through the files of data sets before anything is trained, and tells what is wrong, with file and line.
//!
//! A data set that can be looked through submits an [`Inspection`] beside its `register!`; what it lists, [`check`] holds
//! against the pictures themselves.

mod boxes;
mod coco;
mod labelme;
mod pictures;
mod voc;
mod yolo;

use std::{collections::BTreeMap, fmt, path::PathBuf};

use mmy_registry::{BuildError, Slot, inventory};
use serde::{Serialize, de::DeserializeOwned};

use crate::Dataset;

pub(crate) use coco::Coco;
pub(crate) use labelme::Labelme;
pub(crate) use voc::Voc;
pub(crate) use yolo::Yolo;

/// What looks through a data set's files, one for each of the data sets that it is made of, or why its config contradicts
/// itself.
pub type Opened = Result<Vec<Box<dyn Inspect>>, BuildError>;

/// That the files of a data set can be looked through: submitted beside its `register!`, as
/// `inventory::submit! { Inspection::new::<Config>("YOLOv5CocoDataset") }`.
pub struct Inspection {
    name: &'static str,
    open: fn(&Slot<Dataset>) -> Opened,
}

inventory::collect!(Inspection);

impl Inspection {
    /// For the data set that is registered with this name and config.
    pub const fn new<C: Inspectable + DeserializeOwned>(name: &'static str) -> Self {
        Inspection { name, open: open::<C> }
    }

    /// That of the data set in a config's slot; nothing when it cannot be looked through.
    ///
    /// # Errors
    /// When the config contradicts itself.
    pub fn of(slot: &Slot<Dataset>) -> Option<Opened> {
        let found = inventory::iter::<Inspection>.into_iter().find(|it| it.name == slot.name())?;
        Some((found.open)(slot).map_err(|error| error.at_slot(slot.path())))
    }

    /// As [`Inspection::of`], for a data set inside another one, which cannot be looked through when this one cannot.
    ///
    /// # Errors
    /// When the config contradicts itself, or the data set cannot be looked through.
    pub(crate) fn inner(slot: &Slot<Dataset>) -> Opened {
        let nothing = || Err(BuildError::new(format!("the files of a {} cannot be looked through", slot.name())));
        Self::of(slot).unwrap_or_else(nothing)
    }
}

/// A slot knows its config as something to build a data set from; its values are those of the config all the same.
fn open<C: Inspectable + DeserializeOwned>(slot: &Slot<Dataset>) -> Opened {
    let failed = |error: serde_json::Error| BuildError::new(error.to_string());
    let mut values = serde_json::to_value(slot).map_err(failed)?;
    if let Some(table) = values.as_object_mut() {
        table.remove("type");
    }
    serde_json::from_value::<C>(values).map_err(failed)?.inspection()
}

/// The config of a data set that can be looked through.
pub trait Inspectable {
    /// What looks through it.
    ///
    /// # Errors
    /// When the config contradicts itself.
    fn inspection(&self) -> Opened;
}

/// A data set whose files can be looked through.
pub trait Inspect: Send + Sync {
    /// Reads the annotations, all of them, however many are broken. Pictures are listed, not opened.
    fn inspect(&self) -> Survey;
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A run ends, or leaves the picture out.
    Error,
    /// A run goes on, with less or with other than what seems to be meant.
    Warning,
    /// Worth to know, and no fault.
    Note,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        })
    }
}

/// Something about a data set's files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// A word for findings of this sort, such as `box-outside`.
    pub code: &'static str,
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1, where it is a text.
    pub line: Option<usize>,
    /// What there is to say.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] {}", self.level, self.code, self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.text)
    }
}

/// A picture that a data set lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its file.
    pub path: PathBuf,
    /// `(height, width)` as annotated, zeros where nothing is said.
    pub shape: (usize, usize),
    /// Where it is listed: file and line.
    pub place: (PathBuf, usize),
}

/// What a data set's annotations hold.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// The annotation file, or the list of names.
    pub source: PathBuf,
    /// Folders in which only pictures of this data set, or of others of the same config, are to be.
    pub folders: Vec<PathBuf>,
    /// The pictures, in order.
    pub pictures: Vec<Listed>,
    /// How many objects there are of each class that is learnt.
    pub objects: BTreeMap<String, usize>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Survey {
    fn find(
        &mut self,
        level: Level,
        code: &'static str,
        file: impl Into<PathBuf>,
        line: impl Into<Option<usize>>,
        text: impl Into<String>,
    ) {
        let (file, line, text) = (file.into(), line.into(), text.into());
        self.findings.push(Finding { level, code, file, line, text });
    }

    /// What is to be said of the classes once all objects are counted.
    fn classes(&mut self) {
        let source = self.source.clone();
        let without: Vec<_> = self.objects.iter().filter(|it| *it.1 == 0).map(|it| it.0.clone()).collect();
        for class in without {
            self.find(Level::Warning, "class-unused", &source, None, format!("no object is of the class `{class}`"));
        }
        if self.pictures.is_empty() {
            self.find(Level::Error, "empty", &source, None, "there is no picture in this data set");
        }
    }
}

/// A data set of a config, with what was found.
#[derive(Debug, Clone, Serialize)]
pub struct Set {
    /// The loaders that use it, such as `train_dataloader`.
    pub loaders: Vec<String>,
    /// The annotation file, or the list of names.
    pub source: PathBuf,
    /// How many pictures it lists.
    pub pictures: usize,
    /// How many objects there are of each class that is learnt.
    pub objects: BTreeMap<String, usize>,
}

/// What there is to say of all data sets of a config.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The data sets.
    pub sets: Vec<Set>,
    /// What was found: errors first, then by file and line.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings are of this level.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|it| it.level == level).count()
    }
}

/// Opens every picture that the surveys list, once, on all cores; `progress` is called with the number of pictures that
/// are done and of all. Loaders that read the same annotations are one data set.
pub fn check(surveys: Vec<(String, Survey)>, progress: &(dyn Fn(usize, usize) + Sync)) -> Report {
    let mut sets: Vec<(Vec<String>, Survey)> = Vec::new();
    for (loader, survey) in surveys {
        let same = |it: &&mut (Vec<String>, Survey)| it.1.source == survey.source && it.1.pictures == survey.pictures;
        match sets.iter_mut().find(same) {
            Some(it) => it.0.push(loader),
            None => sets.push((vec![loader], survey)),
        }
    }
    let mut findings = pictures::check(&sets, progress);
    let sets = sets.into_iter().map(|(loaders, survey)| {
        findings.extend(survey.findings);
        Set { loaders, source: survey.source, pictures: survey.pictures.len(), objects: survey.objects }
    });
    let sets = sets.collect();
    findings.sort();
    findings.dedup();
    Report { sets, findings }
}

#[cfg(test)]
mod tests;
