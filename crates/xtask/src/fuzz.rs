//! `cargo xtask fuzz`: the fuzz targets of `fuzz/`, one after the other, from the seeds that are kept with them.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;

/// Real checkpoints, which are seeds of the targets that read weights.
const CHECKPOINTS: &str = "tests/fixtures/weights";

/// Runs all targets or the named one; a find ends the run, and cargo-fuzz says where it lies.
pub fn run(checkout: &Checkout, args: &[&str]) -> Result<ExitCode> {
    let mut targets = targets(&checkout.root)?;
    let mut seconds = "600";
    for &arg in args {
        if arg.bytes().all(|it| it.is_ascii_digit()) {
            seconds = arg;
        } else if targets.iter().any(|it| it == arg) {
            targets = vec![arg.to_owned()];
        } else {
            bail!("`{arg}` is no fuzz target: there are {}", targets.join(", "));
        }
    }
    for target in &targets {
        let corpus = format!("fuzz/corpus/{target}");
        fs::create_dir_all(checkout.root.join(&corpus)).with_context(|| format!("cannot make {corpus}"))?;
        let seeds = format!("fuzz/seeds/{target}");
        let mut folders = vec![corpus.as_str()];
        folders.extend(checkout.root.join(&seeds).is_dir().then_some(seeds.as_str()));
        folders.extend(["pth", "safetensors"].contains(&target.as_str()).then_some(CHECKPOINTS));
        let time = format!("-max_total_time={seconds}");
        eprintln!("== {target}, {seconds} s");
        // Through rustup: the cargo that runs xtask belongs to a toolchain and knows of no other.
        let status = Command::new("rustup")
            .args(["run", "nightly", "cargo", "fuzz", "run", target])
            .current_dir(&checkout.root)
            .env_remove("CARGO")
            .env_remove("RUSTUP_TOOLCHAIN")
            .args(&folders)
            // Limits that hold what the readers promise: no input of 16 kB needs a gigabyte, or twenty seconds.
            .args(["--", &time, "-max_len=16384", "-timeout=20", "-rss_limit_mb=2048", "-malloc_limit_mb=1024"])
            .status()
            .context("rustup does not run; fuzzing needs it, for a nightly compiler")?;
        if !status.success() {
            eprintln!(
                "{target} did not get through: what was found, if it ran, is in fuzz/artifacts/{target}: make it a test"
            );
            return Ok(ExitCode::from(1));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Names of the targets, sorted.
fn targets(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut out: Vec<_> =
        entries.flatten().filter_map(|it| Some(it.file_name().to_str()?.strip_suffix(".rs")?.to_owned())).collect();
    out.sort();
    Ok(out)
}
