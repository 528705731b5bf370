//! The pages under `docs/` and the schema: what is generated is fresh, and what a page shows is what the tool does.
//!
//! `MMY_UPDATE_DOCS=1` writes what is stale instead of failing; `cargo xtask docs` sets it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use mmy_diag::Code;
use tempfile::TempDir;

use crate::support::{command, copy, folder, ok, root};

fn updates() -> bool {
    std::env::var_os("MMY_UPDATE_DOCS").is_some()
}

/// Compares a file of the repository with what it should be, or writes it.
fn fresh(path: &Path, text: &str, stale: &mut Vec<PathBuf>) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        if updates() {
            fs::write(path, text).unwrap();
        } else {
            stale.push(path.to_owned());
        }
    }
}

fn none_stale(stale: &[PathBuf]) {
    assert!(stale.is_empty(), "stale, run `cargo xtask docs`: {stale:#?}");
}

#[test]
fn the_schema_is_fresh() {
    let mut stale = Vec::new();
    let schema = ok(folder().path(), &["config", "schema"]).out;
    fresh(&root().join("configs/schema.json"), &schema, &mut stale);
    none_stale(&stale);
}

#[test]
fn the_reference_of_parts_is_fresh() {
    let (dir, pages) = (folder(), root().join("docs/parts"));
    ok(dir.path(), &["registry", "docs", "--out", "parts"]);
    let mut stale = Vec::new();
    let names = |it: &Path| -> BTreeSet<_> {
        let entries = fs::read_dir(it).into_iter().flatten();
        entries.map(|it| it.unwrap().file_name()).collect()
    };
    let made = dir.path().join("parts");
    if updates() {
        fs::create_dir_all(&pages).unwrap();
    }
    for name in names(&made) {
        fresh(&pages.join(&name), &fs::read_to_string(made.join(&name)).unwrap(), &mut stale);
    }
    for name in names(&pages).difference(&names(&made)) {
        if updates() {
            fs::remove_file(pages.join(name)).unwrap();
        } else {
            stale.push(pages.join(name));
        }
    }
    none_stale(&stale);
}

#[test]
fn every_code_has_a_page_with_an_example() {
    let pages = root().join("docs/errors");
    let mut without: BTreeSet<_> = Code::ALL.iter().map(|it| format!("{it}.md")).collect();
    let mut stale = Vec::new();
    for entry in fs::read_dir(&pages).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(without.remove(&name), "{} is the page of no code", path.display());
        let id = name.trim_end_matches(".md");
        let code = Code::ALL.iter().find(|it| it.id() == id).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(&format!("# {id}: {}\n", code.title())), "the title of {name} is `{}`", code.title());
        assert_eq!(ok(folder().path(), &["explain", id]).out, text, "`mmy explain` has another page");
        let page = run(&text);
        // Two parts of one name need a binary of their own: registry/tests/clash.rs holds that page.
        // And no constructor of mmy leaves a parameter out.
        if !["E0302", "E0350"].contains(&id) {
            assert!(page.contains(&format!("[{id}]")), "the example of {name} gives another message:\n{page}");
        }
        fresh(&path, &page, &mut stale);
    }
    assert!(without.is_empty(), "codes without a page in docs/errors: {without:?}");
    none_stale(&stale);
}

#[test]
fn the_pages_on_configs_show_what_happens() {
    let mut stale = Vec::new();
    for name in ["config.md", "migrating-from-mmyolo.md"] {
        let path = root().join("docs").join(name);
        fresh(&path, &run(&fs::read_to_string(&path).unwrap()), &mut stale);
    }
    none_stale(&stale);
}

/// The page with the output of its commands as it is now.
///
/// A fenced block that follows a line "`NAME`:" is a file. A block of kind `console` holds commands behind `$ `, each with
/// its output: what it prints on the terminal, save where `> FILE` takes standard output elsewhere. They run one after
/// another in a folder that holds the shipped configs.
fn run(page: &str) -> String {
    let dir = folder();
    copy(&root().join("configs"), &dir.path().join("configs"));
    let (mut out, mut lines, mut last) = (String::new(), page.lines(), "");
    while let Some(line) = lines.next() {
        out += line;
        out.push('\n');
        let Some(kind) = line.strip_prefix("```") else {
            last = if line.is_empty() { last } else { line };
            continue;
        };
        let block: Vec<_> = lines.by_ref().take_while(|it| *it != "```").collect();
        let file = last.strip_prefix('`').and_then(|it| it.strip_suffix("`:"));
        match (kind, file) {
            ("console", _) => {
                for line in block.iter().filter(|it| it.starts_with("$ ")) {
                    out += &format!("{line}\n{}", execute(&dir, &line[2..]));
                }
            }
            (_, file) => {
                let text: String = block.iter().map(|it| format!("{it}\n")).collect();
                if let Some(name) = file {
                    let path = dir.path().join(name);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, &text).unwrap();
                }
                out += &text;
            }
        }
        out += "```\n";
        last = "";
    }
    out
}

/// Runs a line such as `MMY__WORK_DIR=runs mmy config show config.toml > shown.toml`.
fn execute(dir: &TempDir, line: &str) -> String {
    let (line, target) = match line.split_once(" > ") {
        Some((line, target)) => (line, Some(target.trim())),
        None => (line, None),
    };
    let mut words = split(line).into_iter().peekable();
    let mut variables = Vec::new();
    while let Some(word) = words.next_if(|it| it != "mmy") {
        variables.push(word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).expect(line));
    }
    assert_eq!(words.next().as_deref(), Some("mmy"), "{line}");
    let args: Vec<_> = words.collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let output = command(dir.path(), &args).envs(variables).output().unwrap();
    let text = |it: Vec<u8>| String::from_utf8(it).unwrap();
    let (mut shown, err) = (text(output.stdout), text(output.stderr));
    if let Some(target) = target {
        fs::write(dir.path().join(target), std::mem::take(&mut shown)).unwrap();
    }
    // A block of Markdown keeps no blanks at the end of a line.
    let shown = shown + &err;
    let lines = shown.lines().map(|it| format!("{}\n", it.trim_end()));
    let shown: String = lines.collect();
    format!("{}\n", shown.trim_end()).trim_start_matches('\n').to_owned()
}

/// Words as a shell has them, with single quotes.
fn split(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => out.extend(Some(std::mem::take(&mut word)).filter(|it| !it.is_empty())),
            _ => word.push(letter),
        }
    }
    out.extend(Some(word).filter(|it| !it.is_empty()));
    out
}
