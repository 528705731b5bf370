//! `mmy weights quantize-dsconv`.

use std::{fmt::Write, path::PathBuf};

use mmy_engine::{Checkpoint, Manifest, Model};
use mmy_nn::{
    LoadPolicy, StateDict,
    layers::{
        DsConv, DsKernel,
        dsconv::{Compared, compare},
    },
};

use crate::{
    failure::{Failure, Outcome},
    output::show,
    project::Project,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mmy weights quantize-dsconv work_dirs/yolov5_n/epoch_300.safetensors --bits 4 --block 32 -o q.safetensors
  mmy test q.toml q.safetensors
  mmy train q.toml --load-from q.safetensors --set train_cfg.max_epochs=10 --set optim_wrapper.optimizer.lr=0.001

Beside the checkpoint stands its config, with the model wrapped in a `DSConvDetector`. `mmy model deploy` turns the result
into ordinary kernels again, with the values that the whole numbers stand for.")]
pub struct Args {
    /// A checkpoint of `mmy train`
    checkpoint: PathBuf,
    /// The config of the model whose weights these are, for files that do not carry it
    #[arg(long, value_name = "CONFIG")]
    config: Option<PathBuf>,
    /// Bits of each number
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=8))]
    bits: u8,
    /// Input channels that share a scale
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(i64).range(1..=65_536))]
    block: i64,
    /// Kernels that see fewer channels stay float32
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(i64).range(1..=65_536))]
    min_channels: i64,
    /// A path at and below which kernels stay float32, such as `bbox_head`; may be given several times
    #[arg(long, value_name = "PATH")]
    skip: Vec<String>,
    /// Give each block a shift to train besides its scale
    #[arg(long)]
    kds_shift: bool,
    /// The file to write; its config goes beside it, as `.toml`
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

pub fn run(args: &Args) -> Outcome {
    let Checkpoint { manifest, model, .. } = Checkpoint::read(&args.checkpoint).map_err(Failure::user)?;
    let before: StateDict = model.into_iter().collect();
    let (name, text) = match (&args.config, &manifest) {
        (Some(path), _) => {
            let set = crate::cli::ConfigArgs { config: path.clone(), set: vec![], cfg_options: vec![] };
            let project = Project::load(&set)?;
            (project.name.clone(), project.loaded.to_toml())
        }
        (None, Some(manifest)) if manifest.deployed => {
            let text = format!("`{}` is deployed: quantise what it was made of", args.checkpoint.display());
            return Err(Failure::User(text));
        }
        (None, Some(manifest)) => (manifest.name.clone(), manifest.config.clone()),
        (None, None) => {
            let text = format!("`{}` holds weights alone: give the model's --config", args.checkpoint.display());
            return Err(Failure::User(text));
        }
    };
    let config = wrapped(args, &text)?;
    let project = Project::from_text(&name, &config)?;
    let quantised = Model::build(&project.config.model, 0).map_err(|it| project.place_build(it))?;
    let loaded = quantised.params.load_state(&before, LoadPolicy::Complete);
    loaded.map_err(|it| Failure::User(format!("`{}`: {it}", args.checkpoint.display())))?;

    let tensors = quantised.tensors();
    let after: StateDict = tensors.iter().map(|(name, it)| (name.clone(), it.shallow_clone())).collect();
    let rows = compare(&form(args), &before, &after, tensors.iter().map(|it| it.0.as_str()));
    if rows.is_empty() {
        let text = format!("no kernel of the model sees {} channels or more", args.min_channels);
        return Err(Failure::User(text));
    }
    let bytes = |state: &StateDict| state.values().map(|it| it.numel() * it.kind().elt_size_in_bytes()).sum::<usize>();
    let table = table(&rows, [bytes(&before), bytes(&after)]);

    let source = manifest.unwrap_or_else(|| Manifest::of_weights(&name, quantised.net.num_classes()));
    let manifest = Manifest {
        config: config.clone(),
        resumable: false,
        metrics: Vec::new(),
        hooks: Default::default(),
        messages: Default::default(),
        ..source
    };
    let out = Checkpoint { manifest: Some(manifest), model: tensors, ..Checkpoint::default() };
    out.write(&args.output).map_err(|it| Failure::Other(it.to_string()))?;
    let beside = args.output.with_extension("toml");
    std::fs::write(&beside, config).map_err(Failure::io("write", &beside))?;
    show(&format!("{table}written to {} and {}\n", args.output.display(), beside.display()))
}

fn form(args: &Args) -> DsConv {
    DsConv {
        bits: args.bits,
        block_size: args.block,
        kernel: DsKernel::Fixed,
        kds_shift: args.kds_shift,
        cds: true,
        min_channels: args.min_channels,
        skip: args.skip.clone(),
    }
}

/// The config with its model in a `DSConvDetector`.
fn wrapped(args: &Args, text: &str) -> Outcome<String> {
    let mut config: toml::Table = text.parse().map_err(Failure::user)?;
    let model = config.remove("model").ok_or_else(|| Failure::User("the config has no `model`".into()))?;
    if model.get("type").and_then(toml::Value::as_str) == Some("DSConvDetector") {
        return Err(Failure::User(format!("`{}` is quantised already", args.checkpoint.display())));
    }
    let DsConv { bits, block_size, kds_shift, min_channels, skip, .. } = form(args);
    let mut wrapper = toml::Table::new();
    wrapper.insert("type".into(), "DSConvDetector".into());
    wrapper.insert("bits".into(), i64::from(bits).into());
    wrapper.insert("block_size".into(), block_size.into());
    wrapper.insert("kds_shift".into(), kds_shift.into());
    wrapper.insert("min_channels".into(), min_channels.into());
    wrapper.insert("skip".into(), skip.into());
    wrapper.insert("detector".into(), model);
    config.insert("model".into(), wrapper.into());
    toml::to_string(&config).map_err(|it| Failure::Other(it.to_string()))
}

fn table(rows: &[Compared], files: [usize; 2]) -> String {
    let width = rows.iter().map(|it| it.path.len()).max().unwrap_or(0).max(9);
    let kib = |bytes: usize| bytes as f64 / 1024.0;
    let mut out = format!(
        "{:width$}  {:>16}  {:>12}  {:>11}  {:>6}  {:>7}\n",
        "kernel", "shape", "float32 KiB", "stored KiB", "share", "error"
    );
    let mut line = |name: &str, shape: &str, [float, stored]: [usize; 2], error: Option<f64>| {
        let error = error.map(|it| format!("{it:.4}")).unwrap_or_default();
        let (share, float, stored) = (stored as f64 / float as f64 * 100.0, kib(float), kib(stored));
        let _ = writeln!(out, "{name:width$}  {shape:>16}  {float:>12.1}  {stored:>11.1}  {share:>5.1}%  {error:>7}");
    };
    for Compared { path, shape, float_bytes, stored_bytes, error } in rows {
        let shape = shape.iter().map(i64::to_string).collect::<Vec<_>>().join("×");
        line(path, &shape, [*float_bytes, *stored_bytes], Some(*error));
    }
    let sum = |of: fn(&Compared) -> usize| rows.iter().map(of).sum::<usize>();
    let kernels = [sum(|it| it.float_bytes), sum(|it| it.stored_bytes)];
    // Of all kernels together, each number counted once.
    let weight = |it: &Compared| it.float_bytes as f64;
    let error = rows.iter().map(|it| it.error * weight(it)).sum::<f64>() / rows.iter().map(weight).sum::<f64>();
    line("in all", "", kernels, Some(error));
    line("the model", "", files, None);
    out
}
