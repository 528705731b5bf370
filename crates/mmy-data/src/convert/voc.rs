//! Pascal VOC: an XML file for each picture, and lists of names.

use std::{
    collections::HashMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use mmy_formats::{coco::Extra, voc};
use rayon::prelude::*;

use super::{
    Collection, Lost, Object, Picture,
    collection::{Classes, number, text, value},
    put::Put,
    write_file,
};
use crate::{DataError, datasets::voc::picture};

/// The list of classes that we write beside, since VOC has no place for their order.
pub(super) const LABELS: &str = "labels.txt";

/// The classes that a list beside the annotations names, in its order.
pub(super) fn listed(dir: &Path) -> Classes {
    let mut out = Classes::default();
    let text = fs::read_to_string(dir.join(LABELS)).unwrap_or_default();
    // labelme's own lists begin with words for no class at all.
    text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with("__")).for_each(|it| {
        out.place(it);
    });
    out
}

fn entries(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, DataError> {
    let entries = fs::read_dir(folder).map_err(|error| DataError::io(folder, error))?;
    let paths = entries.flatten().map(|it| it.path());
    let mut out: Vec<_> = paths.filter(|it| it.extension().is_some_and(|it| it == ending)).collect();
    out.sort();
    Ok(out)
}

pub(super) fn read(dir: &Path, lost: &mut Lost) -> Result<Collection, DataError> {
    let files = entries(&dir.join("Annotations"), "xml")?;
    let mut splits: HashMap<String, Vec<String>> = HashMap::new();
    for list in entries(&dir.join("ImageSets/Main"), "txt").unwrap_or_default() {
        let split = list.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&list).map_err(|error| DataError::io(&list, error))?;
        // Lists with a second column are about a single class.
        for name in text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.contains(char::is_whitespace)) {
            splits.entry(name.to_owned()).or_default().push(split.clone());
        }
    }
    let xmls: Vec<_> = files
        .par_iter()
        .map(|path| {
            let text = fs::read_to_string(path).map_err(|error| DataError::io(path, error))?;
            voc::parse(&text).map_err(|it| DataError::annotation(path, it.place(), it.reason))
        })
        .collect();
    let (mut out, mut classes) = (Collection::default(), listed(dir));
    for (path, xml) in files.iter().zip(xmls) {
        let xml = xml?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let file = picture(&dir.join("JPEGImages"), &name, xml.filename.as_deref());
        let mut objects = Vec::new();
        for object in xml.objects {
            let object = object.map_err(|it| DataError::annotation(path, it.place(), it.reason))?;
            if !object.edges.iter().all(|it| it.is_finite()) {
                lost.add("an object whose box is no number");
                continue;
            }
            let mut extra = extra(object.extra, "an object", lost);
            let crowd = extra.remove("iscrowd").is_some_and(|it| it == 1);
            objects.push(Object {
                class: classes.place(&object.name),
                edges: object.edges.map(|it| it - 1.0),
                // We write both for a crowd, for those who know `difficult` alone.
                difficult: object.difficult && !crowd,
                crowd,
                outlines: Vec::new(),
                extra,
            });
        }
        out.pictures.push(Picture {
            name: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            path: file,
            shape: xml.shape,
            splits: splits.remove(&name).unwrap_or_default(),
            objects,
            extra: extra(xml.extra, "a picture", lost),
        });
    }
    if let Some((name, _)) = splits.iter().min() {
        let place = dir.join("Annotations").join(format!("{name}.xml"));
        return Err(DataError::annotation(place, "", "a list of ImageSets/Main names it, and it is not there"));
    }
    out.classes = classes.list;
    Ok(out)
}

fn extra(rows: Vec<(String, String)>, of: &str, lost: &mut Lost) -> Extra {
    let mut out = Extra::new();
    for (key, text) in rows {
        if out.contains_key(&key) {
            lost.add(format!("a further `{key}` of {of}"));
        } else {
            out.insert(key, value(&text));
        }
    }
    out
}

