//! `mmy config diff`.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use mmy_config::{Loaded, Node, NodeKind, Options};
use serde_json::{Value, json};

use super::origin;
use crate::{
    failure::{Failure, Outcome},
    output::{show, show_json},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy config diff configs/yolov5/yolov5_n.toml configs/yolov5/yolov5_s.toml
  mmy config diff my.toml my.toml --set num_classes=20    # what this --set changes")]
pub struct DiffArgs {
    /// One config
    a: PathBuf,
    /// The other
    b: PathBuf,
    /// Change a value of B, as with `mmy train`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &DiffArgs) -> Outcome {
    let load = |path: &Path, set: &[String]| mmy_config::load(path, &Options::from_env(set));
    let (a, b) = (load(&args.a, &[])?, load(&args.b, &args.set)?);
    let mut found = Vec::new();
    compare(&a.root, &b.root, String::new(), &mut found);
    if args.json {
        show_json(&found.iter().map(|it| it.to_json(&a, &b)).collect::<Vec<_>>())?;
    } else if !found.is_empty() {
        let head = format!("--- {}\n+++ {}\n", args.a.display(), args.b.display());
        show(&found.iter().fold(head, |out, it| out + &it.to_text(&a, &b)))?;
    }
    if found.is_empty() { Ok(()) } else { Err(Failure::Differs) }
}

/// A place where the two differ: what each has there.
struct Difference<'a> {
    /// In B, or in A where B has nothing.
    path: String,
    a: Option<&'a Node>,
    b: Option<&'a Node>,
}

fn compare<'a>(a: &'a Node, b: &'a Node, path: String, out: &mut Vec<Difference<'a>>) {
    let below = |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
    match (&a.kind, &b.kind) {
        (NodeKind::Map(left), NodeKind::Map(right)) => {
            for (key, node) in left {
                match b.child(key) {
                    Some(other) => compare(node, other, below(key), out),
                    None => out.push(Difference { path: below(key), a: Some(node), b: None }),
                }
            }
            for (key, node) in right.iter().filter(|it| a.child(&it.0).is_none()) {
                out.push(Difference { path: below(key), a: None, b: Some(node) });
            }
        }
        (NodeKind::List(left), NodeKind::List(right))
            if left.iter().chain(right).all(|it| it.child("type").is_some()) =>
        {
            for pair in align(left, right) {
                match pair {
                    (Some(i), Some(j)) => compare(&left[i], &right[j], below(&j.to_string()), out),
                    (Some(i), None) => out.push(Difference { path: below(&i.to_string()), a: Some(&left[i]), b: None }),
                    (None, Some(j)) => {
                        out.push(Difference { path: below(&j.to_string()), a: None, b: Some(&right[j]) })
                    }
                    (None, None) => {}
                }
            }
        }
        _ if a.same_value(b) => {}
        _ => out.push(Difference { path, a: Some(a), b: Some(b) }),
    }
}

/// Pairs the elements of two lists of parts, so that as many as possible stand beside one of the same type, in order.
fn align(a: &[Node], b: &[Node]) -> Vec<(Option<usize>, Option<usize>)> {
    let same = |i: usize, j: usize| {
        let name = |it: &Node| it.child("type").and_then(Node::as_str).map(str::to_owned);
        name(&a[i]) == name(&b[j])
    };
    // How many pairs the rests from i and j on can have at most.
    let mut most = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            let skipped = most[i + 1][j].max(most[i][j + 1]);
            most[i][j] = if same(i, j) { skipped.max(most[i + 1][j + 1] + 1) } else { skipped };
        }
    }
    let (mut out, mut i, mut j) = (Vec::new(), 0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && same(i, j) && most[i][j] == most[i + 1][j + 1] + 1 {
            out.push((Some(i), Some(j)));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && most[i + 1][j] >= most[i][j + 1]) {
            out.push((Some(i), None));
            i += 1;
        } else {
            out.push((None, Some(j)));
            j += 1;
        }
    }
    out
}

impl Difference<'_> {
    fn to_text(&self, a: &Loaded, b: &Loaded) -> String {
        let mut out = String::new();
        let mark = match (self.a, self.b) {
            (Some(_), None) => '-',
            (None, _) => '+',
            _ => '~',
        };
        let _ = writeln!(out, "{mark} {}", self.path);
        for (sign, node, loaded) in [('-', self.a, a), ('+', self.b, b)] {
            if let Some(node) = node {
                let from = origin::remark(loaded, node, || "an unknown place".to_owned());
                let _ = writeln!(out, "    {sign} {}    # {from}", node.to_toml_inline());
            }
        }
        out
    }

    fn to_json(&self, a: &Loaded, b: &Loaded) -> Value {
        let side = |node: Option<&Node>, loaded: &Loaded| {
            node.map(|it| json!({ "value": it.to_json(), "origin": it.loc().map(|loc| origin::json(loaded, loc)) }))
        };
        let change = match (self.a, self.b) {
            (Some(_), None) => "removed",
            (None, _) => "added",
            _ => "changed",
        };
        json!({ "path": self.path, "change": change, "a": side(self.a, a), "b": side(self.b, b) })
    }
}
