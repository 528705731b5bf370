//! `mmy data`.

pub mod anchors;
pub mod browse;
pub mod convert;
mod loaders;
pub mod stats;

use mmy_data::{ShapesConfig, ShapesOutcome, make_shapes};

use crate::{
    cli::DataCommand,
    commands::data_check,
    failure::{Failure, Outcome},
    logging, progress,
};

pub fn run(command: DataCommand) -> Outcome {
    let (dir, train, val, size, difficulty, seed) = match command {
        DataCommand::Shapes { dir, train, val, size, difficulty, seed } => (dir, train, val, size, difficulty, seed),
        DataCommand::Check(args) => return data_check::run(&args),
        DataCommand::Stats(args) => return stats::run(&args),
        DataCommand::Browse(args) => return browse::run(&args),
        DataCommand::Anchors(args) => return anchors::run(&args),
        DataCommand::Convert(args) => return convert::convert(&args),
        DataCommand::Split(args) => return convert::split(&args),
        DataCommand::Subset(args) => return convert::subset(&args),
        DataCommand::Merge(args) => return convert::merge(&args),
    };
    let log = logging::start();
    let default = ShapesConfig::default();
    let config = ShapesConfig {
        train: train.unwrap_or(default.train),
        val: val.unwrap_or(default.val),
        image_size: size.map_or(default.image_size, |it| [it[0], it[1]]),
        difficulty: difficulty.unwrap_or(default.difficulty),
        seed: seed.unwrap_or(default.seed),
        ..default
    };
    let pictures = config.train + config.val;
    let bar = progress::bar(log.bars(), "shapes", pictures as u64, "pictures");
    let outcome = make_shapes(&dir, &config, &|done, _| bar.set_position(done as u64)).map_err(Failure::user);
    bar.finish_and_clear();
    match outcome? {
        ShapesOutcome::Kept => tracing::info!("{} holds these {pictures} pictures already", dir.display()),
        ShapesOutcome::Made { objects } => {
            tracing::info!("{}: {pictures} pictures with {objects} shapes", dir.display());
        }
    }
    Ok(())
}
