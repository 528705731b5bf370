//! `mmy model spikes`: how often a spiking network's neurons fire, and what that would cost.

mod plot;

use std::{collections::HashMap, fmt::Write, path::PathBuf};

use clap::Args;
use mmy_data::LoaderArgs;
use mmy_engine::{Checkpoint, Model};
use mmy_models::layers::spiking::meter::{What, measure};
use mmy_nn::{LoadPolicy, StateDict, trace};
use mmy_structures::Batch;
use serde_json::json;

use crate::{
    cli::ConfigArgs,
    commands::predict::pictures,
    failure::{Failure, Outcome},
    logging,
    output::{show, show_json},
    project::Project,
};

/// What `mmy model spikes` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy model spikes configs/ems_yolo/res10_shapes.toml work_dirs/res10_shapes/epoch_60.safetensors --out spikes.svg
  mmy model spikes configs/ems_yolo/res10_shapes.toml epoch_60.safetensors --images photos/ --json")]
pub struct SpikesArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// A checkpoint of `mmy train`, or any safetensors file with the model's weights
    pub checkpoint: PathBuf,
    /// Pictures, and folders of pictures; by default those that the config validates on
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub images: Vec<PathBuf>,
    /// How many pictures to look at, at most
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub count: usize,
    /// A picture of the firing rates, as SVG
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Picojoules of a multiply-add and of an addition in 32-bit floats at 45 nm, as the papers of spiking networks reckon.
const MULTIPLY_ADD: f64 = 4.6;
const ADD: f64 = 0.9;

/// Layers in the order in which they ran, summed over pictures.
#[derive(Default)]
struct Counts {
    pictures: u64,
    neurons: Vec<NeuronLayer>,
    convs: Vec<ConvLayer>,
}

struct NeuronLayer {
    path: String,
    steps: i64,
    spikes: u64,
    /// Chances to spike: neurons, steps and pictures.
    of: u64,
}

struct ConvLayer {
    path: String,
    /// Multiply-adds, all steps of all pictures.
    macs: u64,
    /// Those of one step of one picture.
    macs_of_a_step: u64,
    /// Whether it is fed spikes alone.
    spiking: bool,
    active: u64,
    of: u64,
}

pub fn run(args: &SpikesArgs) -> Outcome {
    logging::start();
    if args.count == 0 {
        return Err(Failure::User("`--count 0`: use at least 1".into()));
    }
    let project = Project::load(&args.config)?;
    let model = Model::build(&project.config.model, 0).map_err(|it| project.place_build(it))?;
    let state: StateDict = Checkpoint::read(&args.checkpoint).map_err(Failure::user)?.model.into_iter().collect();
    model.params.load_state(&state, LoadPolicy::Complete).map_err(Failure::user)?;
    let mut counts = Counts::default();
    match args.images.as_slice() {
        [] => {
            let loader = project.config.val_dataloader.as_ref().or(project.config.test_dataloader.as_ref());
            let loader = loader.ok_or_else(|| {
                Failure::User("the config validates on nothing: give pictures with `--images`".into())
            })?;
            let seed = project.config.randomness.seed;
            let loader = loader.build(LoaderArgs { seed }).map_err(|it| project.place_build(it))?;
            for batch in loader.epoch(0, 0) {
                counts.take(&model, &batch.map_err(Failure::user)?)?;
                if counts.pictures >= args.count as u64 {
                    break;
                }
            }
        }
        paths => {
            for batch in pictures(&project, paths, args.count)? {
                counts.take(&model, &batch?)?;
            }
        }
    }
    if counts.pictures == 0 {
        return Err(Failure::User("there is no picture to look at".into()));
    }
    if let Some(path) = &args.out {
        std::fs::write(path, plot::svg(&project.name, &counts)).map_err(Failure::io("write", path))?;
    }
    if args.json { show_json(&counts.json()) } else { show(&counts.table(&project.name)) }
}

impl Counts {
    fn take(&mut self, model: &Model, batch: &Batch) -> Outcome {
        let ((found, rows), readings) = measure(|| trace::record(|| tch::no_grad(|| model.net.predict(batch))));
        found.map_err(Failure::user)?;
        self.pictures += batch.len() as u64;
        let mut fed = HashMap::new();
        for it in readings {
            match it.what {
                What::Spikes { steps } => {
                    let layer = entry(
                        &mut self.neurons,
                        |layer| layer.path == it.path,
                        || NeuronLayer { path: it.path.clone(), steps, spikes: 0, of: 0 },
                    );
                    layer.spikes += it.active;
                    layer.of += it.of;
                }
                What::SpikesIn | What::CurrentsIn => {
                    fed.insert(it.path, (it.what == What::SpikesIn, it.active, it.of));
                }
            }
        }
        for row in rows.into_iter().filter(|it| it.macs > 0) {
            let (spiking, active, of) = fed.get(&row.path).copied().unwrap_or((false, 0, 0));
            let slices = row.output.first().map_or(1, |it| (*it).max(1) as u64);
            let layer = entry(
                &mut self.convs,
                |it| it.path == row.path,
                || ConvLayer {
                    path: row.path.clone(),
                    macs: 0,
                    macs_of_a_step: row.macs / slices,
                    spiking: true,
                    active: 0,
                    of: 0,
                },
            );
            layer.macs += row.macs;
            layer.spiking &= spiking;
            layer.active += active;
            layer.of += of;
        }
        Ok(())
    }

    /// Spikes for each chance to spike.
    fn rate(&self) -> f64 {
        part(self.neurons.iter().map(|it| it.spikes).sum(), self.neurons.iter().map(|it| it.of).sum())
    }

