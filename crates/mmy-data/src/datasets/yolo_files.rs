//! Where the files of a YOLO data set are.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use mmy_formats::{
    Fault,
    picture::{ENDINGS, upright_size},
    yolo::{self, Label, Outline},
};
use mmy_structures::BBox;

use crate::DataError;

/// What a `data.yaml` says, with its places resolved.
pub(crate) struct Layout {
    /// The file itself.
    pub(crate) file: PathBuf,
    /// Names of the classes.
    pub(crate) names: Vec<String>,
    /// Names of splits, and their folders and lists of pictures.
    pub(crate) splits: Vec<(String, Vec<PathBuf>)>,
    /// The folder that places are relative to.
    base: PathBuf,
}

/// A picture of a split.
pub(crate) struct Picture {
    /// Its file.
    pub(crate) path: PathBuf,
    /// Where it is listed; its own path and 1 where a folder has it.
    pub(crate) place: (PathBuf, usize),
}

impl Layout {
    /// Reads a `data.yaml`. Folders are looked for below its `path`, which is one below the file's own folder or below the
    /// current one; without it, or where it is not there, below the file's own folder.
    pub(crate) fn read(file: &Path) -> Result<Self, DataError> {
        let text = fs::read_to_string(file).map_err(|error| DataError::io(file, error))?;
        let yaml = yolo::data_yaml(&text).map_err(|fault| DataError::annotation(file, fault.place(), fault.reason))?;
        let own = file.parent().unwrap_or(Path::new(""));
        let path = yaml.path.as_deref().map(Path::new);
        let base = path.and_then(|it| [own.join(it), it.to_owned()].into_iter().find(|it| it.is_dir()));
        let base = base.unwrap_or_else(|| own.to_owned());
        let place = |it: &String| resolve(&base, own, it);
        let splits = yaml.splits.iter().map(|(name, places)| (name.clone(), places.iter().map(place).collect()));
        Ok(Layout { file: file.to_owned(), names: yaml.names, splits: splits.collect(), base: base.clone() })
    }

    /// The pictures of a split: those of folders by name, those of lists as listed.
    pub(crate) fn pictures(&self, split: &str) -> Result<Vec<Picture>, DataError> {
        let places = self.splits.iter().find(|it| it.0 == split).map(|it| &it.1).ok_or_else(|| {
            let there: Vec<_> = self.splits.iter().map(|it| it.0.as_str()).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            DataError::annotation(&self.file, "", format!("there is no split `{split}`; there are {there}"))
        })?;
        let mut out = Vec::new();
        for place in places {
            if place.is_dir() {
                let files = below(place)?;
                out.extend(files.into_iter().map(|path| Picture { place: (path.clone(), 1), path }));
                continue;
            }
            let text = fs::read_to_string(place).map_err(|error| DataError::io(place, error))?;
            let own = place.parent().unwrap_or(Path::new(""));
            for (line, name) in text.lines().map(str::trim).enumerate().filter(|it| !it.1.is_empty()) {
                out.push(Picture { path: resolve(&self.base, own, name), place: (place.clone(), line + 1) });
            }
        }
        Ok(out)
    }

    /// The folders of pictures of a split.
    pub(crate) fn folders(&self, split: &str) -> Vec<PathBuf> {
        let places = self.splits.iter().filter(|it| it.0 == split).flat_map(|it| &it.1);
        places.filter(|it| it.is_dir()).cloned().collect()
    }
}

/// The first of the places that a name may mean which is there; the first of all when none is.
fn resolve(base: &Path, own: &Path, name: &str) -> PathBuf {
    let name = name.strip_prefix("./").unwrap_or(name);
    let mut places = vec![base.join(name), own.join(name)];
    // Some writers put `../` in front, as if the file lay one folder deeper.
    places.extend(name.strip_prefix("../").map(|it| own.join(it)));
    places.iter().position(|it| it.exists()).map_or_else(|| places[0].clone(), |at| places[at].clone())
}

/// The pictures in a folder and in those below it, in order of their names.
pub(crate) fn below(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let (mut out, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| DataError::io(&folder, error))? {
            let entry = entry.map_err(|error| DataError::io(&folder, error))?;
            let path = entry.path();
            let ending = path.extension().map(|it| it.to_string_lossy().to_lowercase());
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                open.push(path);
            } else if ending.is_some_and(|it| ENDINGS.contains(&it.as_str())) {
                out.push(path);
            }
        }
    }
    out.sort();
    Ok(out)
}

/// Where the annotations of a picture are: in `labels` where its path has `images`, the last one if there are several.
pub(crate) fn label_file(picture: &Path) -> PathBuf {
    let parts: Vec<_> = picture.components().collect();
    let folders = parts.len().saturating_sub(1);
    let images = parts[..folders].iter().rposition(|it| it.as_os_str() == "images");
    let parts = parts.iter().enumerate().map(|(at, part)| match part {
        Component::Normal(_) if Some(at) == images => std::ffi::OsStr::new("labels"),
        other => other.as_os_str(),
    });
    parts.collect::<PathBuf>().with_extension("txt")
}

/// The annotations of a picture.
pub(crate) struct Txt {
    /// Their file.
    pub(crate) path: PathBuf,
    /// Whether there is one.
    pub(crate) there: bool,
    /// The objects, or why the file cannot be read.
    pub(crate) labels: Result<Vec<Result<Label, Fault>>, DataError>,
    /// `(height, width)` of the picture, or why it has none.
    pub(crate) shape: Result<(usize, usize), String>,
}

impl Txt {
    /// Reads the annotations of a picture, and the picture's head.
    pub(crate) fn of(picture: &Path) -> Self {
        let path = label_file(picture);
        let (there, labels) = match fs::read_to_string(&path) {
            Ok(text) => (true, Ok(yolo::labels(&text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (false, Ok(Vec::new())),
            Err(error) => (true, Err(DataError::io(&path, error))),
        };
        Txt { path, there, labels, shape: upright_size(picture) }
    }

    /// The box of an object in a picture of `(height, width)`.
    pub(crate) fn bbox(outline: &Outline, (height, width): (usize, usize)) -> BBox {
        let [x1, y1, x2, y2] = outline.edges();
        let (w, h) = (width as f64, height as f64);
        BBox::new((x1 * w) as f32, (y1 * h) as f32, (x2 * w) as f32, (y2 * h) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_where_images_did() {
        let check = |picture: &str, label: &str| assert_eq!(label_file(Path::new(picture)), Path::new(label));
        check("/a/images/b/images/c.jpg", "/a/images/b/labels/c.txt");
        check("images/c.tar.png", "labels/c.tar.txt");
        check("/a/c.jpg", "/a/c.txt");
        check("../images.jpg", "../images.txt");
    }
}
