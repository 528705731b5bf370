//! `--set` items and `MMY_…` environment variables to edits.

use mmy_diag::{Code, Diagnostic, Loc, Sources};

use crate::{
    Node, NodeKind,
    edit::{Edit, Op, Step},
    mmengine, read,
};

/// In which language the value of an item is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Spelling {
    /// TOML's; text needs no quotes.
    Toml,
    /// That of mmengine's `--cfg-options`.
    Mmengine,
}

/// Reads one item: `key.path.0.prob=0.3`, `key+=[…]`, `key.+1=…`, `~key`.
///
/// # Errors
/// A finding that points into the item.
pub(crate) fn item(text: &str, file: usize, spelling: Spelling) -> Result<Edit, Box<Diagnostic>> {
    let whole = Loc::new(file, 0..text.len());
    let bad = |title: &str| Diagnostic::new(Code::BadOverride, title).primary(whole.clone(), "");
    if let Some(key) = text.strip_prefix('~') {
        let path = steps(key, 1, file).ok_or_else(|| bad("no key after `~`"))?;
        return Ok(Edit { path, op: Op::Remove });
    }
    let Some(equals) = outside_quotes(text, '=') else {
        let help = "write `key=value`, `key+=[…]` to add to a list, `key.+1=value` to put something into one, or `~key` \
                    to remove a key";
        return Err(Box::new(bad("there is no `=` in this item").help(help)));
    };
    let (key, appends) = match text[..equals].strip_suffix('+') {
        Some(key) => (key, true),
        None => (&text[..equals], false),
    };
    let mut path = steps(key, 0, file).ok_or_else(|| bad("the key is empty, has an empty part, or is too deep"))?;
    let (text, start) = (&text[equals + 1..], equals + 1);
    let mut node = match spelling {
        Spelling::Toml => value(text, file, start)?,
        Spelling::Mmengine => mmengine::value(text, &Loc::new(file, start..start + text.len())),
    };
    node.key = path.last().map(|it| it.loc.clone());
    let inserts = |it: &Step| it.name.strip_prefix('+').is_some_and(|it| it.parse::<i64>().is_ok());
    let inserted = if !appends && path.len() > 1 { path.pop_if(|it| inserts(it)) } else { None };
    let op = match inserted {
        Some(at) => Op::Insert(at, node),
        None if appends => Op::Append(node),
        None => Op::Set(node),
    };
    Ok(Edit { path, op })
}

/// The environment variables that belong to the config: `MMY_A__B=value` sets `a.b`, and `MMY__A=value` sets `a`. The
/// double underscore tells them from settings of the program such as `MMY_LOG`, which never reach a config.
pub(crate) fn environment<'a>(
    variables: impl IntoIterator<Item = (&'a String, &'a String)>,
    sources: &mut Sources,
    out: &mut Vec<Diagnostic>,
) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (name, text) in variables {
        let Some(key) = name.strip_prefix("MMY_").filter(|_| name.contains("__")) else { continue };
        let file = sources.add("environment", format!("{name}={text}"));
        let start = name.len() - key.len();
        let (key, start) = key.strip_prefix('_').map_or((key, start), |rest| (rest, start + 1));
        let mut at = start;
        let path: Vec<_> = key
            .split("__")
            .map(|part| {
                let loc = Loc::new(file, at..at + part.len());
                at += part.len() + 2;
                Step { name: part.to_lowercase(), loc }
            })
            .collect();
        if path.iter().any(|it| it.name.is_empty()) || path.len() > DEEPEST {
            let title = format!("the environment variable `{name}` names no key");
            let finding = Diagnostic::new(Code::BadOverride, title).primary(Loc::new(file, 0..name.len()), "");
            out.push(finding.help("write `MMY_TABLE__KEY`, or `MMY__KEY` for a key at the root"));
            continue;
        }
        match value(text, file, name.len() + 1) {
            Ok(mut node) => {
                node.key = path.last().map(|it| it.loc.clone());
                edits.push(Edit { path, op: Op::Set(node) });
            }
            Err(finding) => out.push(*finding),
        }
    }
    edits
}

/// A TOML value, or text where it is none: `--set optimizer.type=SGD` needs no quotes.
fn value(text: &str, file: usize, offset: usize) -> Result<Node, Box<Diagnostic>> {
    let blanks = text.len() - text.trim_start().len();
    let (text, offset) = (text.trim(), offset + blanks);
    let loc = Loc::new(file, offset..offset + text.len());
    let bad = |title: String| Diagnostic::new(Code::BadOverride, title).primary(loc.clone(), "");
    if text.is_empty() {
        let help = "write `key=\"\"` for empty text, or `~key` to remove the key";
        return Err(Box::new(bad("there is no value after `=`".to_owned()).help(help)));
    }
    let mut findings = Vec::new();
    match read::value(text, file, offset, &mut findings) {
        // What TOML takes for a date or a number too large is text here, since nobody quotes on a command line.
        Ok(node) if findings.is_empty() => Ok(node),
        Err(message) if text.starts_with(['[', '"', '\'']) || (text.starts_with('{') && !text.starts_with("{{")) => {
            let help = "quote the whole item for your shell, as in 'key=[\"a\", \"b\"]'";
            Err(Box::new(bad(format!("this is no TOML value: {message}")).help(help)))
        }
        _ => Ok(Node::new(NodeKind::Str(text.to_owned()), loc)),
    }
}

/// How many parts a key may have. No config is as deep, and no tree may become so deep that walking it exhausts the stack.
const DEEPEST: usize = 64;

/// Splits a dotted key; a part may be quoted. `None` when a part is empty, or when there are too many.
fn steps(key: &str, offset: usize, file: usize) -> Option<Vec<Step>> {
    let mut out = Vec::new();
    let (mut rest, mut at) = (key, offset);
    loop {
        let end = outside_quotes(rest, '.').unwrap_or(rest.len());
        let part = rest[..end].trim();
        let start = at + (rest[..end].len() - rest[..end].trim_start().len());
        let bare = ['"', '\''].iter().find_map(|&it| part.strip_prefix(it)?.strip_suffix(it)).unwrap_or(part);
        if part.is_empty() || out.len() == DEEPEST {
            return None;
        }
        out.push(Step { name: bare.to_owned(), loc: Loc::new(file, start..start + part.len()) });
        if end == rest.len() {
            return Some(out);
        }
        rest = &rest[end + 1..];
        at += end + 1;
    }
}

fn outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let mut quote = None;
    for (at, letter) in text.char_indices() {
        match quote {
            Some(open) if letter == open => quote = None,
            None if letter == wanted => return Some(at),
            None if matches!(letter, '"' | '\'') => quote = Some(letter),
            _ => {}
        }
    }
    None
}
