//! A dump has each variable and each place that once read it as values. This puts the reading back where it is plain.
//!
//! A table or a list of tables or lists that equals a variable reads it, and so does a key that has a variable's name and its
//! value. A number that only happens to be equal does not.

use std::collections::HashSet;

use mmy_config::{Node, NodeKind};

use super::{child_mut, text};

/// Lets values of the tree and of later variables read the variables that they equal.
pub fn link(tree: &mut Node, vars: &mut Node) {
    // The largest first: inside it, smaller ones are found in turn.
    let mut known: Vec<_> = vars.entries().to_vec();
    known.sort_by_key(|it| std::cmp::Reverse(size(&it.1)));
    for (at, (name, value)) in known.iter().enumerate().filter(|it| is_structure(&it.1.1)) {
        replace(tree, name, value);
        for (later, other) in known.iter().enumerate().filter(|it| it.0 != at) {
            // Of two equal variables the later one reads the earlier.
            if let Some(node) = child_mut(vars, &other.0).filter(|_| later > at || !other.1.same_value(value)) {
                replace(node, name, value);
            }
        }
    }
    for (name, value) in &known {
        each_table(tree, &mut |key, node| same_name(key, node, name, value));
        for (other, _) in known.iter().filter(|it| it.0 != *name) {
            if let Some(node) = child_mut(vars, other) {
                each_table(node, &mut |key, node| same_name(key, node, name, value));
            }
        }
    }
    for (of, like) in [("test_dataloader", "val_dataloader"), ("test_evaluator", "val_evaluator")] {
        if let Some(like_node) = tree.child(like).cloned()
            && let Some(node) = child_mut(tree, of).filter(|it| it.same_value(&like_node))
        {
            node.kind = text(&format!("{{{{ {like} }}}}")).kind;
        }
    }
}

/// Removes variables that nothing reads, and returns their names.
pub fn drop_unused(tree: &Node, vars: &mut Node) -> Vec<String> {
    let mut read = HashSet::new();
    names(tree, &mut read);
    loop {
        let before = read.len();
        for (name, node) in vars.entries() {
            if read.contains(name) {
                names(node, &mut read);
            }
        }
        if read.len() == before {
            break;
        }
    }
    let mut unused = Vec::new();
    if let NodeKind::Map(entries) = &mut vars.kind {
        entries.retain(|(name, _)| {
            let stays = read.contains(name);
            unused.extend(Some(name.clone()).filter(|_| !stays));
            stays
        });
    }
    unused
}

/// Every word of every expression.
fn names(node: &Node, out: &mut HashSet<String>) {
    node.entries().iter().for_each(|it| names(&it.1, out));
    node.items().iter().for_each(|it| names(it, out));
    if let Some(text) = node.as_str().filter(|it| it.contains("{{")) {
        out.extend(text.split(|it: char| !it.is_alphanumeric() && it != '_').map(str::to_owned));
    }
}

fn each_table(node: &mut Node, then: &mut dyn FnMut(&str, &mut Node)) {
    match &mut node.kind {
        NodeKind::Map(entries) => {
            for (key, child) in entries {
                then(key, child);
                each_table(child, then);
            }
        }
        NodeKind::List(items) => items.iter_mut().for_each(|it| each_table(it, then)),
        _ => {}
    }
}

fn same_name(key: &str, node: &mut Node, name: &str, value: &Node) {
    // Text that is an expression already reads something.
    if key == name && node.same_value(value) && node.as_str().is_none_or(|it| !it.contains("{{")) {
        node.kind = text(&format!("{{{{ {name} }}}}")).kind;
    }
}

/// How many values a value holds.
fn size(node: &Node) -> usize {
    1 + node.entries().iter().map(|it| size(&it.1)).chain(node.items().iter().map(size)).sum::<usize>()
}

/// Whether equality with this can be no accident.
fn is_structure(value: &Node) -> bool {
    let holds = |it: &Node| !it.entries().is_empty() || !it.items().is_empty();
    value.entries().len() > 1 || (value.items().len() > 1 && value.items().iter().all(holds))
}

fn replace(node: &mut Node, name: &str, value: &Node) {
    if node.same_value(value) {
        node.kind = text(&format!("{{{{ {name} }}}}")).kind;
        return;
    }
    match &mut node.kind {
        NodeKind::Map(entries) => entries.iter_mut().for_each(|it| replace(&mut it.1, name, value)),
        NodeKind::List(items) => {
            items.iter_mut().for_each(|it| replace(it, name, value));
            let wanted = value.items();
            let run = |at: usize| items[at..].iter().zip(wanted).all(|(a, b)| a.same_value(b));
            let starts =
                (wanted.len() <= items.len()).then(|| items.len() - wanted.len()).filter(|_| !wanted.is_empty());
            if let Some(at) = starts.and_then(|last| (0..=last).find(|at| run(*at))) {
                items.splice(at..at + wanted.len(), [text(&format!("{{{{ *{name} }}}}"))]);
            }
        }
        _ => {}
    }
}
