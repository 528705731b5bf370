//! Where the files of a labelme data set are, and what its shapes are together.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mmy_formats::{
    labelme::{self, File},
    picture::ENDINGS,
};

use crate::DataError;

/// An annotation file.
pub(crate) struct Json {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Where it is listed; its own path and 1 where a folder has it.
    pub(crate) place: (PathBuf, usize),
}

/// The annotation files of a folder: those that a list names, in its order, or all of them, in order of their names.
pub(crate) fn files(folder: &Path, list: Option<&Path>) -> Result<Vec<Json>, DataError> {
    if let Some(list) = list {
        let text = fs::read_to_string(list).map_err(|error| DataError::io(list, error))?;
        let lines = text.lines().map(str::trim).zip(1..).filter(|it| !it.0.is_empty());
        let file = |(name, line): (&str, usize)| {
            let path = folder.join(format!("{}.json", name.strip_suffix(".json").unwrap_or(name)));
            Json { path, place: (list.to_owned(), line) }
        };
        return Ok(lines.map(file).collect());
    }
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = fs::read_dir(here).map_err(|error| DataError::io(here, error))?;
    let mut out = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| DataError::io(here, error))?.path();
        if path.extension().is_some_and(|it| it == "json") {
            out.push(Json { place: (path.clone(), 1), path });
        }
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(out)
}

/// The annotations of a picture.
pub(crate) fn read(path: &Path) -> Result<File, DataError> {
    let bytes = fs::read(path).map_err(|error| DataError::io(path, error))?;
    labelme::parse(&bytes).map_err(|fault| DataError::annotation(path, fault.place(), fault.reason))
}

/// The picture that an annotation file names, or one of the annotation file's own name where that is not there.
pub(crate) fn picture(json: &Path, file: &File) -> PathBuf {
    let folder = json.parent().unwrap_or(Path::new(""));
    let named = file.image_path.as_ref().map(|it| folder.join(it));
    let beside = || ENDINGS.iter().map(|it| json.with_extension(it)).find(|it| it.exists());
    match named {
        Some(named) if named.exists() => named,
        Some(named) => beside().unwrap_or(named),
        None => beside().unwrap_or_else(|| json.with_extension("jpg")),
    }
}

/// An object: a shape, or several of one class and one group.
pub(crate) struct Object {
    pub(crate) label: String,
    /// Left, top, right, bottom; nothing where no shape of it has an area.
    pub(crate) edges: Option<[f64; 4]>,
    pub(crate) difficult: bool,
    pub(crate) crowd: bool,
    /// Places of its shapes in the file.
    pub(crate) shapes: Vec<usize>,
    /// The line of the first of them.
    pub(crate) line: usize,
}

/// The objects of a file; of a broken shape the line and what is wrong with it.
pub(crate) fn objects(file: &File) -> Vec<Result<Object, (usize, String)>> {
    let mut out: Vec<Result<Object, (usize, String)>> = Vec::new();
    let mut groups: Vec<(&str, &serde_json::Value, usize)> = Vec::new();
    for (at, row) in file.shapes.iter().enumerate() {
        let shape = match &row.value {
            Ok(it) => it,
            Err(reason) => {
                out.push(Err((row.line, format!("a shape: {reason}"))));
                continue;
            }
        };
        let group = shape.group_id.as_ref().filter(|it| !it.is_null());
        let known = groups.iter().find(|it| it.0 == shape.label && Some(it.1) == group).map(|it| it.2);
        let (difficult, crowd) = (shape.flag("difficult"), shape.flag("iscrowd"));
        if let Some(Ok(object)) = known.map(|it| &mut out[it]) {
            object.edges = match (object.edges, shape.edges()) {
                (Some(a), Some(b)) => Some([a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]),
                (a, b) => a.or(b),
            };
            object.shapes.push(at);
            continue;
        }
        if let Some(group) = group {
            groups.push((&shape.label, group, out.len()));
        }
        let (label, edges) = (shape.label.clone(), shape.edges());
        out.push(Ok(Object { label, edges, difficult, crowd, shapes: vec![at], line: row.line }));
    }
    out
}
