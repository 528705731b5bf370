//! `mmy data convert`, `split`, `subset` and `merge`: a data set is read, changed, and written in any format.

use std::{fs, path::PathBuf};

use clap::{Args, ValueEnum};
use mmy_data::convert::{self, Collection, Files, Format, Lost, Source, Subset, Target};
use serde_json::json;

use crate::{
    failure::{Failure, Outcome},
    logging,
    output::{show, show_json},
    progress,
};

/// Names of formats on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FormatName {
    /// A JSON file for each split
    Coco,
    /// An XML file for each picture, and lists of names
    Voc,
    /// A text for each picture, and a data.yaml
    Yolo,
    /// A JSON file for each picture
    Labelme,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Format {
        match name {
            FormatName::Coco => Format::Coco,
            FormatName::Voc => Format::Voc,
            FormatName::Yolo => Format::Yolo,
            FormatName::Labelme => Format::Labelme,
        }
    }
}

/// What becomes of the pictures.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum FilesName {
    /// They are copied
    Copy,
    /// The same bytes under a second name, where both are on one disk
    Hardlink,
    /// A name that points to the original
    Symlink,
}

/// How data sets are read.
#[derive(Debug, Args)]
pub struct InputArgs {
    /// Format of what is read; found out by looking when it is not given
    #[arg(long, value_name = "FORMAT")]
    pub from: Option<FormatName>,
    /// Folder of the pictures, for a COCO file whose pictures are not beside it
    #[arg(long, value_name = "DIR")]
    pub images: Option<PathBuf>,
}

/// How a data set is written.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Folder to write to, which must be new or empty
    #[arg(short, long, value_name = "DIR")]
    pub out: PathBuf,
    /// What becomes of the pictures
    #[arg(long, value_name = "HOW", default_value = "copy")]
    pub pictures: FilesName,
    /// Write outlines instead of boxes where YOLO's texts and labelme have a place for them
    #[arg(long)]
    pub outlines: bool,
    /// Say as JSON what was written and what was lost
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
What is read may be a folder, a COCO file or a data.yaml. What the format that is written has no place for is counted and
named; numbers are kept to a millionth of a pixel.

Examples:
  mmy data convert data/bccd --to coco --out data/bccd_coco
  mmy data convert data/coco/annotations/instances_val2017.json --images data/coco/val2017 --to yolo --out data/val_yolo
  mmy data convert photos/labelme --to voc --out data/photos --pictures hardlink")]
