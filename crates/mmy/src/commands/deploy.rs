//! `mmy model deploy`.

use std::path::PathBuf;

use clap::Args;
use mmy_engine::{Checkpoint, Manifest, Model};
use mmy_nn::{LoadPolicy, StateDict, trace};
use tch::{Device, Kind, Tensor};

use crate::{
    cli::ConfigArgs,
    commands::model::thousands,
    failure::{Failure, Outcome},
    output::show,
    project::Project,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy model deploy configs/mobileone/mobileone_s0.toml work_dirs/mobileone_s0/epoch_300.safetensors -o s0.safetensors
  mmy test configs/mobileone/mobileone_s0.toml s0.safetensors

The result says of itself that it is deployed: `mmy test` and `mmy predict` take it as they take any checkpoint. It cannot
be trained.")]
pub struct DeployArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// A checkpoint of `mmy train`, or any safetensors file with the model's weights
    checkpoint: PathBuf,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

pub fn run(args: &DeployArgs) -> Outcome {
    let project = Project::load(&args.config)?;
    let checkpoint = Checkpoint::read(&args.checkpoint).map_err(Failure::user)?;
    if checkpoint.manifest.as_ref().is_some_and(|it| it.deployed) {
        return Err(Failure::User(format!("`{}` is deployed already", args.checkpoint.display())));
    }
    let place = |it| project.place_build(it);
    let trained = Model::build(&project.config.model, 0).map_err(place)?;
    let state: StateDict = checkpoint.model.into_iter().collect();
    let misfit = |it: mmy_nn::LoadError| Failure::User(format!("`{}`: {it}", args.checkpoint.display()));
    let report = trained.params.load_state(&state, LoadPolicy::Complete).map_err(misfit)?;
    if !report.unused.is_empty() {
        eprintln!("warning: the model has no use for {}", report.unused.join(", "));
    }
    let deployed = trained.deployed_form().map_err(place)?;
    deployed.params.load_state(&state, LoadPolicy::Complete).map_err(misfit)?;
    let size = project.input_size(None)?;
    let divisor = trained.net.size_divisor();
    let size = [size.0, size.1].map(|it| (it + divisor - 1) / divisor * divisor);
    let difference = difference(&trained, &deployed, size)?;

    let manifest = Manifest {
        deployed: true,
        resumable: false,
        config: project.loaded.to_toml(),
        hooks: Default::default(),
        messages: Default::default(),
        ..checkpoint.manifest.unwrap_or_else(|| Manifest::of_weights(&project.name, trained.net.num_classes()))
    };
    let out = Checkpoint { manifest: Some(manifest), model: deployed.tensors(), ..Checkpoint::default() };
    out.write(&args.output).map_err(|it| Failure::Other(it.to_string()))?;
    let row = |model: &Model| -> Outcome<String> {
        let macs = macs(model, size)?;
        let (params, tensors) = (thousands(model.params.num_params()), model.params.entries().len());
        Ok(format!("{params:>12} parameters  {tensors:>5} tensors  {:>9.4} GMACs at {}×{}", macs, size[0], size[1]))
    };
    show(&format!(
        "trained   {}\ndeployed  {}\nThe head's maps differ by at most {difference:.1e} of the largest number; written \
         to {}\n",
        row(&trained)?,
        row(&deployed)?,
        args.output.display()
    ))
}

fn macs(model: &Model, [height, width]: [i64; 2]) -> Outcome<f64> {
    let input = Tensor::zeros([1], (Kind::Float, Device::Cpu)).expand([1, 3, height, width], false);
    let (maps, rows) = trace::shapes(|| model.net.forward(&input, false));
    maps.map_err(Failure::user)?;
    Ok(rows.iter().map(|it| it.macs).sum::<u64>() as f64 / 1e9)
}

/// The largest difference of the head's maps on a random picture, as a share of the largest number in them.
fn difference(a: &Model, b: &Model, [height, width]: [i64; 2]) -> Outcome<f64> {
    mmy_torch::rng::seed(0);
    let input = Tensor::rand([1, 3, height, width], (Kind::Float, Device::Cpu));
    let maps = |model: &Model| -> Outcome<Vec<Tensor>> {
        let head = tch::no_grad(|| model.net.forward(&input, false)).map_err(Failure::user)?.head;
        Ok([head.cls, head.bbox, head.obj].into_iter().flatten().collect())
    };
    let largest = |it: &Tensor| it.abs().max().double_value(&[]);
    let (a, b) = (maps(a)?, maps(b)?);
    let difference = a.iter().zip(&b).map(|(a, b)| largest(&(a - b))).fold(0.0, f64::max);
    Ok(difference / a.iter().map(largest).fold(f64::MIN_POSITIVE, f64::max))
}
