//! `mmy replay`.

use std::{fmt::Write, path::PathBuf};

use clap::Args;
use mmy_engine::Replay;

use crate::{
    failure::{Failure, Outcome},
    output::show,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  mmy replay work_dirs/starnet_s1_yolov5/20261125_103000/failed_step.safetensors")]
pub struct ReplayArgs {
    /// The file that a run left when a loss or a gradient was not finite
    pub file: PathBuf,
}

pub fn run(args: &ReplayArgs) -> Outcome {
    if !args.file.is_file() {
        return Err(Failure::User(format!("there is no file `{}`", args.file.display())));
    }
    show(&report(&mmy_engine::replay(&args.file)?))
}

fn report(replay: &Replay) -> String {
    let mut out = format!("iteration {}: {}\n\npictures\n", replay.iter, replay.failed.reason);
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    for it in &replay.failed.metas {
        line(format!("  {}", it.img_path.display()));
    }
    line("\nweights before the step".into());
    match &replay.bad_weights[..] {
        [] => line("  all finite".into()),
        names => names.iter().for_each(|it| line(format!("  not finite: {it}"))),
    }
    line("\nloss now, and as the run had it".into());
    for (name, value) in &replay.losses {
        let was = replay.failed.losses.iter().find(|it| it.0 == *name).map_or("-", |it| it.1.as_str());
        line(format!("  {name:<12} {value:>14} {was:>14}"));
    }
    line("\nfirst layer that gives out what is not finite".into());
    line(match &replay.first_layer {
        Some((class, path)) => format!("  {path} ({class})"),
        None => "  none: the layers' outputs are finite".into(),
    });
    line("\nnorm of the gradient".into());
    if replay.gradients.is_empty() {
        line("  none: a loss that is not finite has none".into());
    }
    for (name, norm) in &replay.gradients {
        line(format!("  {name:<40} {norm:>12.4e}"));
    }
    if let Some(name) = &replay.first_gradient {
        line(format!("  the first that is not finite: {name}"));
    }
    out
}
