//! Changes to a merged tree: what `--set`, the environment, and a table over an expression ask for.

use mmy_diag::{Code, Diagnostic, Loc, nearest};

use crate::{Node, NodeKind, merge, template};

/// One change.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    /// Where, from the node that holds the edit.
    pub path: Vec<Step>,
    /// What.
    pub op: Op,
}

/// A key or an index, and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub name: String,
    pub loc: Loc,
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// Sets a value; a table is merged into a table.
    Set(Node),
    /// Adds elements at the end of a list.
    Append(Node),
    /// Puts an element into a list, before the one at this position.
    Insert(Step, Node),
    /// Takes a key or an element away.
    Remove,
}

/// Whether a tree still holds expressions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum State {
    /// It does: changes at or below one wait there until its value is known.
    Merged,
    /// Every value is known.
    Resolved,
}

/// Carries out `edit` on `node`, which stands at the dotted path `base`; what is wrong with it goes to `out`.
pub(crate) fn apply(base: &str, node: &mut Node, edit: Edit, state: State, out: &mut Vec<Diagnostic>) {
    let Edit { path, op } = edit;
    if let Err(finding) = (Walk { base, path: &path, state }).step(node, 0, op, out) {
        out.push(*finding);
    }
}

struct Walk<'a> {
    base: &'a str,
    path: &'a [Step],
    state: State,
}

impl Walk<'_> {
    fn step(&self, node: &mut Node, at: usize, op: Op, out: &mut Vec<Diagnostic>) -> Result<(), Box<Diagnostic>> {
        let Walk { base, path, state } = *self;
        let here = || path[..at].iter().fold(base.to_owned(), |path, it| join(&path, &it.name));

        let replaces = at == path.len() && matches!(&op, Op::Set(it) if !it.is_map());
        if state == State::Merged && !replaces && waits(node) {
            node.edits.push(Edit { path: path[at..].to_vec(), op });
            return Ok(());
        }
        let Some(step) = path.get(at) else { return finish(&here(), node, op, state, out) };
        let target = |title: String| Diagnostic::new(Code::OverrideTarget, title).primary(step.loc.clone(), "");
        let last = at + 1 == path.len();
        match &node.kind {
            NodeKind::Map(_) if node.child(&step.name).is_none() => {
                if matches!(op, Op::Remove) {
                    let near = nearest(&step.name, node.keys()).map(|it| format!("did you mean `{it}`?"));
                    let finding = target(format!("there is no `{}` to remove", join(&here(), &step.name)));
                    return Err(Box::new(Diagnostic { help: near.into_iter().collect(), ..finding }));
                }
                let child = match op {
                    Op::Insert(..) if last => {
                        let title = format!("there is no list `{}` to put an element into", join(&here(), &step.name));
                        return Err(Box::new(target(title)));
                    }
                    Op::Set(value) | Op::Append(value) if last && !value.is_map() => value,
                    op => {
                        let mut child = Node::new(NodeKind::default(), step.loc.clone());
                        child.key = Some(step.loc.clone());
                        self.step(&mut child, at + 1, op, out)?;
                        child
                    }
                };
                node.insert(&step.name, child);
                Ok(())
            }
            NodeKind::List(items) if node.child(&step.name).is_none() => {
                let (len, list) = (items.len(), here());
                let finding = if step.name.parse::<i64>().is_ok() {
                    target(format!("`{list}` has no element {}", step.name)).help(match len {
                        0 => "the list is empty".to_owned(),
                        _ => format!("it has {len}: 0 to {}, or -{len} to -1 from the end", len - 1),
                    })
                } else {
                    target(format!("`{list}` is a list, and `{}` is no index", step.name))
                        .help(format!("give the position of an element, such as `{list}.0.{}`", step.name))
                };
                Err(Box::new(finding.note(node.loc().cloned(), "the list is here")))
            }
            NodeKind::Map(_) | NodeKind::List(_) => {
                if last && matches!(op, Op::Remove) {
                    node.remove(&step.name);
                    return Ok(());
                }
                let child = node.child_mut(&step.name).expect("looked up above");
                self.step(child, at + 1, op, out)
            }
            kind => {
                let finding = target(format!("`{}` is {} and has no `{}`", here(), kind.describe(), step.name));
                Err(Box::new(finding.note(node.loc().cloned(), "it is set here")))
            }
        }
    }
}

fn finish(path: &str, node: &mut Node, op: Op, state: State, out: &mut Vec<Diagnostic>) -> Result<(), Box<Diagnostic>> {
    match op {
        Op::Set(value) => {
            *node = merge::two(path, std::mem::take(node), value, state, out);
            Ok(())
        }
        Op::Append(Node { kind: NodeKind::List(more), .. }) if matches!(node.kind, NodeKind::List(_)) => {
            if let NodeKind::List(items) = &mut node.kind {
                items.extend(more);
            }
            Ok(())
        }
        Op::Insert(step, value) => insert(node, &step, value),
        Op::Append(value) => {
            let title = if matches!(node.kind, NodeKind::List(_)) {
                format!("`+=` takes a list, and this is {}", value.kind.describe())
            } else {
                format!("`+=` adds to a list, and this key holds {}", node.kind.describe())
            };
            let finding = Diagnostic::new(Code::OverrideTarget, title).primary(value.loc().cloned(), "");
            Err(Box::new(finding.help("put the elements to add in brackets: `key+=[1, 2]`")))
        }
        Op::Remove => Ok(()),
    }
}

fn insert(node: &mut Node, step: &Step, value: Node) -> Result<(), Box<Diagnostic>> {
    let target = |title: String| Diagnostic::new(Code::OverrideTarget, title).primary(step.loc.clone(), "");
    let NodeKind::List(items) = &mut node.kind else {
        let finding =
            target(format!("`{}` puts an element into a list, and this is {}", step.name, node.kind.describe()));
        return Err(Box::new(finding.note(node.loc().cloned(), "it is set here")));
    };
    let (at, len) = (step.name.trim_start_matches('+').parse::<i64>().unwrap_or(0), items.len() as i64);
    let place = if at < 0 { at + len } else { at };
    match usize::try_from(place) {
        Ok(place) if place <= items.len() => {
            items.insert(place, value);
            Ok(())
        }
        _ => Err(Box::new(
            target(format!("a list of {len} has no place {at}"))
                .help(format!("give 0 (in front) to {len} (at the end); negative positions count from the end")),
        )),
    }
}

/// Whether the value of this very node, or the positions of its elements, are known only once expressions are.
pub(crate) fn waits(node: &Node) -> bool {
    let splices = node.items().iter().any(|it| it.as_str().and_then(template::splice).is_some());
    template::is_late(node) || !node.edits.is_empty() || splices
}

/// Two dotted paths as one.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
