//! `mmy data anchors`: anchors that fit a config's data.

use std::{
    fmt::Write,
    fs,
    path::{Component, Path, PathBuf},
};

use clap::{Args, ValueEnum};
use mmy_config::Node;
use mmy_data::anchors::{self, Quality, Size};
use mmy_eval::{Row, Table};
use serde_json::{Value, json};

use super::loaders::LoaderName;
use crate::{
    cli::ConfigArgs,
    failure::{Failure, Outcome},
    logging,
    output::{show, show_json},
    progress,
    project::Project,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Objects are measured in pixels of the network's input. The best possible recall is the part of them that any anchor is
assigned to, by the config's `prior_match_thr`. The file that is written inherits from the config: train with it, or name it
in `_base_`.

Examples:
  mmy data anchors configs/voc/yolov5_n.toml --set data_root=data/bccd
  mmy data anchors configs/voc/yolov5_n.toml --set data_root=data/bccd --algorithm all --out configs/bccd_anchors.toml
  mmy train configs/bccd_anchors.toml --set data_root=data/bccd")]
pub struct AnchorsArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How anchors are sought
    #[arg(long, default_value = "yolov5")]
    pub algorithm: Algorithm,
    /// Rounds at most; by default 300 of k-means and of differential evolution, 1000 of YOLOv5's
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
    /// Height and width of the network's input; by default the config's `img_scale`, else 640
    #[arg(long, num_args = 2, value_names = ["H", "W"])]
    pub size: Option<Vec<i64>>,
    /// Another seed searches elsewhere
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Objects that are looked at, at most, chosen at random
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub most: usize,
    /// Write a config with the best anchors found, which inherits from CONFIG
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// How anchors are sought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Algorithm {
    /// k-means on overlap
    KMeans,
    /// Differential evolution of the mean overlap
    Differential,
    /// YOLOv5's: k-means, then mutations of which the better ones stay
    Yolov5,
    /// Each of them; the best ratio wins
    All,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::KMeans => "k-means",
            Algorithm::Differential => "differential",
            Algorithm::Yolov5 => "yolov5",
            Algorithm::All => "all",
        }
    }
}

/// Anchors where a config has them.
struct Known {
    /// The key.
    key: &'static str,
    /// For each level.
    levels: Vec<Vec<Size>>,
    /// Whether a level is a list of pairs; else it is one of width, height, width …
    pairs: bool,
}

impl Known {
    fn find(project: &Project) -> Outcome<Known> {
        let variable = project.loaded.vars.get("anchors").map(|node| ("vars.anchors", node));
        let keys = ["model.bbox_head.prior_generator.base_sizes", "model.anchors"];
        let direct = keys.iter().find_map(|key| Some((*key, project.loaded.root.get(key)?)));
        let used = direct.map(|it| it.1.to_json());
        // The variable counts where the model's own key holds what it holds.
        let variable = variable.filter(|it| used.as_ref().is_none_or(|used| *used == it.1.to_json()));
        let (key, node) = variable.or(direct).ok_or_else(|| {
            Failure::User(
                "the model has no anchors: neither a variable `anchors` nor `prior_generator.base_sizes`".into(),
            )
        })?;
        Known::read(key, node).ok_or_else(|| Failure::User(format!("`{key}` holds no anchors")))
    }

    fn read(key: &'static str, node: &Node) -> Option<Known> {
        let value = node.to_json();
        let pairs = value.get(0)?.get(0)?.is_array();
        let level = |it: &Value| -> Option<Vec<Size>> {
            let numbers: Vec<f64> = match pairs {
                true => it
                    .as_array()?
                    .iter()
                    .flat_map(|it| it.as_array().into_iter().flatten())
                    .map(Value::as_f64)
                    .collect::<Option<_>>()?,
                false => it.as_array()?.iter().map(Value::as_f64).collect::<Option<_>>()?,
            };
            (numbers.len().is_multiple_of(2) && !numbers.is_empty()).then(|| numbers.as_chunks::<2>().0.to_vec())
        };
        let levels: Vec<_> = value.as_array()?.iter().map(level).collect::<Option<_>>()?;
        Some(Known { key, levels, pairs })
    }

    fn all(&self) -> Vec<Size> {
        self.levels.concat()
    }

    /// Other anchors in as many levels, rounded to whole pixels, as a TOML list.
    fn shaped(&self, anchors: &[Size]) -> Value {
        let mut rest = anchors.iter().map(|it| it.map(|it| (it.round() as i64).max(1)));
        let levels = self.levels.iter().map(|level| {
            let own: Vec<[i64; 2]> = rest.by_ref().take(level.len()).collect();
            if self.pairs { json!(own) } else { json!(own.concat()) }
        });
        levels.collect()
    }
}

