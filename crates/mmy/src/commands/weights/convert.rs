//! `mmy weights convert`.

use std::{collections::BTreeMap, path::PathBuf};

use mmy_engine::Checkpoint;
use mmy_nn::file::{Choice, read_weights};
use tch::{Kind, Tensor};

use crate::{
    failure::{Failure, Outcome},
    output::show,
};

/// Turn a PyTorch checkpoint into a safetensors file, or change the names in one.
///
/// Takes what `mmy weights show` takes. The output is written under a temporary name and renamed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mmy weights convert yolov5_s-v61.pth yolov5_s.safetensors
  mmy weights convert starnet_s1.pth.tar starnet_s1.safetensors --key state_dict --prefix backbone.
  mmy weights convert yolov5n.pt yolov5n.safetensors --half")]
pub struct Args {
    /// The file to read
    pub input: PathBuf,
    /// The safetensors file to write
    pub output: PathBuf,
    /// Dotted path of the part of a PyTorch checkpoint, where it has several
    #[arg(long, value_name = "PATH")]
    pub key: Option<String>,
    /// Take this off the beginning of each name that has it; other names are kept
    #[arg(long, value_name = "PREFIX")]
    pub strip: Option<String>,
    /// Put this in front of each name
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub prefix: String,
    /// Write 16-bit floats in place of 32-bit and 64-bit ones
    #[arg(long)]
    pub half: bool,
}

pub fn run(args: &Args) -> Outcome {
    let choice = Choice { key: args.key.clone() };
    let contents = read_weights(&args.input, &choice).map_err(Failure::user)?;
    if let Some(remark) = contents.remark() {
        eprintln!("{}: {remark}", args.input.display());
    }
    let (mut out, mut stripped) = (BTreeMap::new(), 0);
    for (name, tensor) in contents.tensors {
        let rest = args.strip.as_ref().and_then(|it| name.strip_prefix(it.as_str()));
        stripped += usize::from(rest.is_some());
        let name = format!("{}{}", args.prefix, rest.unwrap_or(&name));
        let tensor = if args.half { halved(&name, tensor)? } else { tensor };
        if out.contains_key(&name) {
            return Err(Failure::User(format!("two tensors would be called `{name}`")));
        }
        out.insert(name, tensor);
    }
    if let (Some(prefix), 0) = (&args.strip, stripped) {
        return Err(Failure::User(format!("no name begins with `{prefix}`: see `mmy weights show`")));
    }
    if out.is_empty() {
        return Err(Failure::User(format!("{}: there is no tensor to write", args.input.display())));
    }
    let count = out.len();
    let file = Checkpoint { model: out.into_iter().collect(), ..Checkpoint::default() };
    file.write(&args.output).map_err(|it| Failure::Other(it.to_string()))?;
    let bytes = std::fs::metadata(&args.output).map_err(Failure::io("read", &args.output))?.len();
    show(&format!("{}: {count} tensors, {:.1} MB\n", args.output.display(), bytes as f64 / 1e6))
}

/// Half the digits; a number that leaves their range is an error, since it would become infinite.
fn halved(name: &str, tensor: Tensor) -> Outcome<Tensor> {
    if !matches!(tensor.kind(), Kind::Float | Kind::Double) {
        return Ok(tensor);
    }
    let half = tensor.to_kind(Kind::Half);
    let infinite = |it: &Tensor| it.isinf().sum(Kind::Int64).int64_value(&[]);
    if infinite(&half) != infinite(&tensor) {
        return Err(Failure::User(format!("`{name}` has numbers beyond 65504, the largest 16-bit float")));
    }
    Ok(half)
}
