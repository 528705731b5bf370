//! A Rust file, and the same text with comments and the insides of strings blanked out.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::Finding;

/// A Rust file.
pub struct Source {
    /// Relative to the root.
    pub path: PathBuf,
    /// As written.
    pub text: String,
    /// Of the same length and lines, with spaces for comments and for what strings and characters hold.
    pub code: String,
}

impl Source {
    /// Reads the file at `path` below `root`.
    pub fn read(root: &Path, path: &Path) -> Result<Self> {
        let whole = root.join(path);
        let text = fs::read_to_string(&whole).with_context(|| format!("cannot read {}", whole.display()))?;
        Ok(Source::new(path, text))
    }

    /// A file with this text.
    pub fn new(path: &Path, text: impl Into<String>) -> Self {
        let text = text.into();
        let code = blank(&text);
        Source { path: path.to_owned(), text, code }
    }

    /// The code without the tests at its end.
    pub fn without_tests(&self) -> &str {
        &self.code[..self.tests_begin().unwrap_or(self.code.len())]
    }

    /// The text of its tests: all of it in a `tests` folder, else what stands at its end.
    pub fn tests(&self) -> &str {
        let of_tests = self.path.iter().any(|it| it == "tests" || it == "tests.rs");
        let begin = if of_tests { Some(0) } else { self.tests_begin() };
        &self.text[begin.unwrap_or(self.text.len())..]
    }

    fn tests_begin(&self) -> Option<usize> {
        self.code.find("#[cfg(test)]")
    }

    /// The line of a byte of the text, counted from 1.
    pub fn line(&self, byte: usize) -> usize {
        1 + self.text.as_bytes()[..byte].iter().filter(|it| **it == b'\n').count()
    }

    /// A broken rule at a byte of the text.
    pub fn finding(&self, byte: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line: self.line(byte), what: what.into() }
    }

    /// The bytes at which `word` begins in the code and is not part of a longer name.
    pub fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        words(&self.code, word)
    }
}

/// The bytes at which `word` begins in `text` and is not part of a longer name.
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_name = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
    let bytes = text.as_bytes();
    let (first, last) = (word.as_bytes()[0], word.as_bytes()[word.len() - 1]);
    text.match_indices(word).map(|it| it.0).filter(move |&at| {
        let before = at.checked_sub(1).is_some_and(|it| part_of_name(bytes[it]) && part_of_name(first));
        let after = bytes.get(at + word.len()).is_some_and(|it| part_of_name(*it) && part_of_name(last));
        !before && !after
    })
}

/// Blanks comments and the insides of string and character literals. Lines stay where they are.
fn blank(text: &str) -> String {
    let mut out = text.as_bytes().to_vec();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = match rest[0] {
            b'/' if rest.starts_with(b"//") => rest.iter().position(|it| *it == b'\n').unwrap_or(rest.len()),
            b'/' if rest.starts_with(b"/*") => block_comment(rest),
            b'"' => string(rest),
            b'r' if begins_literal(bytes, at) => raw_string(rest).unwrap_or(0),
            b'\'' => character(rest),
            _ => 0,
        };
        if length == 0 {
            at += 1;
            continue;
        }
        // Plain quotes stay, so that a string still looks like one.
        let quoted = matches!(rest[0], b'"' | b'\'');
        let inside = if quoted { at + 1..at + length - 1 } else { at..at + length };
        for byte in &mut out[inside] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += length;
    }
    String::from_utf8(out).unwrap_or_else(|_| " ".repeat(text.len()))
}

/// Whether the `r` at `at` begins a literal: it ends no name, save the `b` of a raw byte string.
fn begins_literal(bytes: &[u8], at: usize) -> bool {
    let is_name = |it: &u8| it.is_ascii_alphanumeric() || *it == b'_';
    match &bytes[..at] {
        [.., before, b'b'] => !is_name(before),
        [b'b'] | [] => true,
        [.., before] => !is_name(before),
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of `r"…"` or `r#"…"#`, if that is what begins here.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|it| **it == b'#').count();
    let open = 1 + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let end = rest[open + 1..].windows(close.len()).position(|it| it == close)?;
    Some(open + 1 + end + close.len())
}

/// Length of a character literal, or 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let end = rest.iter().skip(3).position(|it| *it == b'\'');
        return end.map_or(0, |it| it + 4);
    }
    // One character of up to four bytes, then the quote.
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(5)]).into_owned();
    let Some(first) = text.chars().next() else { return 0 };
    let close = 1 + first.len_utf8();
    if rest.get(close) == Some(&b'\'') { close + 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let source = Source::new(Path::new("x.rs"), text);
        assert_eq!(source.code.len(), text.len());
        let squeezed = |it: &str| it.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&source.code), squeezed(expect), "{text}");
    }

    #[test]
    fn comments_and_strings_are_blanked() {
        check("a // b\nc", "a c");
        check("a /* b /* c */ d */ e", "a e");
        check(r#"f("x // \" y") // z"#, r#"f(" ")"#);
        check(r##"f(r#"a " b"#, br"c")"##, "f( , b )");
        check(r"let c = 'x'; let d = '\''; let q = '\u{7}';", "let c = ' '; let d = ' '; let q = ' ';");
        check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}");
        check("'\"' + b'ä' unsafe", "' ' + b' ' unsafe");
    }

    #[test]
    fn tests_stand_at_the_end_or_in_a_folder() {
        let text = "fn f() {}\n#[cfg(test)]\nmod tests {}";
        let source = Source::new(Path::new("src/x.rs"), text);
        assert_eq!((source.without_tests(), source.tests()), ("fn f() {}\n", "#[cfg(test)]\nmod tests {}"));
        assert_eq!(Source::new(Path::new("tests/x.rs"), "fn f() {}").tests(), "fn f() {}");
        assert_eq!(Source::new(Path::new("src/x.rs"), "fn f() {}").tests(), "");
    }

    #[test]
    fn words_are_whole_and_lines_are_counted() {
        let source = Source::new(Path::new("x.rs"), "unsafe_code\n// unsafe\nunsafe {}\nnot_unsafe");
        let lines: Vec<_> = source.words("unsafe").map(|it| source.line(it)).collect();
        assert_eq!(lines, [3]);
    }
}
