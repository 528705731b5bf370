//! COCO files, entry by entry.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::PathBuf,
};

use mmy_formats::coco;
use mmy_structures::BBox;

use super::{Inspect, Level, Listed, Survey, boxes};
use crate::MetaInfo;

/// A COCO file, its folder of pictures, and the classes that are wanted of it.
pub(crate) struct Coco {
    pub(crate) ann_file: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) wanted: MetaInfo,
}

impl Inspect for Coco {
    fn inspect(&self) -> Survey {
        let (file, mut out) = (&self.ann_file, Survey::default());
        (out.source, out.folders) = (file.clone(), vec![self.folder.clone()]);
        let entries = match fs::read(file).map_err(|it| it.to_string()).map(|it| coco::survey(&it)) {
            Err(error) => {
                out.find(Level::Error, "unreadable", file, None, error);
                return out;
            }
            Ok(Err(error)) => {
                out.find(Level::Error, "not-coco", file, Some(error.line()).filter(|it| *it > 0), error.to_string());
                return out;
            }
            Ok(Ok(entries)) => entries,
        };
        let classes = self.categories(&mut out, &entries.categories);
        let shapes = self.pictures(&mut out, &entries.images);
        self.objects(&mut out, &entries.annotations, &classes, &shapes);
        out.classes();
        out
    }
}

/// Category numbers and the classes that they stand for, nothing where it is not learnt.
type Classes<'a> = HashMap<i64, (&'a str, bool)>;

impl Coco {
    fn categories<'a>(&self, out: &mut Survey, rows: &'a [coco::Row<coco::Category>]) -> Classes<'a> {
        let (file, mut classes) = (&self.ann_file, Classes::new());
        let wanted = &self.wanted.classes;
        let mut names = HashMap::new();
        for row in rows {
            let it = match &row.value {
                Ok(it) => it,
                Err(error) => {
                    out.find(Level::Error, "broken-entry", file, row.line, format!("a category: {error}"));
                    continue;
                }
            };
            let learnt = wanted.is_empty() || wanted.contains(&it.name);
            if classes.insert(it.id, (it.name.as_str(), learnt)).is_some() {
                let text = format!("the category number {} is there twice", it.id);
                out.find(Level::Error, "duplicate-id", file, row.line, text);
            }
            if let Some(first) = names.insert(&it.name, row.line) {
                let text = format!("the category `{}` is there already, in line {first}", it.name);
                out.find(Level::Warning, "duplicate-class", file, row.line, text);
            }
            if !learnt {
                let text = format!("metainfo.classes lacks the category `{}`, whose objects are not learnt", it.name);
                out.find(Level::Warning, "class-not-learnt", file, row.line, text);
            }
        }
        for name in wanted.iter().filter(|it| !names.contains_key(it)) {
            let text = format!("metainfo.classes has `{name}`, which is no category of this file");
            out.find(Level::Warning, "class-unknown", file, None, text);
        }
        let learnt = classes.values().filter(|it| it.1).map(|it| (it.0.to_owned(), 0));
        out.objects = learnt.collect::<BTreeMap<_, _>>();
        classes
    }

    /// Lists the pictures; yields the shape of each by its number.
    fn pictures(&self, out: &mut Survey, rows: &[coco::Row<coco::Picture>]) -> HashMap<i64, (usize, usize)> {
        let (file, mut shapes, mut names) = (&self.ann_file, HashMap::new(), HashMap::new());
        for row in rows {
            let it = match &row.value {
                Ok(it) => it,
                Err(error) => {
                    out.find(Level::Error, "broken-entry", file, row.line, format!("an image: {error}"));
                    continue;
                }
            };
            let shape = it.shape();
            if shapes.insert(it.id, shape).is_some() {
                out.find(
                    Level::Error,
                    "duplicate-id",
                    file,
                    row.line,
                    format!("the image number {} is there twice", it.id),
                );
            }
            match names.insert(&it.file_name, it.id) {
                Some(other) => {
                    let text = format!("image {}: its file `{}` is image {other}'s as well", it.id, it.file_name);
                    out.find(Level::Warning, "duplicate-image", file, row.line, text);
                }
                None => {
                    let path = self.folder.join(&it.file_name);
                    out.pictures.push(Listed { path, shape, place: (file.clone(), row.line) });
                }
            }
        }
        shapes
    }

    fn objects(
        &self,
        out: &mut Survey,
        rows: &[coco::Row<coco::Annotation>],
        classes: &Classes<'_>,
        shapes: &HashMap<i64, (usize, usize)>,
    ) {
        let (file, mut ids) = (&self.ann_file, HashMap::new());
        for (n, row) in rows.iter().enumerate() {
            let it = match &row.value {
                Ok(it) => it,
                Err(error) => {
                    out.find(Level::Error, "broken-entry", file, row.line, format!("an annotation: {error}"));
                    continue;
                }
            };
            let what = match it.id {
                Some(id) => format!("annotation {id}"),
                None => format!("annotation number {}", n + 1),
            };
            if let Some(first) = it.id.and_then(|id| ids.insert(id, row.line)) {
                let text = format!("{what} is there already, in line {first}");
                out.find(Level::Warning, "duplicate-id", file, row.line, text);
            }
            if it.ignore {
                continue;
            }
            let shape = shapes.get(&it.image_id);
            if shape.is_none() {
                let text = format!("{what}: its image {} is not in this file; it is left out", it.image_id);
                out.find(Level::Warning, "image-unknown", file, row.line, text);
            }
            let class = classes.get(&it.category_id);
            if class.is_none() {
                let text = format!("{what}: its category {} is not in this file; it is left out", it.category_id);
                out.find(Level::Warning, "category-unknown", file, row.line, text);
            }
            let (Some(&shape), Some((class, true))) = (shape, class) else { continue };
            let [left, top, right, bottom] = it.edges();
            let bbox = BBox::new(left, top, right, bottom);
            if boxes::look(out, bbox, shape, (file, row.line), &what) {
                *out.objects.entry((*class).to_owned()).or_default() += 1;
            }
        }
    }
}
