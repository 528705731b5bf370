//! A synthetic data set in COCO's format: filled shapes on textured backgrounds.
//!
//! Pictures depend on the config alone: the same bytes on every machine, since nothing but additions, multiplications,
//! divisions and square roots goes into them.

mod outline;
mod paint;
mod scene;

use std::{
    fs, io,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
pub use outline::ShapeClass;
use rayon::prelude::*;
use scene::Object;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{DataError, Draw};

/// What the shapes data set looks like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShapesConfig {
    /// The classes, in the order of their labels.
    pub classes: Vec<ShapeClass>,
    /// Width and height of the pictures, in pixels.
    pub image_size: [usize; 2],
    /// Pictures to train on.
    pub train: usize,
    /// Pictures to test on.
    pub val: usize,
    /// Most objects in a picture, 1 to 100; at least one is there.
    pub max_objects: usize,
    /// 0 (plain backgrounds, strong contrast, large shapes) to 1 (clutter, occlusion, weak contrast, small shapes).
    pub difficulty: f64,
    /// Quality of the JPEG files, 1 to 100.
    pub jpeg_quality: u8,
    /// Another seed makes another set of the same kind.
    pub seed: u64,
}

impl Default for ShapesConfig {
    fn default() -> Self {
        ShapesConfig {
            classes: vec![ShapeClass::Circle, ShapeClass::Square, ShapeClass::Triangle, ShapeClass::Star],
            image_size: [320, 320],
            train: 1200,
            val: 300,
            max_objects: 6,
            difficulty: 0.5,
            jpeg_quality: 90,
            seed: 0,
        }
    }
}

/// What [`make_shapes`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShapesOutcome {
    /// The very set was there.
    Kept,
    /// It has been made.
    Made {
        /// Objects in all pictures.
        objects: usize,
    },
}

/// Counts up when the pictures of a config change.
const VERSION: u32 = 1;

/// Names the config a folder was made of; it is written last, so that it is only in whole sets.
const STAMP: &str = "shapes.json";

/// How the names of folders begin in which a set is being drawn.
const UNFINISHED: &str = ".shapes-";

/// A file in such a folder, locked as long as its process lives.
const LOCK: &str = "lock";

impl ShapesConfig {
    /// Whether such a set can be made.
    ///
    /// # Errors
    /// The key at fault, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let [width, height] = self.image_size;
        let twice = self.classes.iter().enumerate().any(|(n, it)| self.classes[..n].contains(it));
        if self.classes.is_empty() || twice {
            Err(("classes", "must be at least one, each once".into()))
        } else if !(32..=8192).contains(&width) || !(32..=8192).contains(&height) {
            Err(("image_size", format!("{width}×{height} does not lie between 32 and 8192")))
        } else if self.train == 0 || self.val == 0 {
            Err((if self.train == 0 { "train" } else { "val" }, "must be at least 1".into()))
        } else if !(1..=100).contains(&self.max_objects) {
            Err(("max_objects", "must lie between 1 and 100".into()))
        } else if !(0.0..=1.0).contains(&self.difficulty) {
            Err(("difficulty", "must lie between 0 and 1".into()))
        } else if !(1..=100).contains(&self.jpeg_quality) {
            Err(("jpeg_quality", "must lie between 1 and 100".into()))
        } else {
            Ok(())
        }
    }

    fn stamp(&self) -> String {
        let values = json!({ "version": VERSION, "config": self });
        format!("{values:#}\n")
    }
}