/// A text between tags.
fn escaped(text: &str) -> String {
    // What XML 1.0 cannot hold at all.
    let text: String = text.chars().filter(|it| !it.is_control() || it.is_whitespace()).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Writes what else is said as elements; what is no text, or under no name of an element, is lost.
fn elements(out: &mut String, indent: &str, extra: &Extra, skipped: &[&str], of: &str, lost: &mut Lost) {
    let is_name = |it: &str| {
        it.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && it.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
    };
    let mut open: Option<&str> = None;
    for (key, value) in extra.iter().filter(|it| !skipped.contains(&it.0.as_str())) {
        let parts: Vec<_> = key.split('.').collect();
        let text = text(value).filter(|_| parts.len() <= 2 && parts.iter().all(|it| is_name(it)));
        let Some(text) = text else {
            lost.keys(of, [key]);
            continue;
        };
        let group = (parts.len() == 2).then_some(parts[0]);
        if open != group {
            open.iter().for_each(|it| {
                let _ = writeln!(out, "{indent}</{it}>");
            });
            group.iter().for_each(|it| {
                let _ = writeln!(out, "{indent}<{it}>");
            });
            open = group;
        }
        let (inner, name) = (if group.is_some() { "  " } else { "" }, parts[parts.len() - 1]);
        let _ = writeln!(out, "{indent}{inner}<{name}>{}</{name}>", escaped(&text));
    }
    open.iter().for_each(|it| {
        let _ = writeln!(out, "{indent}</{it}>");
    });
}

pub(super) fn write(collection: &Collection, put: &Put, dir: &Path, lost: &mut Lost) -> Result<(), DataError> {
    for (at, picture) in collection.pictures.iter().enumerate() {
        let mut out = format!(
            "<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{}</filename>\n  <size>\n    <width>{}</width>\n    \
             <height>{}</height>\n    <depth>3</depth>\n  </size>\n",
            escaped(put.name(at)),
            picture.shape.1,
            picture.shape.0
        );
        elements(&mut out, "  ", &picture.extra, &["folder"], "a picture", lost);
        for object in &picture.objects {
            let [x1, y1, x2, y2] = object.edges.map(|it| number(it + 1.0));
            let _ = write!(
                out,
                "  <object>\n    <name>{}</name>\n    <difficult>{}</difficult>\n    <bndbox>\n      <xmin>{x1}</xmin>\n      \
                 <ymin>{y1}</ymin>\n      <xmax>{x2}</xmax>\n      <ymax>{y2}</ymax>\n    </bndbox>\n",
                escaped(&collection.classes[object.class].name),
                u8::from(object.ignored()),
            );
            if object.crowd {
                out.push_str("    <iscrowd>1</iscrowd>\n");
            }
            if [x1, y1, x2, y2].iter().any(|it| it.is_f64()) {
                lost.add("fractions of pixels, once the data set is read as VOC (they are written)");
            }
            if !object.outlines.is_empty() {
                lost.add("outline of an object");
            }
            elements(&mut out, "    ", &object.extra, &["iscrowd", "difficult"], "an object", lost);
            out.push_str("  </object>\n");
        }
        out.push_str("</annotation>\n");
        write_file(&dir.join(format!("Annotations/{}.xml", put.stem(at))), out)?;
    }
    for split in &put.splits {
        let names: String = collection.of_split(split).map(|it| format!("{}\n", put.stem(it.0))).collect();
        // A data set without splits is trained on as a whole.
        let name = match split.as_str() {
            "" if put.splits.len() == 1 => "trainval",
            "" => continue,
            name => name,
        };
        write_file(&dir.join(format!("ImageSets/Main/{}.txt", name.replace(['/', '\\'], "_"))), names)?;
    }
    rest(collection, dir, lost)
}

/// Writes the list of classes, and counts what is said of classes and of the whole.
pub(super) fn rest(collection: &Collection, dir: &Path, lost: &mut Lost) -> Result<(), DataError> {
    let names: String = collection.classes.iter().map(|it| format!("{}\n", it.name)).collect();
    collection.classes.iter().for_each(|it| lost.keys("a class", it.extra.keys()));
    lost.keys("the data set", collection.extra.keys());
    write_file(&dir.join(LABELS), names)
}
