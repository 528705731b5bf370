//! COCO: a JSON file for each split.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use mmy_formats::coco::{Extra, Whole, parse_whole};
use serde_json::{Map, Value, json};

use super::{
    Class, Collection, Lost, Object, Picture,
    collection::{Classes, number},
    put::Put,
    write_file,
};
use crate::DataError;

/// The annotation files of a folder, sorted.
pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("annotations")).into_iter().flatten().flatten().map(|it| it.path());
    let mut out: Vec<_> = entries.filter(|it| it.extension().is_some_and(|it| it == "json")).collect();
    // Others of COCO's own files are about people's joints and captions.
    if out.iter().any(|it| split(it).is_some()) {
        out.retain(|it| split(it).is_some());
    }
    out.sort();
    out
}

/// `train2017` of `instances_train2017.json`.
fn split(file: &Path) -> Option<String> {
    Some(file.file_stem()?.to_str()?.strip_prefix("instances_")?.to_owned())
}

pub(super) fn read(path: &Path, images: Option<&Path>, lost: &mut Lost) -> Result<Collection, DataError> {
    let files = if path.is_dir() { files(path) } else { vec![path.to_owned()] };
    if files.is_empty() {
        return Err(DataError::annotation(path, "", "there is no `annotations/*.json`"));
    }
    let (mut out, mut classes) = (Collection::default(), Classes::default());
    for file in files {
        let bytes = fs::read(&file).map_err(|error| DataError::io(&file, error))?;
        let whole = parse_whole(&bytes).map_err(|it| DataError::annotation(&file, it.place(), it.reason))?;
        let name = split(&file).filter(|it| it != "all").or_else(|| {
            // Of several files each is a split, whatever it is called.
            path.is_dir().then(|| file.file_stem().unwrap_or_default().to_string_lossy().into_owned())
        });
        add(&mut out, &mut classes, &file, images, whole, name, lost)?;
    }
    out.classes = classes.list;
    unite(&mut out);
    Ok(out)
}

/// A picture that several files list with the same objects is one picture of several splits.
fn unite(collection: &mut Collection) {
    let alike = |a: &Picture, b: &Picture| {
        let same = |(a, b): (&Object, &Object)| {
            (a.class, a.edges, a.difficult, a.crowd) == (b.class, b.edges, b.difficult, b.crowd)
        };
        a.objects.len() == b.objects.len() && a.objects.iter().zip(&b.objects).all(same)
    };
    let mut known: HashMap<PathBuf, usize> = HashMap::new();
    let mut out: Vec<Picture> = Vec::with_capacity(collection.pictures.len());
    for picture in std::mem::take(&mut collection.pictures) {
        match known.get(&picture.path).map(|at| &mut out[*at]).filter(|it| alike(it, &picture)) {
            Some(first) => first.splits.extend(picture.splits),
            None => {
                known.insert(picture.path.clone(), out.len());
                out.push(picture);
            }
        }
    }
    collection.pictures = out;
}

fn add(
    out: &mut Collection,
    classes: &mut Classes,
    file: &Path,
    images: Option<&Path>,
    whole: Whole,
    split: Option<String>,
    lost: &mut Lost,
) -> Result<(), DataError> {
    let mut categories = Map::new();
    for it in whole.categories {
        let mut extra = it.extra;
        extra.insert("id".into(), it.id.into());
        let place = classes.add(Class { name: it.name, extra });
        categories.insert(it.id.to_string(), place.into());
    }
    let folder = match images {
        Some(folder) => folder.to_owned(),
        None => folder(file, split.as_deref(), whole.images.first().map(|it| it.file_name.as_str())),
    };
    let mut places = HashMap::new();
    for it in whole.images {
        let mut extra = it.extra;
        extra.insert("id".into(), it.id.into());
        if places.insert(it.id, out.pictures.len()).is_some() {
            return Err(DataError::annotation(file, format_args!("image {}", it.id), "is there twice"));
        }
        out.pictures.push(Picture {
            path: folder.join(&it.file_name),
            name: it.file_name,
            shape: it.shape,
            splits: split.iter().cloned().collect(),
            objects: Vec::new(),
            extra,
        });
    }
    for it in whole.annotations {
        let (picture, class) = (places.get(&it.image_id), categories.get(&it.category_id.to_string()));
        let (Some(&picture), Some(class)) = (picture, class.and_then(Value::as_u64)) else {
            lost.add("an object of an unknown picture or category");
            continue;
        };
        let [x, y, w, h] = it.bbox;
        if !it.bbox.iter().all(|it| it.is_finite()) {
            lost.add("an object whose box is no number");
            continue;
        }
        let mut extra = it.extra;
        let mut flag = |key: &str| extra.remove(key).is_some_and(|it| it == 1 || it == true);
        let (crowd, difficult) = (flag("iscrowd"), flag("difficult"));
        let ignored = extra.get("ignore").is_some_and(|it| *it == 1 || *it == true);
        out.pictures[picture].objects.push(Object {
            class: class as usize,
            edges: [x, y, x + w, y + h],
            difficult: difficult || ignored,
            // Where both are set, we wrote it: `iscrowd` for those who do not know `difficult`.
            crowd: crowd && !difficult,
            outlines: it.outlines,
            extra,
        });
    }
    for (key, value) in whole.extra {
        out.extra.entry(key).or_insert(value);
    }
    Ok(())
}

