//! Files and folders that the config names.

use std::path::Path;

use mmy_diag::{Code, Diagnostic, nearest};
use mmy_registry::Reads;

use crate::{Purpose, context::Context};

/// Looks whether everything that will be read is there. Of a data set that is not there at all only one thing is said.
pub fn check(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    if cx.purpose == Purpose::Model {
        return;
    }
    let mut missing_roots = Vec::new();
    for part in cx.parts.iter().filter(|it| cx.concerns(&it.path)) {
        for reads in &part.outline.reads {
            let key = format!("{}.{}", part.path, reads.key);
            let root = reads.root.as_deref().filter(|it| !it.as_os_str().is_empty() && !it.is_dir());
            match root {
                Some(root) if !missing_roots.contains(&root) => {
                    missing_roots.push(root);
                    out.push(elsewhere(cx, root, &part.path));
                }
                Some(_) => {}
                None => out.extend(missing(cx, reads, &key)),
            }
        }
    }
    let weights = cx.get("load_from").and_then(|it| it.as_str());
    if let Some(path) = weights.filter(|it| !Path::new(it).is_file()) {
        out.push(not_there(cx, Path::new(path), false, "load_from"));
    }
}

fn missing(cx: &Context<'_>, reads: &Reads, key: &str) -> Option<Diagnostic> {
    let path = if reads.path.as_os_str().is_empty() { Path::new(".") } else { &reads.path };
    let there = if reads.folder { path.is_dir() } else { path.is_file() };
    (!there).then(|| not_there(cx, path, reads.folder, key))
}

fn not_there(cx: &Context<'_>, path: &Path, folder: bool, key: &str) -> Diagnostic {
    let shown = path.display();
    let title = match (folder, path.exists()) {
        (true, true) => format!("`{shown}` is no folder"),
        (false, true) => format!("`{shown}` is no file"),
        (true, false) => format!("there is no folder `{shown}`"),
        (false, false) => format!("there is no file `{shown}`"),
    };
    let finding = cx.finding(Code::NotThere, title, key);
    // The first part of the path that is missing is where the slip is.
    let mut parent = path;
    let mut name = None;
    while let Some(up) = parent.parent().filter(|_| !parent.exists()) {
        name = parent.file_name().map(|it| it.to_string_lossy().into_owned());
        parent = if up.as_os_str().is_empty() { Path::new(".") } else { up };
    }
    let Some(name) = name else { return finding };
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|it| it.file_name().to_string_lossy().into_owned()).take(10_000).collect();
    names.sort();
    match nearest(&name, names.iter().map(String::as_str)) {
        Some(near) => finding.help(format!("`{}` has `{near}`: did you mean that?", parent.display())),
        None => finding.help(format!("`{}` has no `{name}`", parent.display())),
    }
}

fn elsewhere(cx: &Context<'_>, root: &Path, part: &str) -> Diagnostic {
    let here = matches!(cx.purpose, Purpose::Training | Purpose::Testing);
    let code = if here { Code::NotThere } else { Code::DataElsewhere };
    let title = format!("there is no folder `{}`, where the data set should be", root.display());
    let key =
        if cx.get(&format!("{part}.data_root")).is_some() { format!("{part}.data_root") } else { part.to_owned() };
    let finding = cx.finding(code, title, &key);
    match cx.loaded.vars.get("data_root") {
        Some(_) => finding.help("put the data there, or say where they are: --set data_root=…"),
        None => finding.help(format!("put the data there, or say where they are: --set {key}=…")),
    }
}
