//! `mmy man`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use crate::{
    cli::Cli,
    failure::{Failure, Outcome},
    logging,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy man ~/.local/share/man/man1
  mmy man pages && man pages/mmy-train.1")]
pub struct ManArgs {
    /// Folder of the pages; made where it is missing
    pub dir: PathBuf,
}

pub fn run(args: &ManArgs) -> Outcome {
    logging::start();
    std::fs::create_dir_all(&args.dir).map_err(Failure::io("make the folder", &args.dir))?;
    // `mmy help` and its pages say what the others say.
    let command = Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, &args.dir).map_err(Failure::io("write to", &args.dir))?;
    tracing::info!("manual pages are in {}", args.dir.display());
    Ok(())
}
