//! `mmy build`: a program with plugin crates linked in.

mod host;
mod plugin;
pub mod source;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;
use mmy_registry::Plugin;
use serde::Deserialize;

use crate::{
    failure::{Failure, Outcome},
    output::show,
};
use host::Host;
use plugin::PluginSpec;
use source::MmySource;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy build --plugin ./my_blocks -o my-mmy
  mmy build --plugin ./my_blocks --plugin their_blocks@0.3.1 -o my-mmy
  ./my-mmy version --plugins

A host can also be written by hand: a crate that depends on `mmy` and the plugins, with
  use my_blocks as _;
  fn main() -> std::process::ExitCode { mmy::main() }")]
pub struct BuildArgs {
    /// A plugin crate: its folder, or the name and version of a published one. May be given several times
    #[arg(long = "plugin", value_name = "DIR|NAME@VERSION", required = true)]
    plugins: Vec<PluginSpec>,
    /// The program that is made
    #[arg(short, long, value_name = "FILE", default_value = "my-mmy")]
    out: PathBuf,
    /// Registry of published plugins, as cargo's own settings name it
    #[arg(long, value_name = "NAME")]
    registry: Option<String>,
    /// Ask no registry: everything has been fetched before
    #[arg(long)]
    offline: bool,
}

pub fn run(args: &BuildArgs) -> Outcome {
    let mmy = MmySource::find()?;
    let looked: Outcome<Vec<_>> = args.plugins.iter().map(|it| it.look(args.registry.as_deref())).collect();
    let mut plugins = looked?;
    plugins.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = plugins.windows(2).find(|it| it[0].name == it[1].name) {
        return Err(Failure::User(format!("`--plugin` names the crate `{}` twice", twice[0].name)));
    }
    let host = Host::write(&mmy, &plugins, args.offline)?;
    if plugins.iter().any(|it| it.source.is_none()) {
        host.fetch()?;
        for plugin in plugins.iter_mut().filter(|it| it.source.is_none()) {
            plugin.source = host.checksum(&plugin.name);
        }
    }
    host.write_main(&plugins)?;
    let program = host.build()?;
    let linked = ask(&program)?;
    for plugin in &plugins {
        if !linked.iter().any(|it| it.name == plugin.name) {
            return Err(Failure::User(format!(
                "`{}` registers no part: a plugin has at least one `register!` line in a module of its `lib.rs`",
                plugin.name
            )));
        }
    }
    host::install(&program, &args.out)?;
    let names: Vec<_> = linked.iter().map(|it| format!("{} {}", it.name, it.version)).collect();
    show(&format!("{} has {}\n", args.out.display(), names.join(", ")))
}

/// Which plugins a program has, by its own word.
fn ask(program: &Path) -> Outcome<Vec<Plugin>> {
    #[derive(Deserialize)]
    struct Version {
        plugins: Vec<Plugin>,
    }
    let failed = |why: String| Failure::Other(format!("`{}` does not run: {why}", program.display()));
    let out = Command::new(program).args(["version", "--plugins", "--json"]).output();
    let out = out.map_err(|it| failed(it.to_string()))?;
    if !out.status.success() {
        // Such as two crates that register one name.
        return Err(Failure::User(
            String::from_utf8_lossy(&out.stderr).trim().trim_start_matches("error: ").to_owned(),
        ));
    }
    let version: Version = serde_json::from_slice(&out.stdout).map_err(|it| failed(it.to_string()))?;
    Ok(version.plugins)
}
