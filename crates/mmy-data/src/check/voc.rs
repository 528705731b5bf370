//! Pascal VOC folders.

use std::{collections::HashMap, fs, path::PathBuf};

use mmy_formats::voc;
use rayon::prelude::*;

use super::{Inspect, Level, Listed, Survey, boxes};
use crate::{
    MetaInfo,
    datasets::voc::{bbox, picture},
};

/// A list of names, the folders of pictures and annotations, and the classes that are wanted.
pub(crate) struct Voc {
    pub(crate) split: PathBuf,
    pub(crate) pictures: PathBuf,
    pub(crate) annotations: PathBuf,
    pub(crate) wanted: MetaInfo,
}

impl Inspect for Voc {
    fn inspect(&self) -> Survey {
        let mut out = Survey { source: self.split.clone(), folders: vec![self.pictures.clone()], ..Survey::default() };
        let names = match fs::read_to_string(&self.split) {
            Ok(it) => it,
            Err(error) => {
                out.find(Level::Error, "unreadable", &self.split, None, error.to_string());
                return out;
            }
        };
        let names = names.lines().map(str::trim).enumerate().map(|(at, it)| (at + 1, it));
        let names: Vec<_> = names.filter(|it| !it.1.is_empty()).collect();
        let read = |&(_, name): &(usize, &str)| {
            let path = self.annotations.join(format!("{name}.xml"));
            let text = fs::read_to_string(&path).map_err(|it| (None, it.to_string()));
            let xml = text.and_then(|it| voc::parse(&it).map_err(|it| (Some(it.line as usize), it.reason)));
            (path, xml)
        };
        let files: Vec<_> = names.par_iter().map(read).collect();
        out.objects = self.wanted.classes.iter().map(|it| (it.clone(), 0)).collect();
        let (mut seen, mut strange) = (HashMap::new(), HashMap::<String, usize>::new());
        for ((line, name), (path, xml)) in names.into_iter().zip(files) {
            if let Some(first) = seen.insert(name, line) {
                let text = format!("`{name}` is there already, in line {first}");
                out.find(Level::Warning, "duplicate-image", &self.split, line, text);
                continue;
            }
            let xml = match xml {
                Ok(xml) => xml,
                Err((None, error)) => {
                    let text = format!("the annotations of `{name}`, {}: {error}", path.display());
                    out.find(Level::Error, "annotation-missing", &self.split, line, text);
                    continue;
                }
                Err((at, error)) => {
                    out.find(Level::Error, "not-xml", &path, at, error);
                    continue;
                }
            };
            let file = picture(&self.pictures, name, xml.filename.as_deref());
            let shape = xml.shape;
            out.pictures.push(Listed { path: file, shape, place: (path.clone(), xml.shape_line as usize) });
            for object in xml.objects {
                let object = match object {
                    Ok(it) => it,
                    Err(fault) => {
                        out.find(Level::Error, "broken-entry", &path, fault.line as usize, fault.reason);
                        continue;
                    }
                };
                if !self.wanted.classes.is_empty() && !self.wanted.classes.contains(&object.name) {
                    *strange.entry(object.name).or_default() += 1;
                    continue;
                }
                if boxes::look(&mut out, bbox(&object), shape, (&path, object.line as usize), &object.name) {
                    *out.objects.entry(object.name).or_default() += 1;
                }
            }
        }
        for (class, count) in strange {
            let text = format!("metainfo.classes lacks `{class}`, so that its {count} objects are not learnt");
            out.find(Level::Warning, "class-not-learnt", &self.split, None, text);
        }
        out.classes();
        out
    }
}
