//! `mmy config show`.

use clap::Args;
use mmy_config::{Loaded, Node};
use serde_json::{Map, Value, json};

use super::origin;
use crate::{
    cli::ConfigArgs,
    failure::{Failure, Outcome},
    manual::Types,
    output::{show, show_json},
    project::{Project, schema_of_configs},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy config show configs/starnet_s1_yolov5.toml --set num_classes=20
  mmy config show configs/starnet_s1_yolov5.toml --provenance
  mmy config show configs/starnet_s1_yolov5.toml --defaults --json")]
pub struct ShowArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Write behind each value where it comes from: file and line, `--set`, the environment, a part's default; its
    /// expression; and what it took the place of
    #[arg(long)]
    provenance: bool,
    /// Show also what nobody set, with the parts' defaults
    #[arg(long)]
    defaults: bool,
    /// As JSON; with `--provenance` an object with `config` and, by dotted path, `provenance`
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ShowArgs) -> Outcome {
    let Project { mut loaded, config, .. } = Project::load(&args.config)?;
    if args.defaults {
        loaded.fill(&serde_json::to_value(&config).map_err(|it| Failure::Other(it.to_string()))?);
    }
    match (args.json, args.provenance) {
        (false, false) => show(&loaded.to_toml()),
        (true, false) => show_json(&loaded.to_json()),
        (false, true) => {
            let types = Types::new(schema_of_configs());
            show(
                &loaded
                    .to_toml_with(&|path, node| Some(origin::remark(&loaded, node, || default(&types, &loaded, path)))),
            )
        }
        (true, true) => show_json(&json!({ "config": loaded.to_json(), "provenance": provenance(&loaded) })),
    }
}

/// What a value without a place is.
fn default(types: &Types, loaded: &Loaded, path: &str) -> String {
    let owner = types.find(loaded, path).map_or_else(|| "the part".to_owned(), |it| it.owner);
    format!("default of {owner}")
}

fn provenance(loaded: &Loaded) -> Value {
    let types = Types::new(schema_of_configs());
    let entry = |(path, node): (String, &Node)| {
        let from = match node.loc() {
            Some(loc) => origin::json(loaded, loc),
            None => json!({ "place": default(&types, loaded, &path) }),
        };
        let over: Vec<_> = node.overridden.iter().map(|it| origin::json(loaded, it)).collect();
        let mut out = from.as_object().cloned().unwrap_or_default();
        out.insert("over".into(), over.into());
        (path, Value::Object(out))
    };
    origin::leaves(&loaded.root).into_iter().map(entry).collect::<Map<_, _>>().into()
}
