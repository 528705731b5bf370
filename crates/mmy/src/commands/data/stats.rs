//! `mmy data stats`: what is in a config's data.

use std::{fmt::Write, fs, path::PathBuf};

use clap::Args;
use mmy_data::stats::{GRID, Stats};
use mmy_plot::{Bars, Chart, Heatmap, Page, number};
use serde_json::{Map, Value};

use super::loaders::LoaderName;
use crate::{
    cli::ConfigArgs,
    failure::{Failure, Outcome},
    logging,
    output::{show, show_json},
    project::Project,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Of training data, what `filter_cfg` leaves out is left out here too. Small objects are below 32² pixels, medium ones below
96², as COCO has it.

Examples:
  mmy data stats configs/voc/yolov5_n.toml --set data_root=data/bccd
  mmy data stats configs/yolov5/yolov5_s.toml --loaders train val --out coco.html
  mmy data stats configs/starnet_s1_yolov5.toml --json")]
pub struct StatsArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Which data
    #[arg(long, num_args = 1.., value_name = "LOADER", default_values = ["train"])]
    pub loaders: Vec<LoaderName>,
    /// Write one page of plots (HTML that stands alone)
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Classes in a chart, at most; tables have them all.
const SHOWN: usize = 40;
/// Objects in a cloud of points, at most.
const POINTS: usize = 1500;

pub fn run(args: &StatsArgs) -> Outcome {
    logging::start();
    let project = Project::load(&args.config)?;
    let mut all = Vec::new();
    for loader in &args.loaders {
        all.push((loader.key(), Stats::of(&*loader.dataset(&project)?)));
    }
    if let Some(path) = &args.out {
        let mut page = Page::new(format!("Data of {}", project.name));
        for (key, stats) in &all {
            page = section(page, key, stats);
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Failure::io("make the folder", folder))?;
        }
        fs::write(path, page.to_html()).map_err(Failure::io("write", path))?;
    }
    if args.json {
        let mut out = Map::new();
        for (key, stats) in &all {
            let value = serde_json::to_value(stats).map_err(|error| Failure::Other(error.to_string()))?;
            out.insert((*key).to_owned(), value);
        }
        return show_json(&Value::from(out));
    }
    let mut out = String::new();
    for (key, stats) in &all {
        let _ = writeln!(out, "{key}: {}\n{}", summary(stats), table(stats));
    }
    if let Some(path) = &args.out {
        let _ = writeln!(out, "plots are in {}", path.display());
    }
    show(&out)
}

fn summary(it: &Stats) -> String {
    let [small, medium, large] = it.areas;
    let mut out = format!(
        "{} pictures ({} without objects), {} objects ({small} small, {medium} medium, {large} large), {:.2} per picture",
        it.pictures, it.empty, it.objects, it.mean_per_picture
    );
    if it.ignored > 0 {
        let _ = write!(out, ", {} more for evaluation alone", it.ignored);
    }
    out
}

const HEAD: [&str; 9] = ["class", "objects", "pictures", "small", "medium", "large", "width", "height", "w/h"];

fn rows(it: &Stats) -> Vec<Vec<String>> {
    let row = |it: &mmy_data::stats::ClassStats| {
        let counts = [it.objects, it.pictures, it.areas[0], it.areas[1], it.areas[2]].map(|it| it.to_string());
        let [w, h, ratio] = match it.median {
            Some([w, h, ratio]) => [format!("{w:.0}"), format!("{h:.0}"), format!("{ratio:.2}")],
            None => ["–"; 3].map(str::to_owned),
        };
        [it.name.clone()].into_iter().chain(counts).chain([w, h, ratio]).collect()
    };
    it.classes.iter().map(row).collect()
}

