//! `mmy data check`.

use std::{collections::BTreeMap, fmt::Write};

use mmy_config::from_node_at;
use mmy_data::{
    Dataset,
    check::{Finding, Inspection, Level, Report, check},
};
use mmy_registry::Slot;
use serde_json::json;

use crate::{
    cli::ConfigArgs,
    failure::{Failure, Outcome},
    logging,
    output::{show, show_json},
    progress,
    project::Project,
};

/// Look for faults in a config's data before anything is trained
///
/// Reads the annotations of all loaders and decodes every picture once, on all cores. Errors end a run or take a picture
/// out of it, warnings change what is learnt; with either, the exit status is 1. Notes are no faults.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mmy data check configs/voc/yolov5_n.toml --set data_root=data/bccd
  mmy data check configs/yolov5/yolov5_s.toml --json > faults.json")]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Show every finding, not just the first ones of each sort
    #[arg(long)]
    pub all: bool,
    /// As JSON, with every finding
    #[arg(long)]
    pub json: bool,
}

/// Findings of one sort that are shown unless all are asked for.
const SHOWN: usize = 10;

pub fn run(args: &Args) -> Outcome {
    let log = logging::start();
    let project = Project::load(&args.config)?;
    let mut surveys = Vec::new();
    for loader in ["train_dataloader", "val_dataloader", "test_dataloader"] {
        let path = format!("{loader}.dataset");
        if project.loaded.root.get(&path).is_some() {
            let slot: Slot<Dataset> = from_node_at(&project.loaded, &path)?;
            match Inspection::of(&slot) {
                Some(it) => {
                    let inspections = it.map_err(|it| project.place_build(it))?;
                    surveys.extend(inspections.iter().map(|it| (loader.to_owned(), it.inspect())));
                }
                None => tracing::warn!("{path}: the files of a {} cannot be looked through", slot.name()),
            }
        }
    }
    if surveys.is_empty() {
        return Err(Failure::User("the config has no data that can be looked through".into()));
    }
    let bar = progress::bar(log.bars(), "check", 0, "pictures");
    let report = check(surveys, &|done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let counts = [Level::Error, Level::Warning, Level::Note].map(|it| report.count(it));
    if args.json {
        let [errors, warnings, notes] = counts;
        show_json(&json!({
            "sets": report.sets, "findings": report.findings, "errors": errors, "warnings": warnings, "notes": notes,
        }))?;
    } else {
        show(&text(&report, if args.all { usize::MAX } else { SHOWN }, counts))?;
    }
    match counts {
        [0, 0, _] => Ok(()),
        [errors, warnings, _] => {
            Err(Failure::Other(format!("{} and {} in the data", many(errors, "error"), many(warnings, "warning"))))
        }
    }
}

fn text(report: &Report, most: usize, counts: [usize; 3]) -> String {
    let mut out = String::new();
    let mut by_sort: BTreeMap<(Level, &str), Vec<&Finding>> = BTreeMap::new();
    for it in &report.findings {
        by_sort.entry((it.level, it.code)).or_default().push(it);
    }
    for ((level, code), findings) in by_sort {
        for it in findings.iter().take(most) {
            let _ = writeln!(out, "{it}");
        }
        if findings.len() > most {
            let _ = writeln!(out, "{level}[{code}] … and {} more (--all shows them)", findings.len() - most);
        }
    }
    for set in &report.sets {
        let objects: usize = set.objects.values().sum();
        let _ = writeln!(
            out,
            "{}: {}, {} of {}, {}",
            set.loaders.join(", "),
            many(set.pictures, "picture"),
            many(objects, "object"),
            if set.objects.len() == 1 { "1 class".to_owned() } else { format!("{} classes", set.objects.len()) },
            set.source.display()
        );
    }
    let [errors, warnings, notes] = counts;
    let _ = writeln!(out, "{}, {}, {}", many(errors, "error"), many(warnings, "warning"), many(notes, "note"));
    out
}

/// `1 error`, `2 errors`.
fn many(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
