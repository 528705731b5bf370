//! `mmy config`.

pub mod check;
mod diff;
mod explain;
mod import;
mod origin;
mod schema;
mod show;

use clap::Subcommand;

use crate::failure::Outcome;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Find everything that is wrong with a config, without running it
    Check(check::CheckArgs),
    /// Show a config as it is after inheritance, expressions and `--set`
    Show(show::ShowArgs),
    /// Say who set a value, layer by layer, and what its expressions read
    Explain(explain::ExplainArgs),
    /// Compare two configs as they are after everything is resolved; exit status 1 when they differ
    Diff(diff::DiffArgs),
    /// Write the JSON Schema of configs, for completion and checks in editors
    Schema(schema::SchemaArgs),
    /// Turn a config of mmengine (its JSON dump, or Python) into TOML
    Import(import::ImportArgs),
}

pub fn run(command: &ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Check(args) => check::run(args),
        ConfigCommand::Show(args) => show::run(args),
        ConfigCommand::Explain(args) => explain::run(args),
        ConfigCommand::Diff(args) => diff::run(args),
        ConfigCommand::Schema(args) => schema::run(args),
        ConfigCommand::Import(args) => import::run(args),
    }
}
