//! From a path on the command line to a typed config.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};

use mmy_check::{Checked, Purpose};
use mmy_config::{Loaded, Options, from_node};
use mmy_engine::{EngineError, Manifest, RunConfig};

use crate::{
    cli::ConfigArgs,
    failure::{Failure, Outcome},
};

/// The schema of the root of configs, as the types have it.
pub fn root_schema() -> schemars::Schema {
    schemars::schema_for!(RunConfig)
}

/// As [`root_schema`], as a JSON value.
pub fn schema_of_configs() -> serde_json::Value {
    root_schema().to_value()
}

/// A config, typed and as written.
pub struct Project {
    /// The tree, with the place of each value.
    pub loaded: Loaded,
    /// The typed root.
    pub config: RunConfig,
    /// The file's name without its extension.
    pub name: String,
}

impl Project {
    /// Reads a config and whatever it inherits, and checks it as far as its model goes; warnings go to the terminal.
    pub fn load(args: &ConfigArgs) -> Outcome<Self> {
        Self::load_for(args, Purpose::Model)
    }

    /// Reads a config and whatever it inherits, and checks all of it that `purpose` needs; warnings go to the terminal.
    pub fn load_for(args: &ConfigArgs, purpose: Purpose) -> Outcome<Self> {
        let loaded = mmy_config::examine(&args.config, &options(args))?;
        let Checked { config, report } = mmy_check::check(&loaded, purpose);
        let Some(config) = config else { return Err(report.into()) };
        if !report.diagnostics.is_empty() {
            eprintln!("{}\n", report.render(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()));
        }
        Ok(Project { loaded, config, name: name_of(&args.config) })
    }

    /// Reads the resolved config that a checkpoint carries.
    pub fn from_manifest(manifest: &Manifest) -> Outcome<Self> {
        let missing = manifest.missing_plugins();
        if !missing.is_empty() {
            let named: Vec<_> = missing.iter().map(|it| format!("{} {}", it.name, it.version)).collect();
            let plugins: Vec<_> = missing.iter().map(|it| format!("--plugin {}@{}", it.name, it.version)).collect();
            return Err(Failure::User(format!(
                "the checkpoint was made with parts of {}, which this program lacks: use one that has them, or make it with \
                 `mmy build {}` (or the crate's folder in place of name and version)",
                named.join(" and "),
                plugins.join(" ")
            )));
        }
        Self::from_text(&manifest.name, &manifest.config)
    }

    /// Reads a resolved config.
    pub fn from_text(name: &str, text: &str) -> Outcome<Self> {
        let loaded = mmy_config::load_str(&format!("{name}.toml"), text, &Options::default())?;
        let config = from_node::<RunConfig>(&loaded)?;
        Ok(Project { loaded, config, name: name.to_owned() })
    }

    /// `--work-dir`, else the config's, else `work_dirs/NAME`.
    pub fn work_dir(&self, asked: Option<PathBuf>) -> PathBuf {
        asked.or_else(|| self.config.work_dir.clone()).unwrap_or_else(|| Path::new("work_dirs").join(&self.name))
    }

    /// Points errors of parts to their places in the config.
    pub fn place(&self, error: EngineError) -> Failure {
        match error {
            EngineError::Build(error) => self.place_build(error),
            EngineError::AnotherRun { path, mut differences } => {
                for it in &mut differences {
                    it.place = self.loaded.get(&it.key).and_then(|node| self.shown(node));
                }
                EngineError::AnotherRun { path, differences }.into()
            }
            other => other.into(),
        }
    }

    /// `file:line:column` of a value.
    fn shown(&self, node: &mmy_config::Node) -> Option<String> {
        node.loc().map(|it| self.loaded.sources.show(it))
    }

    /// As [`Project::place`], for an error that is one of a part for certain.
    pub fn place_build(&self, error: mmy_registry::BuildError) -> Failure {
        let errors = error.each();
        let findings = errors.iter().map(|it| mmy_check::fault(&self.loaded, it));
        mmy_diag::Report::new(findings, self.loaded.sources.clone()).into()
    }

    /// Height and width of the network's input: as asked, else the config's `img_scale`, else 640.
    pub fn input_size(&self, asked: Option<&[i64]>) -> Outcome<(i64, i64)> {
        let (height, width) = match asked {
            Some(size) => (size[0], size[1]),
            None => {
                let scale =
                    |at: usize| self.loaded.vars.get(&format!("img_scale.{at}")).and_then(mmy_config::Node::as_int);
                // `img_scale` is width, height.
                (scale(1).unwrap_or(640), scale(0).unwrap_or(640))
            }
        };
        if height < 1 || width < 1 {
            return Err(Failure::User(format!("an input of {height}×{width} has no pixels")));
        }
        Ok((height, width))
    }
}

/// What there is besides the files: the environment, and what the command line changes.
pub fn options(args: &ConfigArgs) -> Options {
    Options {
        cfg_options: args.cfg_options.clone(),
        root_keys: RunConfig::keys(),
        elsewhere: Some(mmy_registry::elsewhere),
        ..Options::from_env(&args.set)
    }
}

fn name_of(path: &Path) -> String {
    path.file_stem().map_or_else(|| "config".into(), |it| it.to_string_lossy().into_owned())
}
