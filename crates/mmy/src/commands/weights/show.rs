//! `mmy weights show`.

use std::{collections::BTreeMap, fmt::Write, fs::File, path::PathBuf};

use mmy_formats::weights::{Choice, Format, Weights};
use serde_json::json;

use crate::{
    commands::model::thousands,
    failure::{Failure, Outcome},
    output::{show, show_json},
};

/// List the tensors of a file: names, shapes, kinds, totals.
///
/// Takes safetensors files and what `torch.save` wrote (`.pth`, `.pt`, `.pth.tar`; state dicts, dictionaries with one in
/// them, whole modules). Nothing in the file is run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mmy weights show yolov5_s-v61.pth
  mmy weights show yolov5n.pt --key model --json
  mmy weights show epoch_10.safetensors")]
pub struct Args {
    /// The file
    pub file: PathBuf,
    /// Dotted path of the part of a PyTorch checkpoint, where it has several
    #[arg(long, value_name = "PATH")]
    pub key: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Modules whose names every checkpoint has.
const USUAL: [&str; 8] = ["torch", "collections", "numpy", "builtins", "__builtin__", "_codecs", "copyreg", "copy_reg"];

pub fn run(args: &Args) -> Outcome {
    let failed = |error: &dyn std::fmt::Display| Failure::User(format!("{}: {error}", args.file.display()));
    let file = File::open(&args.file).map_err(|it| failed(&it))?;
    let weights = Weights::open(file, &Choice { key: args.key.clone() }).map_err(|it| failed(&it))?;
    let (tensors, origin) = (weights.tensors(), weights.origin());
    let numbers: u64 = tensors.iter().map(|it| it.numel() as u64).sum();
    let bytes: u64 = tensors.iter().map(|it| it.bytes() as u64).sum();
    if args.json {
        let rows: Vec<_> = tensors
            .iter()
            .map(|it| json!({"name": it.name, "dtype": it.dtype.to_string(), "shape": it.shape, "storage": it.storage}))
            .collect();
        let others: serde_json::Map<_, _> = origin.others.iter().map(|it| (it.0.clone(), it.1.into())).collect();
        return show_json(&json!({
            "format": weights.format().name(),
            "part": origin.taken,
            "other_parts": others,
            "stripped": origin.stripped,
            "skipped": origin.skipped,
            "classes": origin.classes,
            "python_names": origin.names,
            "metadata_keys": weights.metadata().keys().collect::<std::collections::BTreeSet<_>>(),
            "tensors": rows,
            "numbers": numbers,
            "bytes": bytes,
        }));
    }
    let shape = |it: &[usize]| it.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
    let widest = |of: &dyn Fn(usize) -> usize| (0..tensors.len()).map(of).max().unwrap_or(0);
    let name_width = widest(&|at| tensors[at].name.chars().count());
    let shape_width = widest(&|at| shape(&tensors[at].shape).chars().count());
    let mut out = String::new();
    let mut first_of: BTreeMap<usize, &str> = BTreeMap::new();
    for it in tensors {
        let (name, dtype, shape) = (&it.name, it.dtype.to_string(), shape(&it.shape));
        let _ = write!(out, "{name:name_width$}  {dtype:5}  {shape:>shape_width$}");
        if let Some(first) = first_of.get(&it.storage) {
            let _ = write!(out, "  shares its numbers with {first}");
        }
        first_of.entry(it.storage).or_insert(name);
        out.push('\n');
    }
    if !tensors.is_empty() {
        out.push('\n');
    }
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    tensors.iter().for_each(|it| *kinds.entry(it.dtype.to_string()).or_default() += 1);
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let _ = writeln!(
        out,
        "{}: {} tensors ({}), {} numbers, {:.1} MB",
        weights.format().name(),
        tensors.len(),
        kinds.join(", "),
        thousands(numbers),
        bytes as f64 / 1e6
    );
    if weights.format() != Format::Safetensors && !origin.taken.is_empty() {
        let _ = writeln!(out, "part: {}", origin.taken);
    }
    for (part, count) in &origin.others {
        let _ = writeln!(out, "other part: {part}, {count} tensors (--key {part})");
    }
    if let Some(prefix) = origin.stripped {
        let _ = writeln!(out, "each name stands there with `{prefix}` in front");
    }
    if !origin.skipped.is_empty() {
        let _ = writeln!(out, "not read (sparse, quantised): {}", origin.skipped.join(", "));
    }
    if !origin.classes.is_empty() {
        let _ = writeln!(out, "classes: {}", origin.classes.join(", "));
    }
    let usual = |it: &&String| !it.split('.').next().is_some_and(|top| USUAL.contains(&top));
    let names: Vec<_> = origin.names.iter().filter(usual).map(String::as_str).collect();
    if !names.is_empty() {
        let _ = writeln!(out, "names Python code, which was not run: {}", names.join(", "));
    }
    show(&out)
}
