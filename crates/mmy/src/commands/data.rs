//! `mmy data`.

use crate::{
    cli::DataCommand,
    failure::{Failure, Outcome},
    logging, progress,
};

pub fn run(command: DataCommand) -> Outcome {
    let DataCommand::Shapes { dir, train, val, size, seed } = command;
    let log = logging::start();
    let mut config = mmy_data::shapes::ShapesConfig::default();
    config.train = train.unwrap_or(config.train);
    config.val = val.unwrap_or(config.val);
    config.seed = seed.unwrap_or(config.seed);
    if let Some(size) = size {
        (config.width, config.height) = (size[0], size[1]);
    }
    let bar = progress::bar(log.bars(), "shapes", (config.train + config.val) as u64, "pictures");
    mmy_data::shapes::make_shapes(&dir, &config, &|done| bar.set_position(done as u64)).map_err(Failure::user)?;
    bar.finish_and_clear();
    tracing::info!("{} pictures to train on, {} to validate on, in {}", config.train, config.val, dir.display());
    Ok(())
}
