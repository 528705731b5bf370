//! Lets the binaries and tests of this package find libtorch when they run.
fn main() {
    print!("{}", mmy_libtorch::run_path());
}
