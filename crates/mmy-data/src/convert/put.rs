//! Where pictures go.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use rayon::prelude::*;

use super::{Collection, Format, Lost, Target};
use crate::DataError;

/// What becomes of the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Files {
    /// They are copied.
    #[default]
    Copy,
    /// The same bytes under a second name, where both are on one disk; else they are copied.
    Hardlink,
    /// A name that points to the original.
    Symlink,
}

/// Where each picture goes.
pub(super) struct Put {
    /// Below the folder of the data set, with slashes.
    pub(super) places: Vec<String>,
    /// Names of the splits; an empty one stands for pictures that are in none.
    pub(super) splits: Vec<String>,
    /// Whether each split has a folder of its own.
    pub(super) folders: bool,
}

impl Put {
    /// Gives every picture a place of its own.
    pub(super) fn plan(collection: &Collection, format: Format, lost: &mut Lost) -> Self {
        let mut splits = collection.splits();
        // A picture in several splits cannot lie in the folder of one.
        let folders = format != Format::Voc
            && !splits.is_empty()
            && collection.pictures.iter().all(|it| it.splits.len() == 1)
            && splits.iter().all(|it| is_name(it));
        if collection.pictures.iter().any(|it| it.splits.is_empty()) || splits.is_empty() {
            splits.push(String::new());
        }
        // Annotations stand under the name without its ending: that has to be unique as well.
        let mut taken = HashSet::new();
        let places = collection.pictures.iter().map(|it| {
            let folder = match (format, folders) {
                (Format::Voc, _) => "JPEGImages/".to_owned(),
                (Format::Yolo, true) => format!("images/{}/", it.splits[0]),
                (Format::Coco | Format::Labelme, true) => format!("{}/", it.splits[0]),
                (Format::Coco | Format::Yolo, false) => "images/".to_owned(),
                (Format::Labelme, false) => String::new(),
            };
            // One folder has them all, as VOC and labelme want it.
            let name = it.name.replace('\\', "/");
            let parts = name.split('/').filter(|it| !it.is_empty() && *it != "." && *it != "..");
            let flat = parts.collect::<Vec<_>>().join("_");
            let (stem, ending) = flat.rsplit_once('.').unwrap_or((&flat, "jpg"));
            let names = std::iter::once(stem.to_owned()).chain((2..).map(|n| format!("{stem}_{n}")));
            let mut names = names.filter(|it| taken.insert(format!("{folder}{}", it.to_lowercase())));
            let stem = names.next().unwrap_or_default();
            let place = format!("{folder}{stem}.{ending}");
            if !place.ends_with(&name) {
                lost.add("name of a picture (another has it, or it has a folder in it)");
            }
            place
        });
        Put { places: places.collect(), splits, folders }
    }

    /// A picture's name in its folder, without its ending.
    pub(super) fn stem(&self, at: usize) -> &str {
        let name = self.places[at].rsplit('/').next().unwrap_or_default();
        name.rsplit_once('.').map_or(name, |it| it.0)
    }

    /// A picture's name in its folder.
    pub(super) fn name(&self, at: usize) -> &str {
        self.places[at].rsplit('/').next().unwrap_or_default()
    }

    /// Puts the pictures there.
    pub(super) fn pictures(
        &self,
        collection: &Collection,
        target: &Target,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<(), DataError> {
        if let Some(gone) = collection.pictures.iter().find(|it| !it.path.is_file()) {
            return Err(DataError::image(&gone.path, "there is no such picture"));
        }
        let folders: HashSet<_> = self.places.iter().filter_map(|it| it.rsplit_once('/')).map(|it| it.0).collect();
        for folder in folders {
            let folder = target.dir.join(folder);
            fs::create_dir_all(&folder).map_err(|error| DataError::io(&folder, error))?;
        }
        let done = AtomicUsize::new(0);
        collection.pictures.par_iter().zip(&self.places).try_for_each(|(picture, place)| {
            let place = target.dir.join(place);
            put(&picture.path, &place, target.files).map_err(|error| DataError::io(&place, error))?;
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            Ok(())
        })
    }
}

/// Whether a split's name can be that of a folder and of a file.
fn is_name(split: &str) -> bool {
    !split.is_empty() && !split.starts_with('.') && !split.contains(['/', '\\', ':'])
}

fn put(from: &Path, to: &Path, files: Files) -> io::Result<()> {
    match files {
        Files::Hardlink if fs::hard_link(from, to).is_ok() => Ok(()),
        Files::Symlink => symlink(&std::path::absolute(from)?, to),
        Files::Copy | Files::Hardlink => fs::copy(from, to).map(|_| ()),
    }
}

#[cfg(unix)]
fn symlink(from: &PathBuf, to: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(from, to)
}

#[cfg(not(unix))]
fn symlink(_: &PathBuf, _: &Path) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "symbolic links are made on Unix alone"))
}
