//! `mmy new plugin`: a crate with parts of one's own, to begin from.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Subcommand;

use crate::{
    commands::build::source::MmySource,
    failure::{Failure, Outcome},
    output::show,
};

#[derive(Debug, Subcommand)]
pub enum NewCommand {
    /// Make a crate with one part of several kinds, their tests and a config
    #[command(after_help = "\
Examples:
  mmy new plugin my_blocks
  mmy new plugin my_blocks --dir ~/work
  cd my_blocks && cargo test --release
  mmy build --plugin ./my_blocks -o my-mmy")]
    Plugin {
        /// Name of the crate, such as `my_blocks`
        name: String,
        /// Folder in which the crate's own folder is made
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
    },
}

/// The files of a new crate. `{{name}}` is the crate's name, `{{ident}}` the same as Rust writes it, `{{mmy}}` the folder of
/// mmy's source.
const FILES: [(&str, &str); 11] = [
    ("Cargo.toml", include_str!("new/template/Cargo.toml.in")),
    ("build.rs", include_str!("new/template/build.rs.in")),
    (".cargo/config.toml", include_str!("new/template/cargo_config.toml.in")),
    (".gitignore", "/target\n/work_dirs\n/data\n"),
    ("README.md", include_str!("new/template/README.md.in")),
    ("src/lib.rs", include_str!("new/template/src/lib.rs.in")),
    ("src/gate.rs", include_str!("new/template/src/gate.rs.in")),
    ("src/smoothed_bce.rs", include_str!("new/template/src/smoothed_bce.rs.in")),
    ("src/random_gray.rs", include_str!("new/template/src/random_gray.rs.in")),
    ("src/loss_record.rs", include_str!("new/template/src/loss_record.rs.in")),
    ("configs/example.toml", include_str!("new/template/configs/example.toml.in")),
];

pub fn run(command: &NewCommand) -> Outcome {
    let NewCommand::Plugin { name, dir } = command;
    check_name(name)?;
    let folder = dir.join(name);
    if folder.exists() {
        return Err(Failure::User(format!("`{}` is there already: choose another name or `--dir`", folder.display())));
    }
    let mmy = MmySource::find()?;
    for (path, text) in FILES {
        write(&folder.join(path), &fill(text, name, &mmy))?;
    }
    // The versions that mmy itself was built with, so that nothing of it is compiled twice.
    let lock = mmy.root().join("Cargo.lock");
    fs::copy(&lock, folder.join("Cargo.lock")).map_err(Failure::io("copy", &lock))?;
    show(&format!(
        "{folder} is a crate with a neck (`Gate`), a loss (`SmoothedBCE`), a transform (`RandomGray`) and a hook \
         (`LossRecordHook`).\nGo on with:\n  mmy build --plugin {folder} -o my-mmy\n  ./my-mmy registry list\n  \
         ./my-mmy train {folder}/configs/example.toml\n",
        folder = folder.display()
    ))
}

fn check_name(name: &str) -> Outcome {
    let good = name.starts_with(|it: char| it.is_ascii_lowercase())
        && name.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_' || it == '-');
    let message =
        |why: &str| Failure::User(format!("`{name}` {why}: use small letters, digits and `_`, as in `my_blocks`"));
    if !good {
        return Err(message("is no name of a crate"));
    }
    if name.starts_with("mmy") || ["core", "std", "alloc", "test", "self", "super", "crate"].contains(&name) {
        return Err(message("is a name that others have"));
    }
    Ok(())
}

fn fill(text: &str, name: &str, mmy: &MmySource) -> String {
    let root = mmy.root().display().to_string().replace('\\', "/");
    text.replace("{{name}}", name)
        .replace("{{ident}}", &name.replace('-', "_"))
        .replace("{{mmy}}", &root)
        .replace("{{profile}}", mmy.profile().trim_end())
}

fn write(path: &Path, text: &str) -> Outcome {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Failure::io("make", folder))?;
    }
    fs::write(path, text).map_err(Failure::io("write", path))
}
