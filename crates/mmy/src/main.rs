//! The `mmy` binary.
fn main() -> std::process::ExitCode {
    mmy::main()
}
