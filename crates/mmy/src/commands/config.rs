//! `mmy config`.

use crate::{
    cli::ConfigCommand,
    failure::Outcome,
    output::{show, show_json},
    project::Project,
};

pub fn run(command: &ConfigCommand) -> Outcome {
    let ConfigCommand::Show { config, json } = command;
    let project = Project::load(config)?;
    if *json { show_json(&project.loaded.to_json()) } else { show(&project.loaded.to_toml()) }
}