/// The classes in aligned columns; width, height and ratio are those of the middle object.
fn table(stats: &Stats) -> String {
    let rows = rows(stats);
    let wide = |at: usize| {
        let cells = rows.iter().map(|it| it[at].chars().count());
        cells.chain([HEAD[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..HEAD.len()).map(wide).collect();
    let line = |cells: &[String]| {
        let mut out = String::new();
        for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            let _ = if at == 0 { write!(out, "{cell}{pad}") } else { write!(out, "  {pad}{cell}") };
        }
        out.trim_end().to_owned() + "\n"
    };
    let head: Vec<_> = HEAD.iter().map(|it| (*it).to_owned()).collect();
    std::iter::once(line(&head)).chain(rows.iter().map(|it| line(it))).collect()
}

fn section(page: Page, key: &str, it: &Stats) -> Page {
    let mut charts = vec![classes(it), areas(it), cloud(it)];
    charts.extend([ratios(it), relative(it), per_picture(it), centres(it)]);
    if it.classes.len() > 1 {
        charts.push(together(it));
    }
    charts.push(shapes(it));
    page.heading(key).text(&format!("{}.", summary(it))).charts(charts).subheading("Classes").table(&HEAD, &rows(it)).remark(
        "Small objects are below 32² pixels, medium ones below 96². Width, height and their ratio are those of the middle object. \
         Classes are seen together in so many pictures; on the diagonal stand pictures with several objects of one class.",
    )
}

/// The classes with most objects, that many at most.
fn frequent(it: &Stats, most: usize) -> Vec<usize> {
    let mut places: Vec<_> = (0..it.classes.len()).collect();
    places.sort_by_key(|at| std::cmp::Reverse(it.classes[*at].objects));
    places.truncate(most);
    places
}

fn classes(it: &Stats) -> String {
    let places = frequent(it, SHOWN);
    let more = it.classes.len() - places.len();
    let title = if more > 0 { format!("Classes ({more} rarer ones are not shown)") } else { "Classes".to_owned() };
    let of = |value: fn(&mmy_data::stats::ClassStats) -> usize| -> Vec<f64> {
        places.iter().map(|at| value(&it.classes[*at]) as f64).collect()
    };
    Bars::new(title, places.iter().map(|at| it.classes[*at].name.clone()))
        .series("objects", &of(|it| it.objects))
        .series("pictures", &of(|it| it.pictures))
        .to_svg()
}

fn areas(it: &Stats) -> String {
    let values = it.areas.map(|it| it as f64);
    Bars::new("Sizes of objects, in COCO's terms", ["small < 32²", "medium < 96²", "large"])
        .series("objects", &values)
        .to_svg()
}

/// Width and height of objects, drawn evenly from all of them.
fn cloud(it: &Stats) -> String {
    let step = it.sizes.len().div_ceil(POINTS).max(1);
    let points: Vec<_> = it.sizes.iter().step_by(step).map(|[w, h]| (f64::from(*w), f64::from(*h))).collect();
    let title =
        if step > 1 { format!("Width and height of one object in {step}") } else { "Width and height".to_owned() };
    Chart::new(title).x_label("width in pixels").y_label("height in pixels").points("", &points).to_svg()
}

/// Counts in bins whose edges are given; a step for each.
fn histogram(values: impl Iterator<Item = f64>, edges: &[f64]) -> Vec<(f64, f64)> {
    let mut counts = vec![0usize; edges.len().saturating_sub(1)];
    for value in values.filter(|it| it.is_finite()) {
        let at = edges.partition_point(|it| *it <= value).saturating_sub(1);
        if let Some(last) = counts.len().checked_sub(1) {
            counts[at.min(last)] += 1;
        }
    }
    let mut out: Vec<_> = edges.iter().zip(&counts).map(|(edge, count)| (*edge, *count as f64)).collect();
    out.extend(edges.last().zip(counts.last()).map(|(edge, count)| (*edge, *count as f64)));
    out
}

fn ratios(it: &Stats) -> String {
    // From 1/8 to 8, in thirds of an octave.
    let edges: Vec<_> = (-9..=9).map(|it| 2f64.powf(f64::from(it) / 3.0)).collect();
    let values = it.sizes.iter().map(|[w, h]| f64::from(*w) / f64::from(*h));
    let chart = Chart::new("Width over height").x_label("ratio").y_label("objects").x_log();
    chart.steps("", &histogram(values, &edges)).to_svg()
}

fn relative(it: &Stats) -> String {
    let edges: Vec<_> = (0..=25).map(|it| f64::from(it) / 25.0).collect();
    let chart = Chart::new("Size in the picture").x_label("square root of the part of its area").y_label("objects");
    chart.steps("", &histogram(it.relative.iter().map(|it| f64::from(*it)), &edges)).to_svg()
}

fn per_picture(it: &Stats) -> String {
    let points = it.per_picture.iter().enumerate().map(|(at, count)| (at as f64, *count as f64));
    let mut points: Vec<_> = points.collect();
    points.push((it.per_picture.len() as f64, 0.0));
    let title = format!("Objects per picture, {:.2} on average", it.mean_per_picture);
    Chart::new(title).x_label("objects").y_label("pictures").steps("", &points).to_svg()
}

fn centres(it: &Stats) -> String {
    let values: Vec<Vec<f64>> = it.centres.iter().map(|row| row.iter().map(|it| *it as f64).collect()).collect();
    let names = || (0..GRID).map(|at| if at % 4 == 0 { number(at as f64 / GRID as f64) } else { String::new() });
    Heatmap::new("Centres of objects in their pictures", names(), names(), values).labels("down", "across").to_svg()
}

fn together(it: &Stats) -> String {
    let places = frequent(it, 20);
    let names = || places.iter().map(|at| it.classes[*at].name.clone());
    let values = places.iter().map(|a| places.iter().map(|b| it.together[*a][*b] as f64).collect()).collect();
    Heatmap::new("Seen together", names(), names(), values).to_svg()
}

fn shapes(it: &Stats) -> String {
    let most: Vec<_> = it.shapes.iter().take(12).collect();
    let name = |[w, h]: [usize; 2]| if w == 0 { "unknown".to_owned() } else { format!("{w}×{h}") };
    let values: Vec<_> = most.iter().map(|it| it.1 as f64).collect();
    let title = match it.shapes.len() {
        n if n > most.len() => format!("Pictures ({} more sizes)", n - most.len()),
        _ => "Pictures".to_owned(),
    };
    Bars::new(title, most.iter().map(|it| name(it.0))).series("pictures", &values).to_svg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_bins() {
        let steps = histogram([0.0, 0.1, 0.5, 0.99, 1.0, 7.0, -1.0, f64::NAN].into_iter(), &[0.0, 0.5, 1.0]);
        assert_eq!(steps, [(0.0, 3.0), (0.5, 4.0), (1.0, 4.0)]);
        assert!(histogram([1.0].into_iter(), &[]).is_empty());
    }
}
