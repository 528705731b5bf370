//! A host binary, as a plugin crate has one: what the tests run.
fn main() -> std::process::ExitCode {
    mmy::main()
}
