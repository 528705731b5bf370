//! What to say about an expression that has no value.

use minijinja::{ErrorKind, value::ValueKind};
use mmy_diag::{Code, Diagnostic, nearest};

use crate::resolve::Frame;

/// A circle of references; `frames` are the expressions in it, in order.
pub(crate) fn cycle(frames: &[Frame]) -> Diagnostic {
    let name = |frame: &Frame| {
        let path: Vec<_> = frame.key.1.iter().filter(|it| !it.starts_with('\u{1}')).map(String::as_str).collect();
        format!("`{}`", path.join("."))
    };
    let mut chain: Vec<_> = frames.iter().map(name).collect();
    chain.extend(chain.first().cloned());
    let title = if frames.len() == 1 {
        "an expression refers to itself"
    } else {
        "expressions refer to each other in a circle"
    };
    let last = frames.last().and_then(|it| it.loc.clone());
    let mut finding = Diagnostic::new(Code::ReferenceCycle, title).primary(last, "this closes the circle");
    for frame in &frames[..frames.len().saturating_sub(1)] {
        finding = finding.note(frame.loc.clone(), "through this");
    }
    finding = finding.trail(chain.join(" → "));
    match chain.as_slice() {
        // An expression that means to change what a base says.
        [own, _] => finding.help(format!("the value that a base gives is called `_base_.{}`", own.trim_matches('`'))),
        _ => finding,
    }
}

/// `name` means nothing; `known` are the names that exist where it was looked up.
pub(crate) fn unknown(name: &str, known: &[String]) -> Diagnostic {
    let (table, key) = name.rsplit_once('.').unwrap_or(("", name));
    let title = match table {
        "" => format!("there is no variable and no key `{key}`"),
        _ => format!("`{table}` has no `{key}`"),
    };
    let finding = Diagnostic::new(Code::UnknownReference, title);
    match nearest(key, known.iter().map(String::as_str)) {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None if known.is_empty() => finding,
        None => finding.help(format!("known: {}", known.join(", "))),
    }
}

/// Whether an expression failed since a name in it means nothing.
pub(crate) fn is_undefined(error: &minijinja::Error) -> bool {
    // An operator names only the kinds of its operands.
    error.kind() == ErrorKind::UndefinedError || error.detail().is_some_and(|it| it.contains("undefined"))
}

/// What minijinja says.
pub(crate) fn message(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

/// A kind of value in plain words.
pub(crate) fn describe(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::None => "none",
        ValueKind::Seq | ValueKind::Iterable => "a list",
        ValueKind::Map => "a table",
        ValueKind::Bool => "a boolean",
        ValueKind::Number => "a number",
        ValueKind::String => "text",
        _ => "this",
    }
}