pub struct ConvertArgs {
    /// A data set: its folder, its COCO file, or its data.yaml
    pub source: PathBuf,
    #[command(flatten)]
    pub input: InputArgs,
    /// Format to write
    #[arg(long, value_name = "FORMAT")]
    pub to: FormatName,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each split gets its part of every class and of the pictures without objects. The same seed gives the same splits.

Examples:
  mmy data split photos/labelme --out data/photos --to yolo --ratios train=0.8 val=0.2
  mmy data split data/screws --out data/screws_split --ratios train=8 val=1 test=1 --seed 3")]
pub struct SplitArgs {
    /// A data set: its folder, its COCO file, or its data.yaml; splits that it has are given up
    pub source: PathBuf,
    #[command(flatten)]
    pub input: InputArgs,
    /// Names and sizes of the splits, in any unit
    #[arg(long, num_args = 1.., value_name = "NAME=PART", default_values = ["train=0.8", "val=0.2"])]
    pub ratios: Vec<String>,
    /// Another seed gives other splits
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Format to write; by default that of what is read
    #[arg(long, value_name = "FORMAT")]
    pub to: Option<FormatName>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy data subset data/coco/annotations/instances_train2017.json --classes person dog --out data/people
  mmy data subset data/bccd --count 50 --splits train --out data/bccd_small
  mmy data subset data/bccd --names hard_ones.txt --out data/hard --to labelme")]
pub struct SubsetArgs {
    /// A data set: its folder, its COCO file, or its data.yaml
    pub source: PathBuf,
    #[command(flatten)]
    pub input: InputArgs,
    /// Keep objects of these classes, which are numbered in this order, and pictures that have one
    #[arg(long, num_args = 1.., value_name = "CLASS")]
    pub classes: Vec<String>,
    /// Keep pictures that have no object of these classes, too
    #[arg(long, requires = "classes")]
    pub keep_empty: bool,
    /// Keep pictures of these splits
    #[arg(long, num_args = 1.., value_name = "SPLIT")]
    pub splits: Vec<String>,
    /// Keep the pictures that this list names, one a line, with or without folder and ending
    #[arg(long, value_name = "FILE")]
    pub names: Option<PathBuf>,
    /// Keep so many pictures, chosen at random
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// Another seed chooses other pictures
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Format to write; by default that of what is read
    #[arg(long, value_name = "FORMAT")]
    pub to: Option<FormatName>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Classes are put together by name, splits too; pictures of one name get numbers.

Examples:
  mmy data merge data/bccd photos/labelme --to coco --out data/both
  mmy data merge data/a/data.yaml data/b/data.yaml --out data/both --pictures symlink")]
pub struct MergeArgs {
    /// Data sets, of whatever formats
    #[arg(required = true, num_args = 2..)]
    pub sources: Vec<PathBuf>,
    /// Format to write; by default that of the first
    #[arg(long, value_name = "FORMAT")]
    pub to: Option<FormatName>,
    #[command(flatten)]
    pub output: OutputArgs,
}

pub fn convert(args: &ConvertArgs) -> Outcome {
    let mut lost = Lost::default();
    let (collection, _) = read(&args.source, &args.input, &mut lost)?;
    write(&collection, args.to.into(), &args.output, lost)
}

pub fn split(args: &SplitArgs) -> Outcome {
    let ratio = |it: &String| {
        let (name, part) = it.split_once('=')?;
        let part = part.parse::<f64>().ok().filter(|it| *it >= 0.0 && it.is_finite())?;
        (!name.is_empty() && !name.contains(['/', '\\'])).then(|| (name.to_owned(), part))
    };
    let ratios: Vec<_> = args
        .ratios
        .iter()
        .map(|it| {
            ratio(it).ok_or_else(|| Failure::User(format!("`--ratios {it}`: write a name and a size, train=0.8")))
        })
        .collect::<Outcome<_>>()?;
    if ratios.iter().map(|it| it.1).sum::<f64>() <= 0.0 {
        return Err(Failure::User("`--ratios`: one of the splits has to have a size".into()));
    }
    let mut lost = Lost::default();
    let (mut collection, format) = read(&args.source, &args.input, &mut lost)?;
    convert::split(&mut collection, &ratios, args.seed);
    write(&collection, args.to.map_or(format, Format::from), &args.output, lost)
}

pub fn subset(args: &SubsetArgs) -> Outcome {
    let names = match &args.names {
        Some(path) => {
            let text = fs::read_to_string(path).map_err(Failure::io("read", path))?;
            text.lines().map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
        }
        None => Vec::new(),
    };
    let what = Subset {
        splits: args.splits.clone(),
        classes: args.classes.clone(),
        names,
        count: args.count,
        keep_empty: args.keep_empty,
        seed: args.seed,
    };
    let mut lost = Lost::default();
    let (mut collection, format) = read(&args.source, &args.input, &mut lost)?;
    convert::subset(&mut collection, &what).map_err(Failure::User)?;
    if collection.pictures.is_empty() {
        return Err(Failure::User("no picture is left".into()));
    }
    write(&collection, args.to.map_or(format, Format::from), &args.output, lost)
}

pub fn merge(args: &MergeArgs) -> Outcome {
    let (mut lost, mut parts, mut first) = (Lost::default(), Vec::new(), None);
    for source in &args.sources {
        let (part, format) = read(source, &InputArgs { from: None, images: None }, &mut lost)?;
        first.get_or_insert(format);
        parts.push(part);
    }
    let collection = convert::merge(parts, &mut lost);
    let format = args.to.map(Format::from).or(first).unwrap_or(Format::Coco);
    write(&collection, format, &args.output, lost)
}

fn read(path: &std::path::Path, input: &InputArgs, lost: &mut Lost) -> Outcome<(Collection, Format)> {
    let format = input.from.map(Format::from);
    let source = Source { path: path.to_owned(), format, images: input.images.clone() };
    let format = source.format().map_err(Failure::user)?;
    Ok((convert::read(&source, lost).map_err(Failure::user)?, format))
}

fn write(collection: &Collection, format: Format, args: &OutputArgs, mut lost: Lost) -> Outcome {
    let log = logging::start();
    let files = match args.pictures {
        FilesName::Copy => Files::Copy,
        FilesName::Hardlink => Files::Hardlink,
        FilesName::Symlink => Files::Symlink,
    };
    let target = Target { dir: args.out.clone(), format, files, outlines: args.outlines };
    let bar = progress::bar(log.bars(), "write", collection.pictures.len() as u64, "pictures");
    let written = convert::write(collection, &target, &mut lost, &|done| bar.set_position(done as u64));
    bar.finish_and_clear();
    written.map_err(Failure::user)?;
    let (pictures, objects, classes) = (collection.pictures.len(), collection.objects(), collection.classes.len());
    let splits = collection.splits();
    let count = |split: &String| collection.pictures.iter().filter(|it| it.splits.contains(split)).count();
    if args.json {
        let lost: Vec<_> = lost.iter().map(|it| json!({ "what": it.0, "count": it.1 })).collect();
        let splits: serde_json::Map<_, _> = splits.iter().map(|it| (it.clone(), count(it).into())).collect();
        return show_json(&json!({
            "dir": args.out, "format": format.to_string(), "pictures": pictures, "objects": objects,
            "classes": classes, "splits": splits, "lost": lost,
        }));
    }
    let mut out =
        format!("{}: {pictures} pictures, {objects} objects, {classes} classes, {format}\n", args.out.display());
    if !splits.is_empty() {
        let rows: Vec<_> = splits.iter().map(|it| format!("{it} {}", count(it))).collect();
        out += &format!("splits: {}\n", rows.join(", "));
    }
    for (what, count) in lost.iter() {
        out += &format!("lost: {what} ({count})\n");
    }
    show(&out)
}
