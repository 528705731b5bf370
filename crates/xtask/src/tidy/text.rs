//! Rules that one file breaks or keeps on its own.

use std::path::Path;

use super::{
    Finding,
    source::{Source, words},
};

/// A file that grows past this has more than one thing in it.
const MAX_LINES: usize = 600;

/// The macros and streams that print.
const PRINTS: [&str; 8] =
    ["println!", "eprintln!", "print!", "eprint!", "io::stdout", "io::stderr", "stdout()", "stderr()"];

/// What nobody may write, and what to do instead.
const BANNED: [(&str, &str); 7] = [
    ("todo!", "build it, or leave it out"),
    ("unimplemented!", "build it, or leave it out"),
    ("dbg!", "use a `tracing` event"),
    ("should_panic", "return an error and test for it"),
    ("#[ignore", "a test runs, or it is removed"),
    ("#[allow(", "use `#[expect(…, reason = \"…\")]`, which says when it is no longer needed"),
    ("#![allow(", "use `#![expect(…, reason = \"…\")]`, which says when it is no longer needed"),
];

/// Checks one file.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut out = Vec::new();
    let lines = source.text.lines().count();
    if lines > MAX_LINES {
        out.push(source.finding(source.text.len(), format!("{lines} lines; a file has at most {MAX_LINES}: split it")));
    }
    for (word, instead) in BANNED {
        out.extend(source.words(word).map(|at| source.finding(at, format!("`{word}`: {instead}"))));
    }
    for word in [concat!("FIX", "ME"), concat!("TO", "DO"), concat!("XX", "X")] {
        out.extend(
            words(&source.text, word).map(|at| source.finding(at, format!("`{word}`: do it, or open an issue"))),
        );
    }
    if !may_print(&source.path) {
        for word in PRINTS {
            let what = || format!("`{word}`: only crates/mmy prints; emit a `tracing` event");
            out.extend(source.words(word).map(|at| source.finding(at, what())));
        }
    }
    if !source.path.starts_with("crates/mmy-torch") {
        let what = "`unsafe` stands in crates/mmy-torch alone";
        out.extend(source.words("unsafe").map(|at| source.finding(at, what)));
    }
    out.extend(expectations(source));
    out.extend(serde_attributes(source));
    // `stdout()` is part of `io::stdout()`, say: one finding for each line and rule is enough.
    out.dedup_by(|a, b| a.line == b.line && a.what.contains("prints") && b.what.contains("prints"));
    out
}

/// The command line, the set-up, and what is not part of a library.
fn may_print(path: &Path) -> bool {
    let program = ["crates/mmy", "crates/xtask"].iter().any(|it| path.starts_with(it));
    let beside = path.file_name().is_some_and(|it| it == "build.rs")
        || path.components().any(|it| ["tests", "examples", "benches"].iter().any(|name| it.as_os_str() == *name));
    program || beside
}

fn expectations(source: &Source) -> impl Iterator<Item = Finding> + '_ {
    attributes(source, "expect(")
        .filter(|(_, inside)| !inside.contains("reason"))
        .map(|(at, _)| source.finding(at, "`#[expect(…)]` without a reason: say why"))
}

fn serde_attributes(source: &Source) -> impl Iterator<Item = Finding> + '_ {
    attributes(source, "serde(").flat_map(move |(at, inside)| {
        ["flatten", "untagged"]
            .into_iter()
            .filter(move |it| words(inside, it).next().is_some())
            .map(move |it| source.finding(at, format!("`serde({it})` loses the place of an error: write the keys out")))
    })
}

/// The attributes `#[name…]` and `#![name…]`: where each begins, and what stands in it.
fn attributes<'a>(source: &'a Source, name: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    source.code.match_indices(name).filter_map(|(at, _)| {
        let before = source.code[..at].trim_end();
        if !before.ends_with("#[") && !before.ends_with("#![") {
            return None;
        }
        let inside = &source.code[at + name.len()..];
        Some((at, &inside[..closing(inside)?]))
    })
}

/// The byte of the parenthesis that closes one opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    text.bytes().position(|it| {
        match it {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expect`: the lines with findings, and a piece of each text.
    #[track_caller]
    fn check_in(path: &str, text: &str, expect: &[(usize, &str)]) {
        let found = check(&Source::new(Path::new(path), text));
        let lines: Vec<_> = found.iter().map(|it| it.line).collect();
        assert_eq!(lines, expect.iter().map(|it| it.0).collect::<Vec<_>>(), "{text}: {found:?}");
        for (finding, (_, piece)) in found.iter().zip(expect) {
            assert!(finding.what.contains(piece), "{finding}");
        }
    }

    #[track_caller]
    fn check_library(text: &str, expect: &[(usize, &str)]) {
        check_in("crates/mmy-nn/src/x.rs", text, expect);
    }

    #[test]
    fn what_is_banned_is_found_with_its_line() {
        check_library("fn f() {\n    todo!()\n}", &[(2, "build it")]);
        check_library("#[test]\n#[ignore]\nfn f() {}", &[(2, "removed")]);
        check_library("#[should_panic(expected = \"x\")]", &[(1, "return an error")]);
        check_library("#[allow(dead_code)]\nfn f() {}", &[(1, "expect")]);
        check_library("#![allow(dead_code)]", &[(1, "expect")]);
        check_library(concat!("\n// TO", "DO: later"), &[(2, "open an issue")]);
    }

    #[test]
    fn what_is_only_mentioned_is_not() {
        check_library("// todo!() is banned, as is println!\n/// `unsafe`\nconst S: &str = \"dbg!(unsafe)\";", &[]);
        check_library("#[expect(unsafe_code, reason = \"x\")]\nfn f() {}", &[]);
    }

    #[test]
    fn only_the_command_line_prints() {
        let text = "fn f() {\n    println!(\"x\");\n}";
        check_library(text, &[(2, "only crates/mmy prints")]);
        check_library("use std::io;\nfn f() { io::stdout().flush(); }", &[(2, "only crates/mmy prints")]);
        for path in ["crates/mmy/src/x.rs", "crates/mmy-nn/build.rs", "crates/mmy-nn/tests/x.rs", "tests/tests/x.rs"] {
            check_in(path, text, &[]);
        }
    }

    #[test]
    fn unsafe_stands_in_one_crate() {
        let text = "fn f() {\n    unsafe { g() }\n}";
        check_library(text, &[(2, "mmy-torch")]);
        check_in("crates/mmy-torch/src/x.rs", text, &[]);
    }

    #[test]
    fn an_expectation_has_a_reason() {
        check_library("#[expect(dead_code)]\nfn f() {}", &[(1, "without a reason")]);
        check_library("#[expect(\n    dead_code,\n    reason = \"used (later)\"\n)]\nfn f() {}", &[]);
        check_library("fn f() { x.expect(\"y\"); }", &[]);
    }

    #[test]
    fn serde_keeps_places() {
        check_library("#[serde(default, flatten)]\nx: X,", &[(1, "flatten")]);
        check_library("#[serde(untagged)]\nenum E {}", &[(1, "untagged")]);
        check_library("#[serde(rename = \"flatten\")]\nx: X,", &[]);
    }

    #[test]
    fn a_long_file_is_to_be_split() {
        check_library(&"\n".repeat(MAX_LINES), &[]);
        check_library(&"\n".repeat(MAX_LINES + 1), &[(MAX_LINES + 2, "split it")]);
    }
}