pub fn run(args: &AnchorsArgs) -> Outcome {
    let log = logging::start();
    let project = Project::load(&args.config)?;
    let known = Known::find(&project)?;
    let (height, width) = project.input_size(args.size.as_deref())?;
    let scale = [width as usize, height as usize];
    let thr = project.loaded.root.get("model.bbox_head.prior_match_thr").and_then(Node::as_f64).unwrap_or(4.0);
    let (all, left_out) = anchors::sizes(&*LoaderName::Train.dataset(&project)?, scale);
    if all.is_empty() {
        return Err(Failure::User(
            "the training data have no object that is large enough, in pictures whose size is known".into(),
        ));
    }
    let sizes = anchors::sample(all.clone(), args.most.max(1), args.seed);
    let count = known.all().len();
    let chosen = match args.algorithm {
        Algorithm::All => vec![Algorithm::KMeans, Algorithm::Differential, Algorithm::Yolov5],
        one => vec![one],
    };
    let mut rows = vec![("config", known.all(), Quality::of(&known.all(), &all, thr))];
    for it in chosen {
        let rounds = args.rounds.unwrap_or(if it == Algorithm::Yolov5 { 1000 } else { 300 });
        let bar = progress::bar(log.bars(), it.name(), rounds as u64, "rounds");
        let progress = |round: usize, _: usize| bar.set_position(round as u64);
        let found = match it {
            Algorithm::KMeans => anchors::k_means(&sizes, count, rounds, args.seed, &progress),
            Algorithm::Differential => {
                anchors::differential_evolution(&sizes, count, scale, rounds, args.seed, &progress)
            }
            Algorithm::Yolov5 | Algorithm::All => anchors::evolve(&sizes, count, thr, rounds, args.seed, &progress),
        };
        bar.finish_and_clear();
        // What will be written is what is measured.
        let found: Vec<Size> = found.iter().map(|it| it.map(|it| it.round().max(1.0))).collect();
        let quality = Quality::of(&found, &all, thr);
        rows.push((it.name(), found, quality));
    }
    let best = rows[1..].iter().max_by(|a, b| rank(&a.2).total_cmp(&rank(&b.2)));
    let best = best.ok_or_else(|| Failure::Other("no anchors were sought".into()))?;
    if let Some(path) = &args.out {
        let text = patch(&known, &best.1, &best.2, best.0, path, &args.config.config)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Failure::io("make the folder", folder))?;
        }
        fs::write(path, text).map_err(Failure::io("write", path))?;
    }
    if args.json {
        let row =
            |it: &(&str, Vec<Size>, Quality)| json!({ "name": it.0, "anchors": known.shaped(&it.1), "quality": it.2 });
        return show_json(&json!({
            "objects": all.len(), "left_out": left_out, "size": scale, "prior_match_thr": thr, "key": known.key,
            "rows": rows.iter().map(row).collect::<Vec<_>>(), "best": best.0,
        }));
    }
    let mut out = format!("{} objects in pictures fitted into {width}×{height}", all.len());
    if left_out > 0 {
        let _ = write!(out, " ({left_out} smaller than 2 pixels left out)");
    }
    let row = |it: &(&str, Vec<Size>, Quality)| Row {
        name: it.0.to_owned(),
        instances: it.1.len(),
        values: [it.2.best_possible_recall, it.2.anchors_per_object, it.2.mean_iou, it.2.mean_ratio].map(Some).to_vec(),
    };
    let head = ["anchors of", "count", "best recall", "per object", "mean IoU", "mean ratio"];
    let table = Table { columns: head.map(str::to_owned).to_vec(), rows: rows.iter().map(row).collect() };
    let _ = writeln!(out, "\n{table}\n\n{} = {}", known.key, spaced(&known.shaped(&best.1)));
    if let Some(path) = &args.out {
        let _ = writeln!(out, "written to {}", path.display());
    }
    show(&out)
}

/// Anchors that reach more objects are better, then those that fit better.
fn rank(it: &Quality) -> f64 {
    (it.best_possible_recall * 1e4).round() + it.mean_ratio
}

/// A config that inherits from another one and has other anchors.
fn patch(known: &Known, found: &[Size], quality: &Quality, name: &str, path: &Path, base: &Path) -> Outcome<String> {
    let absolute = |it: &Path| std::path::absolute(it).map_err(Failure::io("find", it));
    let folder = absolute(path)?.parent().map(Path::to_owned).unwrap_or_default();
    let base = Value::from(relative(&absolute(base)?, &folder)).to_string();
    let (table, key) = known.key.rsplit_once('.').unwrap_or(("", known.key));
    let (recall, iou) = (quality.best_possible_recall, quality.mean_iou);
    Ok(format!(
        "# By `mmy data anchors`, {name}: best possible recall {recall:.4}, mean IoU {iou:.4}.\n_base_ = {base}\n\n[{table}]\n\
         {key} = {}\n",
        spaced(&known.shaped(found))
    ))
}

/// A list of numbers in TOML, with room between them.
fn spaced(list: &Value) -> String {
    list.to_string().replace(',', ", ")
}

/// The way from a folder to a file, both absolute, with slashes.
fn relative(file: &Path, folder: &Path) -> String {
    let parts = |it: &Path| -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for part in it.components() {
            match part {
                Component::ParentDir => {
                    out.pop();
                }
                Component::CurDir => {}
                other => out.push(other.as_os_str().to_string_lossy().into_owned()),
            }
        }
        out
    };
    let (file, folder) = (parts(file), parts(folder));
    let same = file.iter().zip(&folder).take_while(|it| it.0 == it.1).count();
    let up = std::iter::repeat_n("..", folder.len() - same);
    up.chain(file[same..].iter().map(String::as_str)).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_from_folder_to_file() {
        let check = |file: &str, folder: &str, way: &str| {
            assert_eq!(relative(Path::new(file), Path::new(folder)), way);
        };
        check("/a/b/c.toml", "/a/b", "c.toml");
        check("/a/b/c.toml", "/a/d/e", "../../b/c.toml");
        check("/a/./x/../b/c.toml", "/a", "b/c.toml");
    }
}