/// Draws the data set into `dir` (folders `train`, `val` and `annotations`), unless that very set is there already.
/// `progress` is told how many pictures of how many are done, from several threads.
///
/// The set is drawn beside `dir` and moved there when it is whole, so that there is never half a set.
///
/// # Errors
/// When the config is out of range, when `dir` holds anything else, or when it cannot be written.
pub fn make_shapes(
    dir: &Path,
    config: &ShapesConfig,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<ShapesOutcome, DataError> {
    config.check().map_err(|(key, reason)| DataError::annotation(dir, key, reason))?;
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // First of all: a process may be killed right after its set is in place.
    remove_unfinished(parent);
    if holds(dir, config)? {
        return Ok(ShapesOutcome::Kept);
    }
    fs::create_dir_all(parent).map_err(|error| DataError::io(parent, error))?;
    let (temporary, _lock) = unfinished(parent)?;
    let (done, total) = (AtomicUsize::new(0), config.train + config.val);
    let count = || progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    let mut objects = 0;
    for (split, (name, pictures)) in (0..).zip([("train", config.train), ("val", config.val)]) {
        objects += make_split(temporary.path(), config, split, name, pictures, &count)?;
    }
    let whole = temporary.path().join("whole");
    let stamp = whole.join(STAMP);
    fs::write(&stamp, config.stamp()).map_err(|error| DataError::io(stamp, error))?;
    // Renaming replaces an empty folder and nothing else, so of two that draw the same set at once one is late.
    match fs::rename(&whole, dir) {
        Ok(()) => Ok(ShapesOutcome::Made { objects }),
        Err(_) if holds(dir, config)? => Ok(ShapesOutcome::Kept),
        Err(error) => Err(DataError::io(dir, error)),
    }
}

/// A folder to draw in, and the lock in it that says that somebody does.
fn unfinished(parent: &Path) -> Result<(tempfile::TempDir, fs::File), DataError> {
    loop {
        let temporary = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(parent);
        let temporary = temporary.map_err(|error| DataError::io(parent, error))?;
        match fs::File::create(temporary.path().join(LOCK)) {
            Ok(lock) => {
                // Some network file systems know no locks.
                let _ = fs4::FileExt::try_lock(&lock);
                return Ok((temporary, lock));
            }
            // Another process took the folder, empty still, for a leftover.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(DataError::io(temporary.path(), error)),
        }
    }
}

/// Removes what processes that were killed have left; one that still draws holds the lock in its folder.
fn remove_unfinished(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|it| it.file_name().to_string_lossy().starts_with(UNFINISHED)) {
        // Whatever stays is in nobody's way.
        let _ = match fs::File::open(entry.path().join(LOCK)) {
            Ok(lock) if fs4::FileExt::try_lock(&lock).is_ok() => fs::remove_dir_all(entry.path()),
            Ok(_) => Ok(()),
            // Killed before it had a lock, and so before it drew: only an empty folder is removed.
            Err(_) => fs::remove_dir(entry.path()),
        };
    }
}