    fn spikes_per_picture(&self) -> f64 {
        self.neurons.iter().map(|it| it.spikes).sum::<u64>() as f64 / self.pictures as f64
    }

    fn energy(&self) -> Energy {
        let per_picture = |macs: u64| macs as f64 / self.pictures as f64;
        let (mut real, mut all_alike, mut by_layer, mut ordinary) = (0.0, 0.0, 0.0, 0.0);
        let rate = self.rate();
        for it in &self.convs {
            ordinary += it.macs_of_a_step as f64 * MULTIPLY_ADD;
            if it.spiking {
                all_alike += rate * per_picture(it.macs) * ADD;
                by_layer += part(it.active, it.of) * per_picture(it.macs) * ADD;
            } else {
                real += per_picture(it.macs) * MULTIPLY_ADD;
            }
        }
        // Picojoules to microjoules.
        Energy { model_rate: (all_alike + real) / 1e6, layer_rates: (by_layer + real) / 1e6, ordinary: ordinary / 1e6 }
    }

    fn json(&self) -> serde_json::Value {
        let energy = self.energy();
        let neurons = self.neurons.iter().map(|it| {
            json!({
                "path": it.path, "steps": it.steps, "rate": it.rate(),
                "spikes_per_picture": it.spikes as f64 / self.pictures as f64,
            })
        });
        let convs = self.convs.iter().map(|it| {
            let input = if it.spiking { "spikes" } else { "numbers" };
            json!({
                "path": it.path, "input": input, "rate": it.spiking.then(|| part(it.active, it.of)),
                "macs_per_picture": it.macs as f64 / self.pictures as f64,
            })
        });
        json!({
            "pictures": self.pictures,
            "rate": self.rate(),
            "spikes_per_picture": self.spikes_per_picture(),
            "energy_uj": {
                "model_rate": energy.model_rate, "layer_rates": energy.layer_rates, "ordinary": energy.ordinary,
            },
            "neurons": neurons.collect::<Vec<_>>(),
            "convolutions": convs.collect::<Vec<_>>(),
        })
    }

    fn table(&self, name: &str) -> String {
        let paths = self.neurons.iter().map(|it| &it.path).chain(self.convs.iter().map(|it| &it.path));
        let width = paths.map(|it| it.chars().count()).max().unwrap_or(0).max(12);
        let mut out = format!("{name}: {} pictures\n\n", self.pictures);
        let _ = writeln!(out, "{:width$}  {:>5}  {:>7}  {:>14}", "neurons", "steps", "rate", "spikes/picture");
        for it in &self.neurons {
            let spikes = it.spikes as f64 / self.pictures as f64;
            let _ = writeln!(out, "{:width$}  {:>5}  {:>6.2}%  {spikes:>14.0}", it.path, it.steps, 100.0 * it.rate());
        }
        if self.neurons.is_empty() {
            out.push_str("  none: nothing in this model spikes\n");
        }
        let _ = writeln!(out, "\n{:width$}  {:>7}  {:>7}  {:>14}", "convolutions", "fed", "rate", "MMACs/picture");
        for it in &self.convs {
            let rate = if it.spiking { format!("{:.2}%", 100.0 * part(it.active, it.of)) } else { String::new() };
            let (fed, macs) = (if it.spiking { "spikes" } else { "numbers" }, it.macs as f64 / self.pictures as f64);
            let _ = writeln!(out, "{:width$}  {fed:>7}  {rate:>7}  {:>14.2}", it.path, macs / 1e6);
        }
        let Energy { model_rate, layer_rates, ordinary } = self.energy();
        let _ = write!(
            out,
            "\nfiring rate {:.2}% over all neurons, {:.0} spikes a picture\n\
             energy a picture, estimated ({MULTIPLY_ADD} pJ a multiply-add, {ADD} pJ an addition):\n\
             \x20 {model_rate:.1} µJ, with the rate of all neurons for each layer\n\
             \x20 {layer_rates:.1} µJ, with the rate of each layer's own input\n\
             \x20 {ordinary:.1} µJ for the same layers without spikes, run once\n",
            100.0 * self.rate(),
            self.spikes_per_picture(),
        );
        out
    }
}

impl NeuronLayer {
    fn rate(&self) -> f64 {
        part(self.spikes, self.of)
    }
}

/// Microjoules for one picture.
struct Energy {
    /// With the rate of all neurons for each layer that is fed spikes.
    model_rate: f64,
    /// With the rate of each layer's own input.
    layer_rates: f64,
    /// Of the same layers run once with multiply-adds.
    ordinary: f64,
}

fn part(of: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { of as f64 / all as f64 }
}

/// The item that fits, made if there is none.
fn entry<T>(list: &mut Vec<T>, fits: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> &mut T {
    let at = list.iter().position(fits).unwrap_or_else(|| {
        list.push(make());
        list.len() - 1
    });
    &mut list[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_reckoned_both_ways() {
        let conv = |spiking, active| ConvLayer {
            path: String::new(),
            macs: 8_000_000,
            macs_of_a_step: 1_000_000,
            spiking,
            active,
            of: 100,
        };
        let neurons = NeuronLayer { path: String::new(), steps: 4, spikes: 10, of: 100 };
        let counts = Counts { pictures: 2, neurons: vec![neurons], convs: vec![conv(false, 90), conv(true, 25)] };
        let Energy { model_rate, layer_rates, ordinary } = counts.energy();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        // Four million multiply-adds a picture of numbers, and as many additions that a spike has to call for.
        assert!(near(model_rate, 4.0 * 4.6 + 0.10 * 4.0 * 0.9) && near(layer_rates, 4.0 * 4.6 + 0.25 * 4.0 * 0.9));
        assert!(near(ordinary, 2.0 * 4.6));
    }
}
