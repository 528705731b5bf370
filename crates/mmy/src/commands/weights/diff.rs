//! `mmy weights diff`.

use std::{collections::BTreeSet, fmt::Write, path::PathBuf};

use mmy_nn::file::{Choice, read_weights};
use serde_json::json;
use tch::{Kind, Tensor};

use crate::{
    failure::{Failure, Outcome},
    output::{show, show_json},
};

/// Compare two files of weights: names, shapes, kinds, numbers.
///
/// The exit status is 0 when they hold the same, else 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mmy weights diff epoch_9.safetensors epoch_10.safetensors
  mmy weights diff yolov5n.pt yolov5n.safetensors --json")]
pub struct Args {
    /// A file that `mmy weights show` takes
    pub a: PathBuf,
    /// Another one
    pub b: PathBuf,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Outcome {
    let read = |path| Ok::<_, Failure>(read_weights(path, &Choice::default()).map_err(Failure::user)?.tensors);
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    let names: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let rows: Vec<_> = names.iter().filter_map(|&name| Some((name, difference(a.get(name), b.get(name))?))).collect();
    if args.json {
        let list: Vec<_> = rows.iter().map(|(name, what)| json!({"name": name, "difference": what})).collect();
        show_json(&json!({"same": rows.is_empty(), "tensors": names.len(), "differences": list}))?;
    } else {
        let width = rows.iter().map(|it| it.0.chars().count()).max().unwrap_or(0);
        let mut out = String::new();
        for (name, what) in &rows {
            let _ = writeln!(out, "{name:width$}  {what}");
        }
        let _ = writeln!(out, "{} of {} tensors differ", rows.len(), names.len());
        show(&out)?;
    }
    match rows.len() {
        0 => Ok(()),
        _ => Err(Failure::Other(format!("{} and {} differ", args.a.display(), args.b.display()))),
    }
}

fn difference(a: Option<&Tensor>, b: Option<&Tensor>) -> Option<String> {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) => (a, b),
        (Some(_), None) => return Some("only in the first".into()),
        _ => return Some("only in the second".into()),
    };
    if a.size() != b.size() {
        return Some(format!("{:?} and {:?}", a.size(), b.size()));
    }
    let (wide_a, wide_b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    // Equal where both are equal, or both are no numbers.
    let same = wide_a.eq_tensor(&wide_b).logical_or(&wide_a.isnan().logical_and(&wide_b.isnan()));
    let differing = a.numel() as i64 - same.sum(Kind::Int64).int64_value(&[]);
    if differing > 0 {
        let most = (wide_a - wide_b).abs().nan_to_num(f64::INFINITY, None, None).max().double_value(&[]);
        return Some(format!("{differing} of {} numbers differ, by {most:.3e} at most", a.numel()));
    }
    (a.kind() != b.kind()).then(|| format!("{:?} and {:?}, with the same numbers", a.kind(), b.kind()))
}
