//! What a data set and its pipeline say of themselves before anything is opened, and a light look into annotation files.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use mmy_formats::voc;
use serde::{
    Deserialize,
    de::{self, IgnoredAny},
};

use crate::datasets::{labelme_files, yolo_files::Layout};

/// What a data set's config says, as a fact of its [`mmy_registry::Outline`].
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetOutline {
    /// The classes that the config names; none where the annotations say.
    pub classes: Vec<String>,
    /// The key that names them, from the data set's table.
    pub classes_key: String,
    /// The key of what is done last to each sample, from the data set's table.
    pub pipeline_key: String,
    /// Where the annotations are.
    pub annotations: Annotations,
}

/// Where annotations are.
#[derive(Debug, Clone, PartialEq)]
pub enum Annotations {
    /// A COCO file.
    Coco(PathBuf),
    /// A list of names, and the folder of XML files under these names.
    Voc {
        /// The list.
        split: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// A `data.yaml`, and which of its splits.
    Yolo {
        /// The file.
        ann_file: PathBuf,
        /// The split.
        split: String,
    },
    /// labelme's files.
    Labelme {
        /// Their folder.
        folder: PathBuf,
        /// A list of their names; all that are in the folder where there is none.
        list: Option<PathBuf>,
    },
    /// Those of several data sets, one after the other.
    Joined(Vec<Annotations>),
    /// Those of a data set, so many times; nothing where that depends on what is in it.
    Repeated(Box<Annotations>, Option<usize>),
    /// There will be so many pictures, made on first use.
    Made(usize),
}

/// How batches are shaped, as a fact of the policy's [`mmy_registry::Outline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShapeOutline {
    /// Pictures in a batch.
    pub batch_size: usize,
    /// What sides are multiples of.
    pub size_divisor: usize,
}

/// What a transform does to the size of every picture, as a fact of its [`mmy_registry::Outline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeStep {
    /// It becomes this width and height.
    Becomes {
        /// The key that says so.
        key: &'static str,
        /// Width and height in pixels.
        size: [i64; 2],
    },
    /// Both sides of width and height grow, or shrink, by so many pixels in all.
    Grows([i64; 2]),
    /// It depends on the picture.
    Varies,
}

/// What a light look into annotations found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peek {
    /// Names of the classes; nothing where finding out takes too long.
    pub classes: Option<Vec<String>>,
    /// Number of pictures; nothing where finding out takes too long.
    pub pictures: Option<usize>,
}

/// Files up to this size are read whole: a tenth of a second.
const WHOLE: u64 = 24 << 20;

/// COCO's writers put the categories at one end of the file; this much of it is looked at.
const END: u64 = 1 << 20;

/// Files of one picture each that are opened at most.
const SMALL_FILES: usize = 300;

impl Annotations {
    /// The file that lists the classes, where there is one.
    pub fn classes_file(&self) -> Option<&Path> {
        match self {
            Annotations::Coco(file) | Annotations::Yolo { ann_file: file, .. } => Some(file),
            Annotations::Repeated(set, _) => set.classes_file(),
            _ => None,
        }
    }

    /// Looks into the annotations without keeping them, for at most a few tenths of a second. Nothing where they are not
    /// there or are not what they should be, which whoever reads them in earnest will tell.
    pub fn peek(&self) -> Peek {
        match self {
            Annotations::Coco(path) => coco(path).unwrap_or_default(),
            Annotations::Voc { split, folder } => listed(split, folder).unwrap_or_default(),
            Annotations::Yolo { ann_file, split } => yolo(ann_file, split).unwrap_or_default(),
            Annotations::Labelme { folder, list } => labelme(folder, list.as_deref()).unwrap_or_default(),
            Annotations::Joined(sets) => {
                let peeks: Vec<_> = sets.iter().map(Annotations::peek).collect();
                let classes = peeks.first().and_then(|it| it.classes.clone());
                Peek { classes, pictures: peeks.iter().map(|it| it.pictures).sum() }
            }
            Annotations::Repeated(set, times) => {
                let Peek { classes, pictures } = set.peek();
                Peek { classes, pictures: pictures.zip(*times).map(|(n, times)| n.saturating_mul(times)) }
            }
            Annotations::Made(pictures) => Peek { classes: None, pictures: Some(*pictures) },
        }
    }
}

