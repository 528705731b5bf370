//! `mmy hooks`.

use std::fmt::Write;

use clap::Args;
use mmy_engine::hooks::{Registered, order_table};
use serde_json::{Value, json};

use crate::{
    cli::ConfigArgs,
    failure::Outcome,
    output::{show, show_json},
    project::Project,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy hooks configs/starnet_s1_yolov5.toml
  mmy hooks configs/starnet_s1_yolov5.toml --set default_hooks.timer.priority=40 --json")]
pub struct HooksArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &HooksArgs) -> Outcome {
    let project = Project::load(&args.config)?;
    let hooks = mmy_engine::build_hooks(&project.config).map_err(|it| project.place(it))?;
    let table = order_table(&hooks);
    if args.json {
        let row = |it: &&Registered| json!({ "hook": it.key, "priority": it.priority.value(), "key": it.source, "place": place(&project, it) });
        let stages: Vec<Value> = table
            .iter()
            .map(
                |(stage, acting)| json!({ "stage": stage.name(), "hooks": acting.iter().map(row).collect::<Vec<_>>() }),
            )
            .collect();
        return show_json(&stages);
    }
    let mut out = String::new();
    for (stage, acting) in &table {
        let _ = writeln!(out, "{}", stage.name());
        for it in acting {
            let from = place(&project, it).map_or_else(String::new, |place| format!("  {place}"));
            let _ = writeln!(out, "  {:>3} {:<13}{:<26}{}{from}", it.priority.value(), name(it), it.key, it.source);
        }
    }
    let idle: Vec<_> = hooks.iter().filter(|it| it.hook.stages().is_empty()).map(|it| it.key.as_str()).collect();
    if !idle.is_empty() {
        let _ = writeln!(out, "without effect here: {}", idle.join(", "));
    }
    show(&out)
}

/// The priority's name; nothing for a number between the named ones.
fn name(hook: &Registered) -> String {
    let (name, number) = (hook.priority.to_string(), hook.priority.value().to_string());
    if name == number { String::new() } else { name }
}

/// `file:line:column` of the hook in the config.
fn place(project: &Project, hook: &Registered) -> Option<String> {
    let loc = project.loaded.get(&hook.source)?.loc()?;
    Some(project.loaded.sources.show(loc))
}
