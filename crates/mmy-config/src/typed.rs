//! A typed value from a tree, and its failures as findings.

use mmy_diag::{Code, Diagnostic, Report, nearest};
use serde::de::DeserializeOwned;

use crate::{
    Loaded, Node,
    de::{self, Failure, Fault},
    edit::join,
};

/// Reads the root of a config, without its `[vars]`, as a `T`.
///
/// # Errors
/// Every unknown key, unknown name, missing key and wrong value, each with its place. What depends on another finding is
/// left out.
pub fn from_node<T: DeserializeOwned>(loaded: &Loaded) -> Result<T, Report> {
    from_node_at(loaded, "")
}

/// Reads the part of a config at a dotted path as a `T`; see [`from_node`].
///
/// # Errors
/// As [`from_node`]; and when there is nothing at the path.
pub fn from_node_at<T: DeserializeOwned>(loaded: &Loaded, path: &str) -> Result<T, Report> {
    if loaded.root.get(path).is_none() {
        let path: Vec<_> = path.split('.').map(str::to_owned).collect();
        return Err(loaded.diagnose(&path, "this key is missing", None));
    }
    let Reading { value, findings, .. } = read_at(loaded, path);
    match value {
        Some(value) if findings.is_empty() && loaded.errors.is_empty() => Ok(value),
        _ => Err(Report::new(loaded.errors.iter().cloned().chain(findings), loaded.sources.clone())),
    }
}

/// What could be read of a part of a config, and what could not.
#[derive(Debug)]
pub struct Reading<T> {
    /// The value without what is at fault, where that is enough to make one.
    pub value: Option<T>,
    /// What is at fault, each with its place.
    pub findings: Vec<Diagnostic>,
    /// Dotted paths of what was left out: what is at fault, what follows from it, and what is not known.
    pub left_out: Vec<String>,
}

/// Reads as much of the part of a config at a dotted path as there can be had.
pub fn read_at<T: DeserializeOwned>(loaded: &Loaded, path: &str) -> Reading<T> {
    let (mut hidden, mut findings, mut value) = (loaded.faulty.clone(), Vec::new(), None);
    while let Some(node) = loaded.root.get(path) {
        // serde stops at the first failure. Leaving out what failed and reading again finds the next one.
        let failure = match de::read(node, path, &hidden) {
            Ok(read) => {
                value = Some(read);
                break;
            }
            Err(failure) => failure,
        };
        let follows = match &failure.fault {
            Fault::UnknownKey { .. } | Fault::UnknownName { .. } => false,
            Fault::Missing(key) => hidden.contains(&(failure.path.clone(), key.clone())),
            _ => hidden.iter().any(|(parent, _)| *parent == failure.path),
        };
        let at_root = failure.path == path && !matches!(failure.fault, Fault::UnknownKey { .. });
        let news = hidden.insert(failure.hide.clone());
        if !follows {
            findings.push(loaded.with_trail(explain(*failure, loaded)));
        }
        if at_root || !news {
            break;
        }
    }
    let below = |it: &String| path.is_empty() || it == path || it.starts_with(&format!("{path}."));
    let left_out = hidden.iter().map(|(parent, key)| join(parent, key)).filter(below).collect();
    Reading { value, findings, left_out }
}