/// The first folder in which the first picture is.
fn folder(file: &Path, split: Option<&str>, picture: Option<&str>) -> PathBuf {
    let own = file.parent().unwrap_or(Path::new(""));
    let above = own.parent().unwrap_or(own);
    let mut places = Vec::new();
    for root in [above, own] {
        places.extend(split.map(|it| root.join(it)));
        places.extend(split.map(|it| root.join("images").join(it)));
        places.extend([root.join("images"), root.to_owned()]);
    }
    let found = picture.and_then(|it| places.iter().find(|place| place.join(it).is_file()));
    found.cloned().unwrap_or_else(|| places[0].clone())
}

/// Their own numbers, and further ones for those that have none; numbers from 1 where two have the same.
fn ids<'a>(all: impl Iterator<Item = &'a Extra>) -> Vec<i64> {
    let own: Vec<Option<i64>> = all.map(|it| it.get("id").and_then(Value::as_i64)).collect();
    let mut seen = HashSet::new();
    if own.iter().flatten().any(|it| *it == i64::MAX || !seen.insert(*it)) {
        return (1..).take(own.len()).collect();
    }
    let mut last = own.iter().flatten().copied().max().unwrap_or(0).max(0);
    let mut next = || {
        last = last.wrapping_add(1);
        last
    };
    own.into_iter().map(|it| it.unwrap_or_else(&mut next)).collect()
}

pub(super) fn write(collection: &Collection, put: &Put, dir: &Path) -> Result<(), DataError> {
    let categories = ids(collection.classes.iter().map(|it| &it.extra));
    for split in &put.splits {
        let pictures: Vec<_> = collection.of_split(split).collect();
        let image_ids = ids(pictures.iter().map(|it| &it.1.extra));
        let objects = || pictures.iter().flat_map(|it| &it.1.objects);
        let mut object_ids = ids(objects().map(|it| &it.extra)).into_iter();
        let (mut images, mut annotations) = (Vec::new(), Vec::new());
        for ((at, picture), image_id) in pictures.iter().zip(image_ids) {
            let file_name =
                if put.folders { put.name(*at) } else { put.places[*at].strip_prefix("images/").unwrap_or_default() };
            let mut row = json!({
                "id": image_id, "file_name": file_name, "width": picture.shape.1, "height": picture.shape.0,
            });
            add_keys(&mut row, &picture.extra);
            images.push(row);
            for object in &picture.objects {
                annotations.push(annotation(
                    object,
                    object_ids.next().unwrap_or_default(),
                    image_id,
                    categories[object.class],
                ));
            }
        }
        let classes = collection.classes.iter().zip(&categories).map(|(it, id)| {
            let mut row = json!({ "id": id, "name": it.name });
            add_keys(&mut row, &it.extra);
            row
        });
        let classes: Vec<_> = classes.collect();
        let mut out = String::from("{\n");
        for (key, value) in &collection.extra {
            let _ = writeln!(out, "{}: {value},", Value::from(key.as_str()));
        }
        // A line for each entry, so that whoever finds a fault can name its line.
        for (key, rows) in [("images", images), ("annotations", annotations), ("categories", classes)] {
            let rows: Vec<_> = rows.iter().map(Value::to_string).collect();
            let comma = if key == "categories" { "" } else { "," };
            let _ = writeln!(out, "\"{key}\": [\n{}\n]{comma}", rows.join(",\n"));
        }
        out.push_str("}\n");
        let name = match split.as_str() {
            "" if put.splits.len() == 1 => "all",
            "" => "rest",
            name => name,
        };
        write_file(&dir.join(format!("annotations/instances_{name}.json")), out)?;
    }
    Ok(())
}

fn annotation(object: &Object, id: i64, image_id: i64, category_id: i64) -> Value {
    let [x1, y1, x2, y2] = object.edges;
    let area = object.extra.get("area").cloned().unwrap_or_else(|| number((x2 - x1) * (y2 - y1)));
    let mut row = json!({
        "id": id, "image_id": image_id, "category_id": category_id,
        "bbox": [number(x1), number(y1), number(x2 - x1), number(y2 - y1)],
        "area": area,
        // Whoever does not know `difficult` leaves a crowd out of training all the same.
        "iscrowd": u8::from(object.ignored() && !object.extra.contains_key("ignore")),
    });
    if object.difficult && !object.extra.contains_key("ignore") {
        row["difficult"] = json!(1);
    }
    if !object.outlines.is_empty() {
        let polygon = |it: &Vec<[f64; 2]>| it.iter().flatten().map(|it| number(*it)).collect::<Vec<_>>();
        row["segmentation"] = object.outlines.iter().map(polygon).collect::<Vec<_>>().into();
    }
    add_keys(&mut row, &object.extra);
    row
}

/// Adds what else is said, behind the keys that are there.
fn add_keys(row: &mut Value, extra: &Extra) {
    if let Value::Object(row) = row {
        for (key, value) in extra {
            if !row.contains_key(key) {
                row.insert(key.clone(), value.clone());
            }
        }
    }
}
