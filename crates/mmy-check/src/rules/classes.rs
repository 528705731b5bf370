//! As many classes in the model as in the data, under names that the annotations have.

use mmy_config::Node;
use mmy_data::DatasetOutline;
use mmy_diag::{Code, Diagnostic, nearest};

use crate::{context::Context, model::Built};

/// Holds the model's classes against each data set's, each data set's against its annotations, and all against the first.
pub fn check(cx: &Context<'_>, built: Option<&Built>, out: &mut Vec<Diagnostic>) {
    let mut first: Option<(String, Vec<String>)> = None;
    let mut told = false;
    for pass in cx.passes() {
        let path = format!("{}.dataset", pass.path);
        let Some(outline) = cx.fact::<DatasetOutline>(&path) else { continue };
        let key = format!("{path}.{}", outline.classes_key);
        let known = outline.annotations.peek().classes;
        if let (Some(known), Some(file)) = (&known, outline.annotations.classes_file()) {
            for name in outline.classes.iter().filter(|it| !known.contains(it)) {
                let title = format!("`{}` has no category `{name}`", file.display());
                let finding = cx.finding(Code::UnknownClass, title, &key);
                let near = nearest(name, known.iter().map(String::as_str)).map(|it| format!("did you mean `{it}`?"));
                let finding = near.into_iter().fold(finding, Diagnostic::help);
                out.push(finding.help(format!("it has: {}", few(known))));
            }
        }
        let classes = if outline.classes.is_empty() { known.unwrap_or_default() } else { outline.classes.clone() };
        if classes.is_empty() {
            continue;
        }
        match &first {
            Some((other, names)) if *names != classes => {
                let title =
                    format!("this data set has the classes {}, and `{other}` has {}", few(&classes), few(names));
                let finding = cx.finding(Code::ClassesDiffer, title, &key);
                out.push(
                    finding.help("name the same classes in the same order: the index of a class is what is learnt"),
                );
            }
            Some(_) => {}
            None => first = Some((path, classes.clone())),
        }
        let Some(model) = built.map(|it| it.net.num_classes()).filter(|it| *it != classes.len() && !told) else {
            continue;
        };
        told = true;
        out.push(count(cx, model, &classes, &key));
    }
}

fn count(cx: &Context<'_>, model: usize, classes: &[String], key: &str) -> Diagnostic {
    let at = find(cx.get("model.bbox_head"), "num_classes", "model.bbox_head")
        .or_else(|| find(cx.get("model"), "nc", "model"))
        .unwrap_or_else(|| "model".to_owned());
    let (n, names) = (classes.len(), few(classes));
    let title = format!("the model tells {model} classes apart, and the data set has {n}: {names}");
    // What is to be changed is the variable, where there is one.
    let variable = cx.loaded.vars.get("num_classes").filter(|it| it.as_int() == Some(model as i64));
    let finding = match variable {
        Some(node) => {
            let finding = Diagnostic::new(Code::ClassCount, title).primary(node.loc().cloned(), "");
            cx.loaded.with_trail(finding).help(format!("set the variable `num_classes = {n}`"))
        }
        None => cx.finding(Code::ClassCount, title, &at).help(format!("set `{at} = {n}`")),
    };
    let place = cx.get(key).and_then(Node::loc).cloned();
    let elsewhere = place.filter(|it| finding.primary.as_ref().is_none_or(|label| label.loc != *it));
    finding.note(elsewhere, "the classes are named here")
}

/// The path of the first key of that name, however deep below a table.
fn find(node: Option<&Node>, name: &str, path: &str) -> Option<String> {
    let entries = node?.entries();
    if entries.iter().any(|(key, it)| key == name && it.as_int().is_some()) {
        return Some(format!("{path}.{name}"));
    }
    entries.iter().find_map(|(key, it)| find(Some(it), name, &format!("{path}.{key}")))
}

/// Names, not all of them where there are many.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} … ({} in all)", names.len()) } else { shown }
}
