//! What is to be said of `[vars]` as a whole.

use std::collections::HashMap;

use mmy_diag::{Code, Diagnostic, Loc, nearest};

use crate::{
    Node,
    merge::Layer,
    template::{self, Part},
};

/// Variables live in a table, and one with the name of a key at the root hides that key from expressions and `--set`.
pub(crate) fn check(tree: &Node, out: &mut Vec<Diagnostic>) {
    if let Some(vars) = tree.child("vars").filter(|it| !it.is_map()) {
        let title = format!("`vars` must be a table of variables, not {}", vars.kind.describe());
        out.push(Diagnostic::new(Code::WrongType, title).primary(vars.loc().cloned(), ""));
    }
    for (name, variable) in tree.child("vars").map(Node::entries).unwrap_or_default() {
        if let Some(key) = tree.child(name) {
            let title = format!("the variable `{name}` has the name of a key at the root");
            out.push(
                Diagnostic::new(Code::ShadowedKey, title)
                    .primary(variable.key.clone(), "expressions and `--set` mean this one")
                    .note(key.loc().cloned(), "and never this one")
                    .help("rename the variable"),
            );
        }
    }
}

/// What is known of the use of variables.
pub(crate) struct Asked<'a> {
    /// The variables that files set.
    pub known: &'a [String],
    /// How many sources are files; later ones are the environment and the command line.
    pub files: usize,
    /// The root without `[vars]`.
    pub root: &'a Node,
    /// Whether every expression could be computed.
    pub sound: bool,
    /// The variables that some expression read.
    pub used: &'a [String],
}

/// Variables that nothing reads. One that a base has for whoever builds on it is no finding, as long as some expression of
/// the chain means it.
pub(crate) fn idle(vars: &Node, layers: &[Layer], asked: &Asked<'_>, out: &mut Vec<Diagnostic>) {
    let (means, own) = (meant(layers), layers.last());
    for (name, node) in vars.entries().iter().filter(|(name, _)| !asked.used.contains(name)) {
        let Some(key) = &node.key else { continue };
        if key.file >= asked.files {
            out.push(without_effect(name, node, asked.known));
            continue;
        }
        let layer = layers.iter().find(|it| it.file == key.file);
        // What mmengine writes has every expression computed already.
        if layer.is_some_and(|it| it.is_json) {
            continue;
        }
        // The key that it hides was told already, and so was the expression that means it and has a slip.
        let slip = || nearest(name, means.keys().map(String::as_str)).is_some();
        if asked.root.child(name).is_some() || (!asked.sound && !means.contains_key(name) && slip()) {
            continue;
        }
        let finding = |title: String| Diagnostic::new(Code::UnusedVariable, title).primary(key.clone(), "");
        match means.get(name) {
            None => {
                let finding = finding(format!("nothing reads the variable `{name}`"));
                let others = vars.keys().chain(means.keys().map(String::as_str)).filter(|it| it != name);
                out.push(match nearest(name, others) {
                    Some(near) => finding.help(format!("did you mean `{near}`?")),
                    None => finding.help("remove it, or set the key that it is meant for"),
                });
            }
            Some(place) if asked.sound && own.is_some_and(|it| it.file == key.file) => {
                let finding = finding(format!("nothing that is left of the config reads the variable `{name}`"));
                let finding = finding.note(place.clone(), "this would, but something took its place");
                out.push(finding.help("remove the variable, or set the key that it is meant for"));
            }
            Some(_) => {}
        }
    }
}

/// Every name in every expression of every layer, with a place where it stands.
fn meant(layers: &[Layer]) -> HashMap<String, Option<Loc>> {
    fn walk(node: &Node, out: &mut HashMap<String, Option<Loc>>) {
        node.entries().iter().map(|it| &it.1).chain(node.items()).for_each(|it| walk(it, out));
        let Some(text) = node.as_str().filter(|it| it.contains("{{")) else { return };
        for part in template::parts(text).unwrap_or_default() {
            let Part::Expression(source, _) = part else { continue };
            for word in source.split(|it: char| !(it.is_alphanumeric() || it == '_')) {
                out.entry(word.to_owned()).or_insert_with(|| node.value.clone());
            }
        }
    }
    let mut out = HashMap::new();
    layers.iter().for_each(|it| walk(&it.tree, &mut out));
    out
}

/// An override set a variable that no expression reads. Where no file has it either, it is a slip.
fn without_effect(name: &str, node: &Node, known: &[String]) -> Diagnostic {
    let slip = !known.iter().any(|it| it == name);
    let code = if slip { Code::OverrideTarget } else { Code::IdleOverride };
    let title = format!("setting `{name}` has no effect: no expression reads this variable");
    let finding = Diagnostic::new(code, title).primary(node.key.clone(), "");
    match nearest(name, known.iter().map(String::as_str)).filter(|_| slip) {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding,
    }
}
