//! Set-up, checks and tests of the repository: `cargo xtask`, and `cargo mmy`, which sets up, builds and runs `mmy`.

mod checkout;
mod doctor;
mod fuzz;
mod setup;
mod suite;
mod tidy;

use std::{ffi::OsString, process::ExitCode};

use checkout::Checkout;

const USAGE: &str = "\
cargo xtask COMMAND
  setup      fetch libtorch into this checkout, unless one is there or LIBTORCH names one
  doctor     say what this machine has, what it lacks, and the command that mends it
  test       set up, then run every test, the quick ones first
  fuzz [TARGET] [SECONDS]
             run the fuzz targets, or one, for that long each (600); needs cargo-fuzz and a nightly compiler
  docs       write what is generated again: the schema of configs, the reference of parts, the messages on error pages
  tidy       check the rules of the house: who imports whom, file lengths, parts, prints
  mmy ARGS   set up, build `mmy`, run it (`cargo mmy ARGS` is the same)
";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<OsString> = args.collect();
    match run(&command.to_string_lossy(), &rest) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(1)
        }
    }
}

fn run(command: &str, args: &[OsString]) -> anyhow::Result<ExitCode> {
    let checkout = Checkout::here();
    let text: Vec<_> = args.iter().map(|it| it.to_string_lossy()).collect();
    let text: Vec<&str> = text.iter().map(|it| &**it).collect();
    match (command, text.as_slice()) {
        ("mmy", _) => {
            setup::run(&checkout)?;
            checkout.run_mmy(args)
        }
        ("setup", []) => {
            let libtorch = setup::run(&checkout)?;
            eprintln!("libtorch {} is in {}", libtorch.version, libtorch.lib.display());
            Ok(ExitCode::SUCCESS)
        }
        ("setup", ["--cuda"]) => {
            eprint!("{}", setup::CUDA);
            Ok(ExitCode::from(2))
        }
        ("test", []) => {
            setup::run(&checkout)?;
            suite::run(&checkout)
        }
        ("docs", []) => {
            setup::run(&checkout)?;
            suite::write_docs(&checkout)
        }
        ("doctor", []) => Ok(doctor::run(&checkout)),
        ("fuzz", args) => fuzz::run(&checkout, args),
        ("tidy", []) => tidy::run(&checkout),
        ("" | "help" | "-h" | "--help", _) => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!(
                "error: `cargo xtask {}` is no command\n\n{USAGE}",
                [&[command], text.as_slice()].concat().join(" ")
            );
            Ok(ExitCode::from(2))
        }
    }
}
