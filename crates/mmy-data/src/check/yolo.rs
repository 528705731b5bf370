//! YOLO's text annotations.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use rayon::prelude::*;

use super::{Inspect, Level, Listed, Survey, boxes};
use crate::{
    DataError, MetaInfo,
    datasets::yolo_files::{Layout, Txt},
};

/// A `data.yaml`, one of its splits, and the classes that are wanted.
pub(crate) struct Yolo {
    pub(crate) ann_file: PathBuf,
    pub(crate) split: String,
    pub(crate) wanted: MetaInfo,
}

impl Inspect for Yolo {
    fn inspect(&self) -> Survey {
        let file = &self.ann_file;
        let mut out = Survey { source: file.clone(), ..Survey::default() };
        let layout = match Layout::read(file) {
            Ok(it) => it,
            Err(error) => {
                let (code, text) = match &error {
                    DataError::Io { source, .. } => ("unreadable", source.to_string()),
                    other => ("not-yolo", other.to_string()),
                };
                out.find(Level::Error, code, file, None, text);
                return out;
            }
        };
        let pictures = match layout.pictures(&self.split) {
            Ok(it) => it,
            Err(error) => {
                out.find(Level::Error, "unreadable", file, None, format!("split `{}`: {error}", self.split));
                return out;
            }
        };
        out.folders = layout.folders(&self.split);
        self.classes(&mut out, &layout.names);
        let texts: Vec<_> = pictures.par_iter().map(|it| Txt::of(&it.path)).collect();
        let (mut seen, mut strange, mut without) = (HashMap::new(), HashMap::<&str, usize>::new(), Vec::new());
        for (picture, txt) in pictures.into_iter().zip(texts) {
            let (list, line) = &picture.place;
            if let Some(first) = seen.insert(picture.path.clone(), *line) {
                let text = format!("`{}` is there already, in line {first}", picture.path.display());
                out.find(Level::Warning, "duplicate-image", list, *line, text);
                continue;
            }
            // Of a picture that cannot be read the size is not known; it is told when all are opened.
            let shape = txt.shape.as_ref().copied().unwrap_or_default();
            out.pictures.push(Listed { path: picture.path.clone(), shape, place: picture.place });
            if !txt.there {
                without.push(picture.path);
            }
            let labels = match txt.labels {
                Ok(it) => it,
                Err(error) => {
                    out.find(Level::Error, "unreadable", &txt.path, None, error.to_string());
                    continue;
                }
            };
            let mut there = HashSet::new();
            for label in labels {
                let label = match label {
                    Ok(it) => it,
                    Err(fault) => {
                        let text = format!(
                            "{}{}",
                            fault.column.map_or(String::new(), |it| format!("column {it}: ")),
                            fault.reason
                        );
                        out.find(Level::Error, "broken-entry", &txt.path, fault.line as usize, text);
                        continue;
                    }
                };
                let line = label.line as usize;
                let Some(name) = layout.names.get(label.class) else {
                    let text = format!("class {} has no name; the object is left out", label.class);
                    out.find(Level::Warning, "category-unknown", &txt.path, line, text);
                    continue;
                };
                if !label.outline.is_normal() {
                    let text =
                        format!("{name}: numbers outside of 0 to 1, the parts of width and height; it is left out");
                    out.find(Level::Warning, "box-not-normal", &txt.path, line, text);
                    continue;
                }
                if !there.insert(format!("{} {:?}", label.class, label.outline)) {
                    out.find(
                        Level::Warning,
                        "object-twice",
                        &txt.path,
                        line,
                        format!("{name}: the very same line is there already"),
                    );
                    continue;
                }
                if !self.wanted.classes.is_empty() && !self.wanted.classes.contains(name) {
                    *strange.entry(name).or_default() += 1;
                } else if shape != (0, 0)
                    && boxes::look(&mut out, Txt::bbox(&label.outline, shape), shape, (&txt.path, line), name)
                {
                    *out.objects.entry(name.clone()).or_default() += 1;
                }
            }
        }
        let mut strange: Vec<_> = strange.into_iter().collect();
        strange.sort();
        for (class, count) in strange {
            let text = format!("metainfo.classes lacks `{class}`, so that its {count} objects are not learnt");
            out.find(Level::Warning, "class-not-learnt", file, None, text);
        }
        if let Some(first) = without.first() {
            let text = format!(
                "{} pictures of `{}` without a text, which are learnt as pictures without objects: {}{}",
                without.len(),
                self.split,
                first.display(),
                if without.len() > 1 { ", …" } else { "" }
            );
            out.find(Level::Note, "label-missing", file, None, text);
        }
        out.classes();
        out
    }
}

impl Yolo {
    fn classes(&self, out: &mut Survey, names: &[String]) {
        let wanted = &self.wanted.classes;
        for name in wanted.iter().filter(|it| !names.contains(it)) {
            let text = format!("metainfo.classes has `{name}`, which is no class of this file");
            out.find(Level::Warning, "class-unknown", &self.ann_file, None, text);
        }
        let learnt = names.iter().filter(|it| wanted.is_empty() || wanted.contains(it));
        out.objects = learnt.map(|it| (it.clone(), 0)).collect();
    }
}
