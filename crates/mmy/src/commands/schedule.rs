//! `mmy schedule`.

use std::fmt::Write;

use clap::{Args, Subcommand};
use mmy_data::LoaderArgs;
use mmy_engine::schedules::preview;
use serde_json::json;

use crate::{
    cli::ConfigArgs,
    failure::{Failure, Outcome},
    output::{show, show_json},
    project::Project,
};

#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Show learning rate and momentum of each parameter group along a run, without training
    #[command(after_help = "\
What a validation decides (plateaus, early stopping) is left out.

Examples:
  mmy schedule show configs/starnet_s1_yolov5.toml
  mmy schedule show configs/yolov5/yolov5_s.toml --epoch-len 7393 --every 500")]
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Steps of an epoch; by default those of the training data, whose annotations are read for it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub epoch_len: Option<u64>,
    /// Steps from one row to the next; by default one row for each epoch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub every: Option<u64>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(command: &ScheduleCommand) -> Outcome {
    match command {
        ScheduleCommand::Show(args) => rates(args),
    }
}

/// The groups' values before one step.
struct Row {
    epoch: usize,
    iter: usize,
    lr: Vec<f64>,
    momentum: Vec<f64>,
}

fn rates(args: &ShowArgs) -> Outcome {
    let project = Project::load(&args.config)?;
    let data = project.config.train_dataloader.as_ref();
    let data = data.ok_or_else(|| Failure::User("the config lacks `train_dataloader`".into()))?;
    let epoch_len = match args.epoch_len {
        Some(steps) => steps as usize,
        None => data.build(LoaderArgs { seed: 0 }).map_err(|it| project.place_build(it))?.len(),
    };
    if epoch_len == 0 {
        return Err(Failure::User("an epoch has no batch: check `ann_file`, `filter_cfg` and `batch_size`".into()));
    }
    let every = args.every.map_or(epoch_len, |it| it as usize);
    let (mut rows, mut names) = (Vec::new(), Vec::new());
    preview(&project.config, epoch_len, data.batch_size, |progress, groups| {
        if names.is_empty() {
            names = groups.iter().map(|it| format!("{} ({} tensors)", it.name, it.params.len())).collect();
        }
        if progress.iter.is_multiple_of(every) || progress.iter + 1 == progress.max_iters() {
            rows.push(Row {
                epoch: progress.epoch + 1,
                iter: progress.iter + 1,
                lr: groups.iter().map(|it| it.lr).collect(),
                momentum: groups.iter().map(|it| it.momentum).collect(),
            });
        }
    })
    .map_err(|it| project.place(it))?;
    if args.json {
        let row = |it: &Row| json!({ "epoch": it.epoch, "iter": it.iter, "lr": it.lr, "momentum": it.momentum });
        let rows: Vec<_> = rows.iter().map(row).collect();
        return show_json(&json!({ "epoch_len": epoch_len, "groups": names, "rows": rows }));
    }
    let mut out = String::new();
    for (number, name) in names.iter().enumerate() {
        let _ = writeln!(out, "group {number}: {name}");
    }
    let _ = write!(out, "{:>6}{:>9}", "epoch", "step");
    for number in 0..names.len() {
        let _ = write!(out, "{:>13}", format!("lr {number}"));
    }
    let _ = writeln!(out, "{:>12}", "momentum 0");
    for Row { epoch, iter, lr, momentum } in &rows {
        let _ = write!(out, "{epoch:>6}{iter:>9}");
        for value in lr {
            let _ = write!(out, "{value:>13.4e}");
        }
        let _ = writeln!(out, "{:>12.4}", momentum.first().copied().unwrap_or_default());
    }
    show(&out)
}
