//! Keys that a part cannot do without.

use mmy_config::Node;
use mmy_diag::{Code, Diagnostic};
use mmy_registry::entries;

use crate::context::Context;

/// Reading a part stops at the first key that is missing: the finding about it is made to name the others as well.
pub fn check(cx: &Context<'_>, out: &mut [Diagnostic]) {
    walk(&cx.loaded.root, "", out);
}

fn walk(node: &Node, path: &str, out: &mut [Diagnostic]) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, child) in node.entries() {
        walk(child, &below(key), out);
    }
    for (at, child) in node.items().iter().enumerate() {
        walk(child, &below(&at.to_string()), out);
    }
    let here = |it: &&mut Diagnostic| {
        it.code == Code::MissingKey && it.primary.as_ref().map(|it| &it.loc) == node.loc() && node.loc().is_some()
    };
    let (Some(name), Some(finding)) = (node.child("type").and_then(Node::as_str), out.iter_mut().find(here)) else {
        return;
    };
    let missing = missing(name, node);
    if missing.len() > 1 {
        let all = missing.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ");
        finding.title = format!("`{path}` ({name}) needs the keys {all}");
        finding.help = vec![format!("`mmy registry show {name}` says what each of them is")];
        if let Some(label) = &mut finding.primary {
            label.text = format!("{} keys are missing here", missing.len());
        }
    }
}

/// The keys that every part of that name needs and that are not set.
fn missing(name: &str, node: &Node) -> Vec<String> {
    let needs = |it: &mmy_registry::Entry| {
        let schema = it.schema();
        let keys = schema.get("required").and_then(|it| it.as_array()).into_iter().flatten();
        keys.filter_map(|it| it.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let bare = name.rsplit(['.', ':']).next().unwrap_or(name);
    let mut of_name = entries().into_iter().filter(|it| it.name == bare).map(needs);
    let first = of_name.next().unwrap_or_default();
    let others: Vec<_> = of_name.collect();
    let wanted = first.into_iter().filter(|key| others.iter().all(|it| it.contains(key)));
    wanted.filter(|key| node.child(key).is_none()).collect()
}