#[derive(Deserialize)]
struct Category {
    name: String,
}

#[derive(Deserialize)]
struct Coco {
    images: Count,
    #[serde(default)]
    categories: Vec<Category>,
}

/// A list of which only the length is kept.
struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Count;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }
        deserializer.deserialize_seq(Visitor)
    }
}

fn names(categories: Vec<Category>) -> Option<Vec<String>> {
    Some(categories.into_iter().map(|it| it.name).collect())
}

fn coco(path: &Path) -> Option<Peek> {
    let mut file = File::open(path).ok()?;
    let len = file.metadata().ok()?.len();
    if len <= WHOLE {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let Coco { images, categories } = serde_json::from_slice(&bytes).ok()?;
        return Some(Peek { classes: names(categories), pictures: Some(images.0) });
    }
    let classes = [len - END, 0].into_iter().find_map(|start| {
        file.seek(SeekFrom::Start(start)).ok()?;
        let mut bytes = Vec::new();
        file.by_ref().take(END).read_to_end(&mut bytes).ok()?;
        const KEY: &[u8] = b"\"categories\"";
        let key = bytes.windows(KEY.len()).rposition(|it| it == KEY)?;
        let rest = bytes[key + KEY.len()..].trim_ascii_start().strip_prefix(b":")?;
        let list = serde_json::Deserializer::from_slice(rest).into_iter::<Vec<Category>>().next()?;
        names(list.ok()?)
    });
    Some(Peek { classes, pictures: None })
}

fn listed(split: &Path, folder: &Path) -> Option<Peek> {
    let text = fs::read_to_string(split).ok()?;
    let names: Vec<_> = text.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    let classes = (names.len() <= SMALL_FILES).then(|| {
        let files = names.iter().filter_map(|it| fs::read_to_string(folder.join(format!("{it}.xml"))).ok());
        let objects = files.filter_map(|it| voc::parse(&it).ok()).flat_map(|it| it.objects);
        let mut out: Vec<_> = objects.filter_map(|it| Some(it.ok()?.name)).collect();
        out.sort();
        out.dedup();
        out
    });
    Some(Peek { classes, pictures: Some(names.len()) })
}

fn yolo(ann_file: &Path, split: &str) -> Option<Peek> {
    let layout = Layout::read(ann_file).ok()?;
    let pictures = layout.pictures(split).ok().map(|it| it.len());
    Some(Peek { classes: Some(layout.names), pictures })
}

fn labelme(folder: &Path, list: Option<&Path>) -> Option<Peek> {
    let files = labelme_files::files(folder, list).ok()?;
    let classes = (files.len() <= SMALL_FILES).then(|| {
        let read = files.iter().filter_map(|it| labelme_files::read(&it.path).ok()).flat_map(|it| it.shapes);
        let mut out: Vec<_> = read.filter_map(|it| Some(it.value.ok()?.label)).collect();
        out.sort();
        out.dedup();
        out
    });
    Some(Peek { classes, pictures: Some(files.len()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_coco_file_gives_its_classes_from_its_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let categories = r#""categories" : [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]"#;
        let filler = format!(r#""annotations": ["{}"]"#, "x".repeat(WHOLE as usize));
        let classes = Some(vec!["dog".to_owned(), "cat".to_owned()]);
        let peek = || Annotations::Coco(path.clone()).peek();
        fs::write(&path, format!(r#"{{"images": [{{}}, {{}}], {categories}}}"#)).unwrap();
        assert_eq!(peek(), Peek { classes: classes.clone(), pictures: Some(2) });
        for text in [format!("{{{filler}, {categories}}}"), format!("{{{categories}, {filler}}}")] {
            fs::write(&path, text).unwrap();
            assert_eq!(peek(), Peek { classes: classes.clone(), pictures: None });
        }
        fs::write(&path, "{").unwrap();
        assert_eq!(peek(), Peek::default());
    }
}