fn explain(failure: Failure, loaded: &Loaded) -> Diagnostic {
    let Failure { fault, loc, path, .. } = failure;
    let node = loaded.root.get(&path);
    let part = node.and_then(|it| it.child("type")).and_then(Node::as_str);
    let subject = match (path.as_str(), part) {
        ("", _) => "the config".to_owned(),
        (path, Some(part)) => format!("`{path}` ({part})"),
        (path, None) => format!("`{path}`"),
    };
    let finding = match fault {
        Fault::UnknownKey { key, known } => {
            let finding = Diagnostic::new(Code::UnknownKey, format!("{subject} has no key `{key}`"));
            let finding = finding.primary(loc.clone(), "no such key");
            let variable = nearest(&key, loaded.vars.keys()).filter(|_| path.is_empty());
            match (nearest(&key, known.iter().copied()), variable) {
                (None, Some(near)) => finding.help(format!("did you mean the variable `{near}`?")),
                (near, _) => names(finding, near, known, "keys"),
            }
        }
        Fault::UnknownName { name, known } => {
            let finding = Diagnostic::new(Code::UnknownName, format!("nothing is called `{name}` for {subject}"));
            let bare = name.rsplit(['.', ':']).next().unwrap_or(&name);
            let near = nearest(bare, known.iter().copied());
            let mut finding = finding.primary(loc.clone(), "no such name");
            finding.help.extend(loaded.elsewhere.and_then(|it| it(&name, known)));
            names(finding, near, known, "names")
        }
        Fault::Missing(key) => Diagnostic::new(Code::MissingKey, format!("{subject} needs the key `{key}`"))
            .primary(loc.clone(), format!("`{key}` is missing here"))
            .help(if path.is_empty() { format!("add `{key}`") } else { format!("add `{}`", join(&path, &key)) }),
        Fault::Type { found, expected } => {
            let expected = range(&expected).filter(|_| found.contains("whole")).unwrap_or_else(|| plain(&expected));
            let title = format!("{subject} must be {expected}, not {found}");
            let finding = Diagnostic::new(Code::WrongType, title).primary(loc.clone(), format!("must be {expected}"));
            match advice(node, &expected, loaded) {
                Some(help) => finding.help(help),
                None => finding,
            }
        }
        Fault::Length { found, expected } => {
            let expected = plain(&expected);
            let title = format!("{subject} must be {expected}, and this list has {found}");
            Diagnostic::new(Code::WrongType, title).primary(loc.clone(), "")
        }
        Fault::Other(message) => {
            Diagnostic::new(Code::BadValue, format!("{subject} cannot be used: {message}")).primary(loc.clone(), "")
        }
    };
    // Where the type was chosen elsewhere, the reader needs to see it to know which keys there are.
    let chosen = node.and_then(|it| it.child("type")).and_then(|it| it.value.clone());
    let far = |it: &mmy_diag::Loc| loc.as_ref().is_some_and(|loc| loc.file != it.file);
    let finding = finding.note(chosen.clone().filter(far), "the type is chosen here");
    let changed = node.and_then(|it| it.child("type")).is_some_and(|it| !it.overridden.is_empty());
    if changed && finding.code == Code::UnknownKey && chosen.as_ref().is_some_and(far) {
        return finding.help("to drop what was said about the old type, write `_delete_ = true` beside the new one");
    }
    finding
}

fn names(finding: Diagnostic, near: Option<&str>, known: &[&str], what: &str) -> Diagnostic {
    let finding = match near {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding,
    };
    match known {
        [] => finding.help(format!("there are no {what} here")),
        _ => finding.help(format!("known {what}: {}", known.join(", "))),
    }
}

/// What would mend a value of the wrong type.
fn advice(node: Option<&Node>, expected: &str, loaded: &Loaded) -> Option<String> {
    use crate::NodeKind::{Float, Int, List, Str};
    let node = node?;
    let number = expected.contains("number");
    match &node.kind {
        Str(text) if number && text.trim().parse::<f64>().is_ok() => Some("remove the quotes".to_owned()),
        Str(text) if expected == "true or false" && matches!(text.to_lowercase().as_str(), "true" | "false") => {
            Some(format!("write {} without quotes", text.to_lowercase()))
        }
        Float(it) if number && it.fract() == 0.0 => {
            let computed = node.value.as_ref().is_some_and(|it| loaded.sources.text(it).contains("{{"));
            Some(match computed {
                true => "`/` gives a number with a point; `//` divides whole numbers".to_owned(),
                false => format!("write {it:.0} without a point"),
            })
        }
        List(_) => None,
        Int(_) | Float(_) if expected == "text" => Some("put it in quotes".to_owned()),
        _ if expected.starts_with("a list") => Some("put it in brackets: [ … ]".to_owned()),
        _ => None,
    }
}

/// The whole numbers that an integer type holds.
fn range(expected: &str) -> Option<String> {
    let (low, high): (i64, i64) = match expected {
        "u8" => (0, u8::MAX.into()),
        "u16" => (0, u16::MAX.into()),
        "u32" => (0, u32::MAX.into()),
        "i8" => (i8::MIN.into(), i8::MAX.into()),
        "i16" => (i16::MIN.into(), i16::MAX.into()),
        "i32" => (i64::from(i32::MIN), i32::MAX.into()),
        "u64" | "usize" => return Some("zero or more".to_owned()),
        _ => return None,
    };
    Some(format!("a whole number from {low} to {high}"))
}

/// serde's name for what it expected, in the words of a reader of configs.
fn plain(expected: &str) -> String {
    let tail = |prefix: &str| expected.strip_prefix(prefix);
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, zero or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "str" | "string" => "text".to_owned(),
        "path string" => "a path".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        _ if expected.starts_with("a nonzero ") => "a whole number other than zero".to_owned(),
        _ if expected.starts_with("struct ") => "a table".to_owned(),
        _ if expected.starts_with("enum ") => "a name".to_owned(),
        _ => match tail("an array of length ").or(tail("a tuple of size ")) {
            Some(size) => format!("a list of {size}"),
            None => expected.to_owned(),
        },
    }
}
