//! `mmy data browse`: the samples of a loader as pictures.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use mmy_data::{Buffers, Loader, LoaderArgs, Pipeline, ops};
use mmy_engine::{Length, hooks::PipelineOutline};
use mmy_eval::draw::{self, Tile};
use mmy_structures::{Detections, Image, Instance, Sample};
use serde_json::{Value, json};

use super::loaders::LoaderName;
use crate::{
    cli::ConfigArgs,
    failure::{Failure, Outcome},
    logging,
    output::show,
    progress,
    project::Project,
};

#[derive(Debug, Args)]
#[command(after_help = "\
A sample depends on the config's seed, the epoch and its index alone: it is drawn here as training sees it, byte for byte.
samples.json lists index, file, boxes and a BLAKE3 hash of the pixels.

Examples:
  mmy data browse configs/starnet_s1_yolov5.toml --out browse
  mmy data browse configs/starnet_s1_yolov5.toml --out browse --mode steps --epoch 12 --index 17
  mmy data browse configs/voc/yolov5_n.toml --set data_root=data/bccd --out browse --loader val --count 50")]
pub struct BrowseArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Folder of the pictures
    #[arg(short, long, value_name = "DIR")]
    pub out: PathBuf,
    /// Which data
    #[arg(long, value_name = "LOADER", default_value = "train")]
    pub loader: LoaderName,
    /// What is drawn of each sample
    #[arg(long, default_value = "both")]
    pub mode: Mode,
    /// The epoch, counted from 1 as log lines count it
    #[arg(long, value_name = "E", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub epoch: u64,
    /// Indices of samples in the data set, from 0; by default the first ones of the epoch, in its order
    #[arg(long, value_name = "I", num_args = 1..)]
    pub index: Vec<usize>,
    /// How many samples, where no index is given
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub count: usize,
    /// Longer side of a drawn picture, in pixels, where several stand in one
    #[arg(long, value_name = "PIXELS", default_value_t = 480)]
    pub side: usize,
}

/// What is drawn of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// The stored picture, and beside it what the pipeline makes of it
    Both,
    /// The stored picture
    Original,
    /// What the pipeline makes of it
    Transformed,
    /// What is there after each step of the pipeline
    Steps,
    /// What the pipeline makes of it, without boxes, as PNG: the very pixels
    Plain,
}

pub fn run(args: &BrowseArgs) -> Outcome {
    let log = logging::start();
    let project = Project::load(&args.config)?;
    let config = args.loader.config(&project)?;
    let seed = project.config.randomness.seed;
    let loader = config.build(LoaderArgs { seed }).map_err(|it| project.place_build(it))?;
    let epoch = args.epoch - 1;
    let loader = if args.loader == LoaderName::Train { switched(&project, loader, epoch as usize)? } else { loader };
    let len = loader.dataset().len();
    if let Some(it) = args.index.iter().find(|it| **it >= len) {
        return Err(Failure::User(format!("`--index {it}`: the data set has {len} pictures, numbered from 0")));
    }
    let indices = match &args.index[..] {
        [] => (0..loader.len()).flat_map(|it| loader.indices(epoch, it)).take(args.count).collect(),
        asked => asked.to_vec(),
    };
    fs::create_dir_all(&args.out).map_err(Failure::io("make the folder", &args.out))?;
    let bar = progress::bar(log.bars(), "browse", indices.len() as u64, "samples");
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    let classes = loader.dataset().metainfo().classes.clone();
    for &index in &indices {
        let drawn = Drawn::of(&loader, epoch, index, args.mode)?;
        let ending = if args.mode == Mode::Plain { "png" } else { "jpg" };
        let file = args.out.join(format!("epoch{}_{index:05}.{ending}", args.epoch));
        draw::save(&drawn.picture(args, &classes)?, &file).map_err(Failure::user)?;
        rows.push(drawn.row(args.epoch, &file, &classes));
        all.push(drawn.tile());
        bar.inc(1);
    }
    bar.finish_and_clear();
    if all.len() > 1 && args.mode != Mode::Plain {
        let columns = (all.len() as f64).sqrt().ceil() as usize;
        if let Some(sheet) = draw::sheet(&all, &classes, columns.min(4), args.side.min(320)) {
            draw::save(&sheet, &args.out.join("sheet.jpg")).map_err(Failure::user)?;
        }
    }
    let path = args.out.join("samples.json");
    let text = serde_json::to_string_pretty(&Value::from(rows)).map_err(|error| Failure::Other(error.to_string()))?;
    fs::write(&path, text + "\n").map_err(Failure::io("write", &path))?;
    let samples = if indices.len() == 1 { "1 sample".to_owned() } else { format!("{} samples", indices.len()) };
    show(&format!("{samples} of epoch {}: see {}\n", args.epoch, args.out.display()))
}

