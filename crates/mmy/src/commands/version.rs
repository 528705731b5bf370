//! `mmy version`.

use std::fmt::Write;

use clap::Args;
use serde_json::json;

use crate::{
    failure::Outcome,
    output::{show, show_json},
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mmy version\n  mmy version --plugins --json")]
pub struct VersionArgs {
    /// List the plugin crates that are linked in, with versions and hashes of their sources
    #[arg(long)]
    plugins: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &VersionArgs) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    let libtorch = mmy_engine::LIBTORCH_VERSION;
    let plugins = mmy_registry::plugins();
    if args.json {
        return show_json(&json!({ "mmy": version, "libtorch": libtorch, "plugins": plugins }));
    }
    let mut out = format!("mmy {version}, libtorch {libtorch}\n");
    if args.plugins {
        if plugins.is_empty() {
            out += "no plugin crate is linked in; `mmy build --plugin …` makes a program that has one\n";
        }
        let width = plugins.iter().map(|it| it.name.len()).max().unwrap_or(0);
        for plugin in &plugins {
            let source = plugin.source.as_deref().unwrap_or("source not known: not made by `mmy build`");
            let _ = writeln!(out, "{:width$}  {}  {source}", plugin.name, plugin.version);
        }
    }
    show(&out)
}
