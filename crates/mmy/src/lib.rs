//! The command line of `mmy`, as a library, so that a plugin crate's host binary is one call to [`main`].

mod cli;
mod commands;
mod failure;
#[cfg(test)]
mod help;
mod logging;
mod manual;
mod output;
mod progress;
mod project;

use std::process::ExitCode;

use clap::Parser;

// A part registers itself when its crate is linked: without these lines the linker drops them.
use mmy_data as _;
use mmy_engine as _;
use mmy_eval as _;
use mmy_models as _;

/// As [`main`], for a host that `mmy build` makes: it knows the hash of each plugin's source, by the crate's name.
pub fn main_of_host(sources: &'static [(&'static str, &'static str)]) -> ExitCode {
    mmy_registry::note_sources(sources);
    main()
}

/// Parses the arguments, runs the command, says what went wrong, and sets the exit status: 0 when all went well, 2 for a
/// mistake in what the user gave (arguments, config, files), 1 for anything else, 130 after Ctrl-C.
pub fn main() -> ExitCode {
    mmy_torch::alloc::tune_allocator();
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // The engine turns it into an error that says what to lower.
        let text = panic.payload().downcast_ref::<String>();
        if !text.is_some_and(|it| mmy_engine::is_out_of_memory(it)) {
            usual(panic);
        }
    }));
    let cli = cli::Cli::parse();
    if cli.quiet {
        logging::quiet();
    }
    if let Err(clash) = mmy_registry::check() {
        eprintln!("error: {clash}\n  rename one of the two in its `register!` line");
        return ExitCode::from(2);
    }
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprint!("{}", failure.render());
            failure.exit_code()
        }
    }
}