/// The loader with the pipeline that a hook gives to that epoch (from 0).
fn switched(project: &Project, loader: Loader, epoch: usize) -> Outcome<Loader> {
    let hooks = project.config.default_hooks.values().chain(&project.config.custom_hooks);
    let length = project.config.train_cfg.as_ref().and_then(|it| it.build(()).ok()).map(|it| it.length());
    let Some(Length::Epochs(epochs)) = length else { return Ok(loader) };
    let mut out = loader;
    for hook in hooks {
        let outline = hook.outline();
        let Some(steps) = outline.get::<PipelineOutline>().and_then(|it| it.at(epoch, epochs)) else { continue };
        let pipeline = Pipeline::build(steps).map_err(|it| project.place_build(it))?;
        if let Some(switched) = out.with_pipeline(pipeline) {
            tracing::info!("epoch {} has the pipeline of {}", epoch + 1, hook.name());
            out = switched;
        }
    }
    Ok(out)
}

/// A sample, and what is to be drawn of it.
struct Drawn {
    index: usize,
    /// The index that it has: that of another one where it was turned down.
    found: usize,
    sample: Sample,
    /// The stored picture and its objects, where they are drawn.
    original: Option<(Image, Vec<Instance>)>,
    /// Names of steps, and the sample after each, where they are drawn.
    steps: Vec<(String, Sample)>,
}

impl Drawn {
    fn of(loader: &Loader, epoch: u64, index: usize, mode: Mode) -> Outcome<Self> {
        let mut steps = Vec::new();
        let mut watch = |name: &'static str, sample: &Sample| {
            if mode == Mode::Steps {
                steps.push((format!("{}. {name}", steps.len() + 1), sample.clone()));
            }
        };
        let (found, sample) = loader.sample(epoch, index, &mut watch).map_err(Failure::user)?;
        let original = match mode {
            Mode::Both | Mode::Original => {
                let path = loader.dataset().meta(found).img_path;
                let bytes = fs::read(&path).map_err(Failure::io("read", &path))?;
                let picture = ops::decode(&bytes, ops::ExifOrientation::Apply, &mut Buffers::default());
                let picture = picture.map_err(|it| Failure::User(format!("cannot read `{}`: {it}", path.display())))?;
                Some((picture, loader.dataset().ground_truth(found).to_vec()))
            }
            Mode::Transformed | Mode::Steps | Mode::Plain => None,
        };
        Ok(Drawn { index, found, sample, original, steps })
    }

    fn caption(&self) -> String {
        let name = self.sample.meta.img_path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        format!("{} {name}", self.index)
    }

    /// The sample as training sees it, with boxes.
    fn tile(&self) -> Tile {
        tile(self.caption(), self.sample.image.clone(), &self.sample.instances)
    }

    fn picture(&self, args: &BrowseArgs, classes: &[String]) -> Outcome<Image> {
        let original = self.original.iter().map(|it| tile(format!("{}, stored", self.caption()), it.0.clone(), &it.1));
        let last = || tile("as training sees it".to_owned(), self.sample.image.clone(), &self.sample.instances);
        let tiles: Vec<_> = match args.mode {
            Mode::Plain => return Ok(self.sample.image.clone()),
            Mode::Original => original.collect(),
            Mode::Transformed => vec![self.tile()],
            Mode::Both => original.chain([last()]).collect(),
            Mode::Steps => {
                self.steps.iter().map(|it| tile(it.0.clone(), it.1.image.clone(), &it.1.instances)).collect()
            }
        };
        let columns = if args.mode == Mode::Steps { 3 } else { 2 };
        let sheet = draw::sheet(&tiles, classes, columns, args.side.clamp(16, 4096));
        sheet.ok_or_else(|| Failure::User("there is nothing to draw: the pipeline has no steps".into()))
    }

    fn row(&self, epoch: u64, file: &Path, classes: &[String]) -> Value {
        let object = |it: &Instance| {
            let class = classes.get(it.label as usize);
            json!({ "label": it.label, "class": class, "bbox": it.bbox.xyxy() })
        };
        let (height, width) = self.sample.image.shape();
        json!({
            "epoch": epoch,
            "index": self.index,
            "taken": self.found,
            "img_path": self.sample.meta.img_path,
            "width": width,
            "height": height,
            "pixels": blake3::hash(self.sample.image.data()).to_hex().to_string(),
            "objects": self.sample.instances.iter().map(object).collect::<Vec<_>>(),
            "file": file,
        })
    }
}

fn tile(caption: String, image: Image, instances: &[Instance]) -> Tile {
    let boxes = Detections {
        bboxes: instances.iter().map(|it| it.bbox).collect(),
        scores: vec![1.0; instances.len()],
        labels: instances.iter().map(|it| it.label).collect(),
    };
    Tile { image, boxes, certain: true, caption }
}