/// Whether `dir` holds the set of `config`; an error when it holds anything else.
fn holds(dir: &Path, config: &ShapesConfig) -> Result<bool, DataError> {
    let path = dir.join(STAMP);
    match fs::read_to_string(&path) {
        Ok(stamp) if stamp == config.stamp() => return Ok(true),
        Ok(_) => {
            let reason = "is of another config than the one asked for; remove the folder or name another one";
            return Err(DataError::annotation(path, "", reason));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(DataError::io(path, error)),
    }
    match fs::read_dir(dir).map(|mut it| it.next().is_none()) {
        Ok(true) => Ok(false),
        Ok(false) => {
            Err(DataError::annotation(dir, "", "holds other files than a shapes data set; name another folder"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DataError::io(dir, error)),
    }
}

/// Draws one split; yields the number of its objects.
fn make_split(
    temporary: &Path,
    config: &ShapesConfig,
    split: u64,
    name: &str,
    pictures: usize,
    count: &(dyn Fn() + Sync),
) -> Result<usize, DataError> {
    let [width, height] = config.image_size;
    let (folder, annotations) = (temporary.join("whole").join(name), temporary.join("whole/annotations"));
    for it in [&folder, &annotations] {
        fs::create_dir_all(it).map_err(|error| DataError::io(it, error))?;
    }
    let drawn: Vec<Vec<Object>> = (0..pictures)
        .into_par_iter()
        .map(|number| {
            let (rgb, objects) = scene::draw(config, Draw::new(config.seed, split, number as u64));
            let mut bytes = Vec::with_capacity(rgb.len() / 4);
            let path = folder.join(file_name(number));
            JpegEncoder::new_with_quality(&mut bytes, config.jpeg_quality)
                .encode(&rgb, width as u32, height as u32, ExtendedColorType::Rgb8)
                .map_err(|error| DataError::image(&path, error))?;
            fs::write(&path, bytes).map_err(|error| DataError::io(&path, error))?;
            count();
            Ok(objects)
        })
        .collect::<Result<_, DataError>>()?;
    let images: Vec<_> = (0..pictures)
        .map(|it| json!({ "id": it + 1, "file_name": file_name(it), "width": width, "height": height }))
        .collect();
    let objects = drawn.iter().enumerate().flat_map(|(picture, it)| it.iter().map(move |it| (picture, it)));
    let boxes: Vec<_> = (1..)
        .zip(objects)
        .map(|(id, (picture, it))| {
            json!({
                "id": id, "image_id": picture + 1, "category_id": it.class + 1, "bbox": it.bbox, "area": it.area,
                "iscrowd": 0,
            })
        })
        .collect();
    let categories: Vec<_> =
        (1..).zip(&config.classes).map(|(id, it)| json!({ "id": id, "name": it, "supercategory": "shape" })).collect();
    let count = boxes.len();
    let description = "Synthetic shapes; boxes and areas are those of the visible part";
    let info = json!({ "description": description, "version": VERSION.to_string() });
    let file = json!({ "info": info, "images": images, "annotations": boxes, "categories": categories });
    let path = annotations.join(format!("instances_{name}.json"));
    fs::write(&path, format!("{file}\n")).map_err(|error| DataError::io(&path, error))?;
    Ok(count)
}

fn file_name(number: usize) -> String {
    format!("{:06}.jpg", number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> ShapesConfig {
        ShapesConfig { train: 3, val: 2, image_size: [96, 64], ..ShapesConfig::default() }
    }

    #[test]
    fn the_same_config_makes_the_same_bytes_and_another_one_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let [a, b] = ["deep/a", "b"].map(|it| root.path().join(it));
        let pictures = AtomicUsize::new(0);
        let progress = |_: usize, total: usize| {
            assert_eq!(total, 5);
            pictures.fetch_add(1, Ordering::Relaxed);
        };
        let made = make_shapes(&a, &small(), &progress).unwrap();
        assert!(matches!(made, ShapesOutcome::Made { objects: 5.. }), "{made:?}");
        assert_eq!(pictures.into_inner(), 5);
        assert_eq!(make_shapes(&a, &small(), &|_, _| ()).unwrap(), ShapesOutcome::Kept);
        fs::create_dir(&b).unwrap();
        make_shapes(&b, &small(), &|_, _| ()).unwrap();
        for file in ["train/000003.jpg", "val/000002.jpg", "annotations/instances_val.json", STAMP] {
            assert_eq!(fs::read(a.join(file)).unwrap(), fs::read(b.join(file)).unwrap(), "{file}");
        }
        assert_ne!(fs::read(a.join("train/000001.jpg")).unwrap(), fs::read(a.join("val/000001.jpg")).unwrap());
        let other = ShapesConfig { seed: 1, ..small() };
        let error = make_shapes(&a, &other, &|_, _| ()).unwrap_err().to_string();
        assert!(error.contains("another config"), "{error}");
        // A folder that is somebody's is not touched, and nothing half-made stays behind.
        fs::remove_file(b.join(STAMP)).unwrap();
        assert!(make_shapes(&b, &small(), &|_, _| ()).unwrap_err().to_string().contains("holds other files"));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_draws_is_not() {
        let root = tempfile::tempdir().unwrap();
        let [dead, alive, empty] = [".shapes-dead", ".shapes-alive", ".shapes-empty"].map(|it| root.path().join(it));
        fs::create_dir(&empty).unwrap();
        let locks = [&dead, &alive].map(|it| {
            fs::create_dir_all(it.join("whole/train")).unwrap();
            fs::File::create(it.join(LOCK)).unwrap()
        });
        fs4::FileExt::try_lock(&locks[1]).unwrap();
        make_shapes(&root.path().join("set"), &small(), &|_, _| ()).unwrap();
        assert_eq!((dead.exists(), alive.exists(), empty.exists()), (false, true, false));
        // A set that is there already changes nothing about that.
        fs::create_dir(&empty).unwrap();
        assert_eq!(make_shapes(&root.path().join("set"), &small(), &|_, _| ()).unwrap(), ShapesOutcome::Kept);
        assert!(!empty.exists());
    }

    #[test]
    fn bad_values_name_their_key() {
        for (config, key) in [
            (ShapesConfig { classes: vec![], ..small() }, "classes"),
            (ShapesConfig { classes: vec![ShapeClass::Star; 2], ..small() }, "classes"),
            (ShapesConfig { image_size: [31, 64], ..small() }, "image_size"),
            (ShapesConfig { val: 0, ..small() }, "val"),
            (ShapesConfig { max_objects: 0, ..small() }, "max_objects"),
            (ShapesConfig { difficulty: f64::NAN, ..small() }, "difficulty"),
        ] {
            assert_eq!(config.check().unwrap_err().0, key);
        }
    }
}
