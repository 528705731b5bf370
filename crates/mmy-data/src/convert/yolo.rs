//! YOLO: a text for each picture, and a `data.yaml`.

use std::{
    collections::HashMap,
    fmt::Write,
    path::{Path, PathBuf},
};

use mmy_formats::yolo::Outline;
use rayon::prelude::*;
use serde_json::Value;

use super::{Collection, Lost, Object, Picture, Target, collection::Classes, put::Put, write_file};
use crate::{
    DataError,
    datasets::yolo_files::{Layout, Txt},
};

pub(super) fn read(path: &Path, lost: &mut Lost) -> Result<Collection, DataError> {
    let file = if path.is_dir() { path.join("data.yaml") } else { path.to_owned() };
    let layout = Layout::read(&file)?;
    let mut classes = Classes::default();
    let places: Vec<_> = layout.names.iter().map(|it| classes.place(it)).collect();
    let mut out = Collection::default();
    let mut known: HashMap<PathBuf, usize> = HashMap::new();
    for (split, folders) in &layout.splits {
        let pictures = layout.pictures(split)?;
        let texts: Vec<_> = pictures.par_iter().map(|it| Txt::of(&it.path)).collect();
        for (picture, txt) in pictures.into_iter().zip(texts) {
            if let Some(&at) = known.get(&picture.path) {
                out.pictures[at].splits.push(split.clone());
                continue;
            }
            let shape = txt.shape.map_err(|reason| DataError::image(&picture.path, reason))?;
            let (width, height) = (shape.1 as f64, shape.0 as f64);
            let mut objects = Vec::new();
            for label in txt.labels? {
                let label = label.map_err(|it| DataError::annotation(&txt.path, it.place(), it.reason))?;
                let Some(&class) = places.get(label.class) else {
                    lost.add("an object of a class without a name");
                    continue;
                };
                let [x1, y1, x2, y2] = label.outline.edges();
                if !(x1 + y1 + x2 + y2).is_finite() {
                    lost.add("an object whose box is no number");
                    continue;
                }
                let outlines = match label.outline {
                    Outline::Box(_) => Vec::new(),
                    Outline::Polygon(corners) => {
                        vec![corners.into_iter().map(|[x, y]| [near(x * width), near(y * height)]).collect()]
                    }
                };
                let edges = [x1 * width, y1 * height, x2 * width, y2 * height].map(near);
                objects.push(Object { class, edges, outlines, ..Object::default() });
            }
            let below = folders.iter().find_map(|it| picture.path.strip_prefix(it).ok());
            let name = below.unwrap_or_else(|| Path::new(picture.path.file_name().unwrap_or_default()));
            known.insert(picture.path.clone(), out.pictures.len());
            out.pictures.push(Picture {
                name: name.to_string_lossy().into_owned(),
                path: picture.path,
                shape,
                splits: vec![split.clone()],
                objects,
                ..Picture::default()
            });
        }
    }
    out.classes = classes.list;
    Ok(out)
}

/// Parts of a picture are written to twelve digits: what is a whole number of thousandths of a pixel becomes that again.
fn near(pixels: f64) -> f64 {
    let thousandths = (pixels * 1e3).round() / 1e3;
    if (thousandths - pixels).abs() < 1e-6 { thousandths } else { pixels }
}

pub(super) fn write(collection: &Collection, put: &Put, target: &Target, lost: &mut Lost) -> Result<(), DataError> {
    for (at, picture) in collection.pictures.iter().enumerate() {
        let mut out = String::new();
        // A text of both sorts is misread by YOLOv5: it is outlines for all or for none.
        let outlined = |it: &Object| it.ignored() || (it.outlines.len() == 1 && it.outlines_fit());
        let outlines = target.outlines && picture.objects.iter().all(outlined);
        for object in &picture.objects {
            if object.ignored() {
                lost.add("an object that is difficult or a crowd, and would be learnt as any other");
                continue;
            }
            if !outlines && !object.outlines.is_empty() {
                lost.add(match target.outlines {
                    true => "outline of an object in several parts, of another box, or beside an object without",
                    false => "outline of an object (--outlines keeps it)",
                });
            }
            lost.keys("an object", object.extra.keys());
            line(&mut out, object, picture.shape, outlines, lost);
        }
        lost.keys("a picture", picture.extra.keys());
        let place = put.places[at].replacen("images/", "labels/", 1);
        let place = place.rsplit_once('.').map_or(place.as_str(), |it| it.0);
        write_file(&target.dir.join(format!("{place}.txt")), out)?;
    }
    let mut yaml = String::from("path: .\n");
    for split in &put.splits {
        let name = match split.as_str() {
            "" if put.splits.len() == 1 => "train",
            "" => "rest",
            name => name,
        };
        if put.folders {
            let _ = writeln!(yaml, "{}: {}", key(name), Value::from(format!("images/{name}")));
            continue;
        }
        let list: String = collection.of_split(split).map(|it| format!("./{}\n", put.places[it.0])).collect();
        let file = format!("{}.txt", name.replace(['/', '\\'], "_"));
        write_file(&target.dir.join(&file), list)?;
        let _ = writeln!(yaml, "{}: {}", key(name), Value::from(file));
    }
    let _ = writeln!(yaml, "nc: {}\nnames:", collection.classes.len());
    for (at, class) in collection.classes.iter().enumerate() {
        let _ = writeln!(yaml, "  {at}: {}", Value::from(class.name.as_str()));
        lost.keys("a class", class.extra.keys());
    }
    lost.keys("the data set", collection.extra.keys());
    write_file(&target.dir.join("data.yaml"), yaml)
}

/// A key of YAML, in quotes where it needs them.
fn key(name: &str) -> String {
    match name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_') {
        true => name.to_owned(),
        false => Value::from(name).to_string(),
    }
}

/// Adds an object's line. Readers refuse numbers outside of 0 to 1, so that boxes are cut off at the picture.
fn line(out: &mut String, object: &Object, (height, width): (usize, usize), outlines: bool, lost: &mut Lost) {
    let (width, height) = (width as f64, height as f64);
    let inside = |[x, y]: [f64; 2]| [x.clamp(0.0, width), y.clamp(0.0, height)];
    let part = |it: f64| {
        let text = format!("{it:.12}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    let [x1, y1, x2, y2] = object.edges;
    let ([a, b], [c, d]) = (inside([x1, y1]), inside([x2, y2]));
    if !(a < c && b < d) {
        lost.add("an object without area in its picture");
        return;
    }
    if [a, b, c, d] != object.edges {
        lost.add("part of a box that reaches beyond its picture");
    }
    let numbers: Vec<_> = match &object.outlines[..] {
        [outline] if outlines => {
            outline.iter().map(|it| inside(*it)).flat_map(|[x, y]| [part(x / width), part(y / height)]).collect()
        }
        _ => [(a + c) / 2.0 / width, (b + d) / 2.0 / height, (c - a) / width, (d - b) / height].map(part).to_vec(),
    };
    let _ = writeln!(out, "{} {}", object.class, numbers.join(" "));
}
