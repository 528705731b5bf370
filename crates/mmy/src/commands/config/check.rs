//! `mmy config check`.

use std::path::PathBuf;

use clap::Args;
use mmy_check::Purpose;
use mmy_diag::{Report, Severity};

use crate::{
    cli::ConfigArgs,
    failure::{Failure, Outcome, color},
    output::{show, show_json},
    project::options,
};

/// Find everything that is wrong with a config, without running it.
///
/// Keys, names, types, ranges, references, channels and levels, classes, sizes, files: every finding comes in one go, with
/// its place and what to do. No picture is opened. The exit status is 2 where there are errors.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy config check configs/starnet_s1_yolov5.toml
  mmy config check configs/*.toml --strict
  mmy config check my.toml --set num_classes=20 --json")]
pub struct CheckArgs {
    /// The config files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Change a value first, as in `mmy train`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Take warnings for errors
    #[arg(long)]
    pub strict: bool,
    /// As a JSON array, for editors
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &CheckArgs) -> Outcome {
    let (mut rows, mut failed) = (Vec::new(), false);
    for path in &args.files {
        let config = ConfigArgs { config: path.clone(), set: args.set.clone(), cfg_options: Vec::new() };
        let report = match mmy_config::examine(path, &options(&config)) {
            Ok(loaded) => mmy_check::check(&loaded, Purpose::Anything).report,
            Err(report) => report,
        };
        failed |= report.has_errors() || (args.strict && !report.diagnostics.is_empty());
        if args.json {
            rows.extend(report.to_json().as_array().cloned().unwrap_or_default());
        } else {
            let findings = if report.diagnostics.is_empty() { String::new() } else { report.render(color()) + "\n\n" };
            show(&format!("{findings}{}: {}\n", path.display(), summary(&report)))?;
        }
    }
    if args.json {
        show_json(&rows)?;
    }
    if failed { Err(Failure::Told) } else { Ok(()) }
}

/// `2 errors, 1 warning`.
fn summary(report: &Report) -> String {
    let count = |severity: Severity| report.diagnostics.iter().filter(|it| it.severity == severity).count();
    let parts: Vec<_> = [(count(Severity::Error), "error"), (count(Severity::Warning), "warning")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if parts.is_empty() { "nothing found".to_owned() } else { parts.join(", ") }
}
