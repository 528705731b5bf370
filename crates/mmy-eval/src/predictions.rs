//! Predictions as a JSON file.

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use mmy_structures::{Detections, ImageMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

/// What was found in one picture; a prediction file is a JSON list of these, one a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImagePredictions {
    /// The picture's file.
    pub path: PathBuf,
    /// Its width in pixels.
    pub width: usize,
    /// Its height in pixels.
    pub height: usize,
    /// What was found, best first.
    pub predictions: Vec<Prediction>,
}

/// One found object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Prediction {
    /// Class index from 0.
    pub label: u32,
    /// Class name; the index in digits where the model has no name for it.
    pub class: String,
    /// Score in 0 to 1.
    pub score: f32,
    /// Left, top, right and bottom edge in pixels of the picture.
    pub bbox: [f32; 4],
}

impl ImagePredictions {
    /// Names the classes of `detections`. Those with a NaN or an infinity are left out, since JSON has neither.
    pub fn new(meta: &ImageMeta, detections: &Detections, classes: &[String]) -> Self {
        let (height, width) = meta.ori_shape;
        let predictions = detections
            .iter()
            .filter(|(bbox, score, _)| score.is_finite() && bbox.xyxy().iter().all(|it| it.is_finite()))
            .map(|(bbox, score, label)| {
                let class = classes.get(label as usize).map_or_else(|| label.to_string(), Clone::clone);
                Prediction { label, class, score, bbox: bbox.xyxy() }
            })
            .collect();
        ImagePredictions { path: meta.img_path.clone(), width, height, predictions }
    }
}

/// Writes a prediction file picture by picture, so that a folder of any size needs no memory.
///
/// The file appears under its name when [`Writer::finish`] is called; a writer that is dropped leaves nothing behind.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    empty: bool,
}

impl Writer {
    /// Starts the file `path`, and makes its folder.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn create(path: &Path) -> io::Result<Self> {
        let dir = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        let mut file = BufWriter::new(NamedTempFile::new_in(dir)?);
        file.write_all(b"[")?;
        Ok(Writer { path: path.to_owned(), file, empty: true })
    }

    /// Adds a picture.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn push(&mut self, image: &ImagePredictions) -> io::Result<()> {
        self.file.write_all(if self.empty { b"\n" } else { b",\n" })?;
        self.empty = false;
        Ok(serde_json::to_writer(&mut self.file, image)?)
    }

    /// Ends the file and puts it in its place, over an older one.
    ///
    /// # Errors
    /// When the disk is full or the older one cannot be replaced.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.write_all(b"\n]\n")?;
        self.file.into_inner()?.persist(&self.path)?;
        Ok(())
    }
}

/// Reads a prediction file.
///
/// # Errors
/// When there is none, or it is not one.
pub fn read(path: &Path) -> io::Result<Vec<ImagePredictions>> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use mmy_structures::BBox;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out/predictions.json");
        let meta = ImageMeta { img_path: "a/b \"c\".jpg".into(), ori_shape: (480, 640), ..ImageMeta::default() };
        let found = Detections {
            bboxes: vec![BBox::new(0.1, 2.0, 3.5, 4.0), BBox::new(f32::NAN, 0.0, 1.0, 1.0), BBox::default()],
            scores: vec![0.9, 0.8, 1e-9],
            labels: vec![1, 0, 7],
        };
        let one = ImagePredictions::new(&meta, &found, &["cat".to_owned(), "dog".to_owned()]);
        let nothing = ImagePredictions::new(&ImageMeta::default(), &Detections::default(), &[]);
        for images in [vec![], vec![one.clone()], vec![one, nothing]] {
            let mut writer = Writer::create(&path).unwrap();
            images.iter().for_each(|it| writer.push(it).unwrap());
            writer.finish().unwrap();
            assert_eq!(read(&path).unwrap(), images);
        }
        let text = fs::read_to_string(&path).unwrap();
        let line = "{\"path\":\"a/b \\\"c\\\".jpg\",\"width\":640,\"height\":480,\"predictions\":[\
            {\"label\":1,\"class\":\"dog\",\"score\":0.9,\"bbox\":[0.1,2.0,3.5,4.0]},\
            {\"label\":7,\"class\":\"7\",\"score\":1e-9,\"bbox\":[0.0,0.0,0.0,0.0]}]},";
        assert_eq!(text.lines().nth(1), Some(line));

        // A writer that is given up leaves the older file and nothing else.
        Writer::create(&path).unwrap().push(&read(&path).unwrap()[1]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 1);
    }
}
