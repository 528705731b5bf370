//! The checkout that this program works on, and running cargo and `mmy` in it.

use std::{
    env,
    ffi::OsString,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

/// A checkout of the repository.
pub struct Checkout {
    /// The folder of the workspace's `Cargo.toml`.
    pub root: PathBuf,
}

impl Checkout {
    /// The checkout that this program was started from or, started without cargo, built from.
    pub fn here() -> Self {
        let package = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let package = PathBuf::from(package);
        let root = package.ancestors().nth(2).unwrap_or(&package).to_owned();
        Checkout { root }
    }

    /// A cargo command, started in the root so that it reads the checkout's `.cargo/config.toml`.
    pub fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(&self.root);
        command
    }

    /// Builds `mmy` and becomes it: the user's folder, arguments, exit status and signals are its own.
    pub fn run_mmy(&self, args: &[OsString]) -> Result<ExitCode> {
        let mmy = built_binary("mmy")?;
        if !mmy.exists() {
            eprintln!("building mmy; the first time takes some minutes");
        }
        let status = self.cargo(&["build", "--release", "--package", "mmy"]).status().context("cargo does not run")?;
        if !status.success() {
            return Ok(ExitCode::from(1));
        }
        // So that it can say how to be called again.
        become_program(Command::new(&mmy).args(args).env("MMY_COMMAND", "cargo mmy"))
            .with_context(|| format!("{} does not run", mmy.display()))
    }
}

/// What a command prints.
///
/// # Errors
/// When it does not run, or fails; then with its own words.
pub fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command.output().with_context(|| format!("{} does not run", program.display()))?;
    if !output.status.success() {
        bail!("{} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A binary of the release profile: this program's neighbour, whatever the target folder is called.
fn built_binary(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("this program does not know where it lies")?;
    let target = own.ancestors().nth(2).context("this program lies in no target folder")?;
    Ok(target.join("release").join(format!("{name}{}", env::consts::EXE_SUFFIX)))
}

#[cfg(unix)]
fn become_program(command: &mut Command) -> std::io::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec())
}

#[cfg(not(unix))]
fn become_program(command: &mut Command) -> std::io::Result<ExitCode> {
    let code = command.status()?.code().unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
