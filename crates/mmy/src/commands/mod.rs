//! One file for each command.

mod bench;
pub mod build;
pub mod completions;
pub mod config;
pub mod data;
pub mod data_check;
mod deploy;
pub mod explain;
pub mod hooks;
pub mod man;
pub mod model;
pub mod new;
mod predict;
pub mod registry;
pub mod replay;
pub mod schedule;
pub mod spikes;
mod test;
mod train;
pub mod verify;
pub mod version;
pub mod weights;

pub use deploy::DeployArgs;

use crate::{
    cli::{Cli, Command},
    failure::Outcome,
};

/// Runs the command that was asked for.
pub fn run(cli: Cli) -> Outcome {
    match cli.command {
        Command::Train(args) => train::run(args),
        Command::Test(args) => test::run(args),
        Command::Predict(args) => predict::run(&args),
        Command::Config(command) => config::run(&command),
        Command::Registry(command) => registry::run(command),
        Command::Model(command) => model::run(command),
        Command::Data(command) => data::run(command),
        Command::Weights(command) => weights::run(command),
        Command::Bench(command) => bench::run(command),
        Command::Hooks(args) => hooks::run(&args),
        Command::Schedule(command) => schedule::run(&command),
        Command::Verify(args) => verify::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::New(command) => new::run(&command),
        Command::Build(args) => build::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Version(args) => version::run(&args),
    }
}
