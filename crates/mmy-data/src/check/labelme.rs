//! labelme's folders.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use mmy_structures::BBox;
use rayon::prelude::*;

use super::{Inspect, Level, Listed, Survey, boxes};
use crate::{
    DataError, MetaInfo,
    datasets::labelme_files::{files, objects, picture, read},
};

/// A folder of JSON files, a list of their names where not all of them count, and the classes that are wanted.
pub(crate) struct Labelme {
    pub(crate) folder: PathBuf,
    pub(crate) list: Option<PathBuf>,
    pub(crate) wanted: MetaInfo,
}

impl Inspect for Labelme {
    fn inspect(&self) -> Survey {
        let source = self.list.as_ref().unwrap_or(&self.folder);
        let mut out = Survey { source: source.clone(), ..Survey::default() };
        let jsons = match files(&self.folder, self.list.as_deref()) {
            Ok(it) => it,
            Err(error) => {
                out.find(Level::Error, "unreadable", source, None, error.to_string());
                return out;
            }
        };
        let read: Vec<_> = jsons.par_iter().map(|it| read(&it.path)).collect();
        out.objects = self.wanted.classes.iter().map(|it| (it.clone(), 0)).collect();
        let (mut seen, mut strange) = (HashMap::new(), BTreeMap::<String, usize>::new());
        for (json, file) in jsons.into_iter().zip(read) {
            let (list, line) = (json.place.0, json.place.1);
            if let Some(first) = seen.insert(json.path.clone(), line) {
                let text = format!("`{}` is there already, in line {first}", json.path.display());
                out.find(Level::Warning, "duplicate-image", &list, line, text);
                continue;
            }
            let file = match file {
                Ok(it) => it,
                Err(DataError::Io { source, .. }) => {
                    out.find(
                        Level::Error,
                        "annotation-missing",
                        &list,
                        line,
                        format!("{}: {source}", json.path.display()),
                    );
                    continue;
                }
                Err(DataError::Annotation { place, reason, .. }) => {
                    let at = place.split([' ', ',']).nth(1).and_then(|it| it.parse().ok());
                    out.find(Level::Error, "not-labelme", &json.path, at, format!("{place}: {reason}"));
                    continue;
                }
                Err(other) => {
                    out.find(Level::Error, "unreadable", &json.path, None, other.to_string());
                    continue;
                }
            };
            let (path, shape) = (picture(&json.path, &file), file.shape);
            out.pictures.push(Listed { path, shape, place: (json.path.clone(), 1) });
            for object in objects(&file) {
                let object = match object {
                    Ok(it) => it,
                    Err((line, reason)) => {
                        out.find(Level::Error, "broken-entry", &json.path, line, reason);
                        continue;
                    }
                };
                if !self.wanted.classes.is_empty() && !self.wanted.classes.contains(&object.label) {
                    *strange.entry(object.label).or_default() += 1;
                    continue;
                }
                let Some([x1, y1, x2, y2]) = object.edges else {
                    let text = format!("{}: points and lines have no area; it is left out", object.label);
                    out.find(Level::Warning, "box-without-area", &json.path, object.line, text);
                    continue;
                };
                let bbox = BBox::new(x1 as f32, y1 as f32, x2 as f32, y2 as f32);
                if boxes::look(&mut out, bbox, shape, (&json.path, object.line), &object.label) {
                    *out.objects.entry(object.label).or_default() += 1;
                }
            }
        }
        for (class, count) in strange {
            let text = format!("metainfo.classes lacks `{class}`, so that its {count} objects are not learnt");
            out.find(Level::Warning, "class-not-learnt", source, None, text);
        }
        out.classes();
        out
    }
}
