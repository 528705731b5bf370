//! `cargo xtask test`: every test, the quick ones first, and a summary that can be read at a glance.

use std::{
    io::{BufRead, BufReader},
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::checkout::Checkout;

/// Packages that do without libtorch: their tests are compiled and run in seconds.
pub const QUICK: [&str; 7] =
    ["mmy-config", "mmy-diag", "mmy-formats", "mmy-libtorch", "mmy-plot", "mmy-registry", "xtask"];

/// Runs the tests and prints the summary.
pub fn run(checkout: &Checkout) -> Result<ExitCode> {
    let start = Instant::now();
    let quick: Vec<_> = QUICK.iter().flat_map(|it| ["--package", it]).collect();
    eprintln!("== the quick tests, without libtorch");
    let report = cargo_test(checkout, &quick)?;
    if !report.passed() {
        print!("{}", report.summary("quick tests", start.elapsed()));
        return Ok(ExitCode::from(1));
    }
    eprintln!("== every test; libtorch's C++ binding is compiled the first time, which takes some minutes");
    let report = cargo_test(checkout, &["--workspace"])?;
    print!("{}", report.summary("tests", start.elapsed()));
    Ok(ExitCode::from(u8::from(!report.passed())))
}

/// Writes again what is generated: the tests that hold it fresh do so when they are asked to.
pub fn write_docs(checkout: &Checkout) -> Result<ExitCode> {
    let test = ["test", "--release", "--package", "mmy-tests", "--test", "it", "--", "docs::"];
    let status = checkout.cargo(&test).env("MMY_UPDATE_DOCS", "1").status().context("cargo does not run")?;
    Ok(ExitCode::from(u8::from(!status.success())))
}

/// What the test programs said, added up.
#[derive(Debug, Default, PartialEq)]
struct Report {
    /// Test programs that gave a result.
    programs: usize,
    passed: usize,
    failed: usize,
    /// `test NAME ... FAILED` lines, in order.
    failures: Vec<String>,
    /// Whether cargo itself was content; a test that does not compile fails nothing.
    cargo: bool,
}

impl Report {
    fn passed(&self) -> bool {
        self.cargo && self.failed == 0
    }

    /// Takes in one line of a test program's output.
    fn read(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|it| it.strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
        }
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        self.programs += 1;
        let count = |what: &str| {
            let words: Vec<_> = counts.split([' ', ';']).filter(|it| !it.is_empty()).collect();
            let at = words.iter().position(|it| *it == what)?;
            words.get(at.checked_sub(1)?)?.parse::<usize>().ok()
        };
        self.passed += count("passed").unwrap_or(0);
        self.failed += count("failed").unwrap_or(0);
    }

    fn summary(&self, what: &str, took: Duration) -> String {
        let mut out = String::from("\n");
        for name in &self.failures {
            out += &format!("FAILED  {name}\n");
        }
        let verdict = if self.passed() { "ok" } else { "FAILED" };
        let seconds = took.as_secs();
        out += &format!(
            "{what} {verdict}: {} passed, {} failed, in {} test programs and {} min {} s\n",
            self.passed,
            self.failed,
            self.programs,
            seconds / 60,
            seconds % 60
        );
        if !self.cargo && self.failed == 0 {
            out += "cargo stopped before the tests were through; the reason is above\n";
        }
        out
    }
}

fn cargo_test(checkout: &Checkout, packages: &[&str]) -> Result<Report> {
    let mut args = vec!["test", "--release", "--no-fail-fast"];
    args.extend(packages);
    let mut child = checkout.cargo(&args).stdout(Stdio::piped()).spawn().context("cargo does not run")?;
    let mut report = Report::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            report.read(&line);
        }
    }
    report.cargo = child.wait()?.success();
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, cargo: bool) -> Report {
        let mut report = Report { cargo, ..Report::default() };
        text.lines().for_each(|it| report.read(it));
        report
    }

    #[test]
    fn counts_are_added_up_and_failures_named() {
        let report = read(
            "running 3 tests\n\
             test a::works ... ok\n\
             test a::breaks ... FAILED\n\
             test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.00s\n",
            false,
        );
        assert_eq!((report.programs, report.passed, report.failed), (2, 42, 1));
        assert!(!report.passed());
        let text = report.summary("tests", Duration::from_secs(61));
        assert!(text.contains("FAILED  a::breaks"), "{text}");
        assert!(text.contains("42 passed, 1 failed, in 2 test programs and 1 min 1 s"), "{text}");
    }

    #[test]
    fn a_test_that_does_not_compile_is_no_success() {
        let report = read("test result: ok. 1 passed; 0 failed;", false);
        assert!(!report.passed());
        let text = report.summary("tests", Duration::ZERO);
        assert!(text.contains("cargo stopped"), "{text}");
    }

    #[test]
    fn all_well() {
        let report = read("test result: ok. 1 passed; 0 failed;", true);
        assert!(report.passed());
    }
}
