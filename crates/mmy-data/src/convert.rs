//! Data sets from one format into another, and in parts.
//!
//! [`read`] turns files of any of the four formats into a [`Collection`], [`write()`] turns one into files. What the target
//! has no place for is counted in [`Lost`], by name. Numbers are kept to a millionth of a pixel.

mod coco;
mod collection;
mod labelme;
mod lost;
mod parts;
mod put;
mod voc;
mod yolo;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

pub use collection::{Class, Collection, Object, Picture};
pub use lost::Lost;
pub use parts::{Subset, merge, split, subset};
pub use put::Files;

use crate::DataError;

/// How annotations are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// One JSON file for each split.
    Coco,
    /// An XML file for each picture, and lists of names.
    Voc,
    /// A text for each picture, and a `data.yaml`.
    Yolo,
    /// A JSON file for each picture.
    Labelme,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Coco => "COCO",
            Format::Voc => "VOC",
            Format::Yolo => "YOLO",
            Format::Labelme => "labelme",
        })
    }
}

/// Where a data set is.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Its folder, its annotation file, or its `data.yaml`.
    pub path: PathBuf,
    /// Its format; found out by looking when it is not given.
    pub format: Option<Format>,
    /// The folder of the pictures, for COCO files whose pictures are not found beside them.
    pub images: Option<PathBuf>,
}

impl Source {
    /// The format, as given or as the files look.
    ///
    /// # Errors
    /// When the files look like none of them.
    pub fn format(&self) -> Result<Format, DataError> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let path = &self.path;
        let ending = path.extension().map(|it| it.to_string_lossy().to_lowercase());
        if path.is_file() {
            return match ending.as_deref() {
                Some("json") => Ok(Format::Coco),
                Some("yaml" | "yml") => Ok(Format::Yolo),
                _ => Err(DataError::annotation(path, "", "neither a COCO file (.json) nor a data.yaml")),
            };
        }
        let entries = fs::read_dir(path).map_err(|error| DataError::io(path, error))?;
        let names: Vec<_> = entries.flatten().map(|it| it.file_name().to_string_lossy().into_owned()).collect();
        let has = |name: &str| names.iter().any(|it| it == name);
        if has("Annotations") {
            Ok(Format::Voc)
        } else if has("data.yaml") {
            Ok(Format::Yolo)
        } else if !coco::files(path).is_empty() {
            Ok(Format::Coco)
        } else if !labelme::folders(path).is_empty() {
            Ok(Format::Labelme)
        } else {
            Err(DataError::annotation(
                path,
                "",
                "looks like no data set: there is no `Annotations` (VOC), no `data.yaml` (YOLO), no `annotations/*.json` \
                 (COCO), no JSON file beside pictures (labelme)",
            ))
        }
    }
}

/// Where a data set is to be written.
#[derive(Debug, Clone)]
pub struct Target {
    /// The folder, which must be new or empty.
    pub dir: PathBuf,
    /// The format.
    pub format: Format,
    /// What becomes of the pictures.
    pub files: Files,
    /// Whether outlines are written where the format has a place for them instead of a box: in YOLO's texts and for
    /// labelme. COCO files have places for both.
    pub outlines: bool,
}

/// Reads a data set; what its own format says in a way that is not understood is counted in `lost`.
///
/// # Errors
/// When a file cannot be read or says something that cannot be.
pub fn read(source: &Source, lost: &mut Lost) -> Result<Collection, DataError> {
    let mut out = match source.format()? {
        Format::Coco => coco::read(&source.path, source.images.as_deref(), lost),
        Format::Voc => voc::read(&source.path, lost),
        Format::Yolo => yolo::read(&source.path, lost),
        Format::Labelme => labelme::read(&source.path, lost),
    }?;
    out.fill_sizes()?;
    Ok(out)
}

/// Writes a data set with its pictures; `progress` is called with the number of pictures that are in place.
///
/// # Errors
/// When the folder is not empty, a picture is missing, or a file cannot be written.
pub fn write(
    collection: &Collection,
    target: &Target,
    lost: &mut Lost,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<(), DataError> {
    let dir = &target.dir;
    fs::create_dir_all(dir).map_err(|error| DataError::io(dir, error))?;
    let mut entries = fs::read_dir(dir).map_err(|error| DataError::io(dir, error))?;
    if entries.next().is_some() {
        return Err(DataError::annotation(dir, "", "the folder is not empty"));
    }
    let put = put::Put::plan(collection, target.format, lost);
    put.pictures(collection, target, progress)?;
    match target.format {
        Format::Coco => coco::write(collection, &put, dir),
        Format::Voc => voc::write(collection, &put, dir, lost),
        Format::Yolo => yolo::write(collection, &put, target, lost),
        Format::Labelme => labelme::write(collection, &put, target, lost),
    }
}

/// Writes a text, with the path in the error.
fn write_file(path: &Path, text: impl AsRef<[u8]>) -> Result<(), DataError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| DataError::io(folder, error))?;
    }
    fs::write(path, text).map_err(|error| DataError::io(path, error))
}

#[cfg(test)]
mod tests;
