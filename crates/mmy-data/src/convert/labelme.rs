//! labelme: a JSON file for each picture, beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    Collection, Lost, Object, Picture, Target,
    collection::number,
    put::Put,
    voc::{listed, rest},
    write_file,
};
use crate::{
    DataError,
    datasets::labelme_files::{self, files, objects, picture},
};

/// The folders with labelme's files, with the names of the splits that they are: the folder itself, or those in it.
pub(super) fn folders(dir: &Path) -> Vec<(Option<String>, PathBuf)> {
    let has = |folder: &Path| {
        let first = files(folder, None).unwrap_or_default().into_iter().next();
        first.is_some_and(|it| labelme_files::read(&it.path).is_ok())
    };
    if has(dir) {
        return vec![(None, dir.to_owned())];
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|it| it.path());
    let mut out: Vec<_> = entries.filter(|it| it.is_dir() && has(it)).collect();
    out.sort();
    out.into_iter().map(|it| (it.file_name().map(|it| it.to_string_lossy().into_owned()), it)).collect()
}

pub(super) fn read(dir: &Path, lost: &mut Lost) -> Result<Collection, DataError> {
    let (mut out, mut classes) = (Collection::default(), listed(dir));
    let folders = folders(dir);
    if folders.is_empty() {
        return Err(DataError::annotation(dir, "", "there is no JSON file of labelme's"));
    }
    // Lists beside the files are splits, as we write them.
    let lists = fs::read_dir(dir).into_iter().flatten().flatten().map(|it| it.path());
    let lists = lists.filter(|it| it.extension().is_some_and(|it| it == "txt") && !it.ends_with(super::voc::LABELS));
    let mut splits: Vec<(String, Vec<PathBuf>)> = Vec::new();
    for list in lists {
        let name = list.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        splits.push((name, files(dir, Some(&list))?.into_iter().map(|it| it.path).collect()));
    }
    splits.sort();
    for (split, folder) in folders {
        let jsons = files(&folder, None)?;
        let read: Vec<_> = jsons.par_iter().map(|it| labelme_files::read(&it.path)).collect();
        for (json, file) in jsons.into_iter().zip(read) {
            let file = file?;
            let mut found = Vec::new();
            for object in objects(&file) {
                let object = object
                    .map_err(|(line, reason)| DataError::annotation(&json.path, format_args!("line {line}"), reason))?;
                let shapes = object.shapes.iter().filter_map(|it| file.shapes[*it].value.as_ref().ok());
                let shapes: Vec<_> = shapes.collect();
                let Some(edges) = object.edges.filter(|it| it.iter().all(|it| it.is_finite())) else {
                    lost.add("a point or a line, which has no box");
                    continue;
                };
                let polygons = || shapes.iter().filter(|it| it.shape_type == "polygon");
                let outlines: Vec<_> = polygons().map(|it| it.points.clone()).collect();
                for it in shapes.iter().filter(|it| !["polygon", "rectangle"].contains(&it.shape_type.as_str())) {
                    lost.add(format!("that a shape is a {}, and no box", it.shape_type));
                }
                let mut extra = Map::new();
                let first = shapes[0];
                // A group of one is said by its number alone.
                if let Some(group) = first.group_id.as_ref().filter(|it| !it.is_null()) {
                    extra.insert("group_id".into(), group.clone());
                }
                if let Some(text) = first.description.as_ref().filter(|it| !it.is_empty()) {
                    extra.insert("description".into(), text.as_str().into());
                }
                let mut flags = first.flags.clone();
                ["difficult", "iscrowd"].iter().for_each(|it| {
                    flags.remove(*it);
                });
                if !flags.is_empty() {
                    extra.insert("flags".into(), flags.into());
                }
                found.push(Object {
                    class: classes.place(&object.label),
                    edges,
                    difficult: object.difficult,
                    crowd: object.crowd,
                    // Of an object with parts of another sort, the polygons alone would be less than the box.
                    outlines: if outlines.len() == shapes.len() { outlines } else { Vec::new() },
                    extra,
                });
            }
            let path = picture(&json.path, &file);
            let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            let stem = json.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let mut of: Vec<_> = split.iter().cloned().collect();
            of.extend(splits.iter().filter(|it| it.1.contains(&json.path)).map(|it| it.0.clone()));
            out.pictures.push(Picture {
                name: format!("{stem}.{ending}"),
                path,
                shape: file.shape,
                splits: of,
                objects: found,
                extra: Map::new(),
            });
        }
    }
    out.classes = classes.list;
    Ok(out)
}

pub(super) fn write(collection: &Collection, put: &Put, target: &Target, lost: &mut Lost) -> Result<(), DataError> {
    for (at, picture) in collection.pictures.iter().enumerate() {
        let mut shapes = Vec::new();
        // Numbers of groups that no object has already.
        let mut group = picture.objects.iter().filter_map(|it| it.extra.get("group_id")?.as_i64()).max().unwrap_or(0);
        for object in &picture.objects {
            let [x1, y1, x2, y2] = object.edges;
            let outlined = target.outlines && !object.outlines.is_empty() && object.outlines_fit();
            if !outlined && !object.outlines.is_empty() {
                lost.add(match target.outlines {
                    true => "outline of an object whose box is another",
                    false => "outline of an object (--outlines keeps it)",
                });
            }
            let parts = match outlined {
                true => object.outlines.clone(),
                false => vec![vec![[x1, y1], [x2, y2]]],
            };
            let several = (parts.len() > 1).then(|| {
                group += 1;
                object.extra.get("group_id").cloned().unwrap_or(group.into())
            });
            for points in parts {
                let points: Vec<_> = points.iter().map(|it| it.map(number)).collect();
                let mut flags = object.extra.get("flags").and_then(Value::as_object).cloned().unwrap_or_default();
                for (key, set) in [("difficult", object.difficult), ("iscrowd", object.crowd)] {
                    if set {
                        flags.insert(key.into(), true.into());
                    }
                }
                let row = json!({
                    "label": collection.classes[object.class].name,
                    "points": points,
                    "group_id": several.as_ref().or(object.extra.get("group_id")),
                    "description": object.extra.get("description").unwrap_or(&Value::from("")),
                    "shape_type": if outlined { "polygon" } else { "rectangle" },
                    "flags": flags,
                    "mask": null,
                });
                shapes.push(row.to_string());
            }
            let known = ["group_id", "description", "flags"];
            lost.keys("an object", object.extra.keys().filter(|it| !known.contains(&it.as_str())));
        }
        lost.keys("a picture", picture.extra.keys());
        let text = format!(
            "{{\n\"version\": \"5.5.0\",\n\"flags\": {{}},\n\"shapes\": [\n{}\n],\n\"imagePath\": {},\n\"imageData\": null,\n\
             \"imageHeight\": {},\n\"imageWidth\": {}\n}}\n",
            shapes.join(",\n"),
            Value::from(put.name(at)),
            picture.shape.0,
            picture.shape.1
        );
        let place = &put.places[at];
        let place = place.rsplit_once('.').map_or(place.as_str(), |it| it.0);
        write_file(&target.dir.join(format!("{place}.json")), text)?;
    }
    if !put.folders {
        for split in put.splits.iter().filter(|it| !it.is_empty()) {
            let names: String = collection.of_split(split).map(|it| format!("{}\n", put.stem(it.0))).collect();
            write_file(&target.dir.join(format!("{}.txt", split.replace(['/', '\\'], "_"))), names)?;
        }
    }
    rest(collection, &target.dir, lost)
}
