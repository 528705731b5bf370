//! `mmy config`.

use crate::{
    cli::ConfigCommand,
    failure::{Failure, Outcome},
    project::Project,
};

pub fn run(command: &ConfigCommand) -> Outcome {
    let ConfigCommand::Show { config, json } = command;
    let project = Project::load(config)?;
    if *json {
        let text = serde_json::to_string_pretty(&project.loaded.to_json()).map_err(Failure::user)?;
        println!("{text}");
    } else {
        print!("{}", project.loaded.to_toml());
    }
    Ok(())
}
