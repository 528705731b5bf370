//! `mmy config schema`.

use std::{fs, path::PathBuf};

use clap::Args;

use crate::{
    failure::{Failure, Outcome},
    output::{show, show_json},
    project::root_schema,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy config schema -o configs/schema.json

An editor with a TOML language server (taplo, Even Better TOML) completes and checks a config whose first line is
  #:schema schema.json")]
pub struct SchemaArgs {
    /// File to write; standard output without it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(args: &SchemaArgs) -> Outcome {
    let schema = mmy_registry::schema::document(&root_schema());
    let Some(path) = &args.output else { return show_json(&schema) };
    let text = serde_json::to_string_pretty(&schema).map_err(|it| Failure::Other(it.to_string()))?;
    fs::write(path, text + "\n").map_err(Failure::io("write", path))?;
    show(&format!("{}\n", path.display()))
}
