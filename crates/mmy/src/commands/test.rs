//! `mmy test`.

use mmy_check::Purpose;
use mmy_engine::{Resume, Runner, Start, WorkDir};

use crate::{
    cli::TestArgs,
    commands::train::interrupt,
    failure::{Failure, Outcome},
    logging,
    progress::RunBars,
    project::Project,
};

pub fn run(args: TestArgs) -> Outcome {
    let log = logging::start();
    let project = Project::load_for(&args.config, Purpose::Testing)?;
    if !args.checkpoint.is_file() {
        return Err(Failure::User(format!("there is no checkpoint `{}`", args.checkpoint.display())));
    }
    let root = project.work_dir(args.work_dir.clone());
    let work_dir = WorkDir::create(&root).map_err(Failure::from)?;
    let metrics = work_dir.test_metrics();
    log.to_file(&work_dir.log_file()).map_err(Failure::io("open", work_dir.log_file()))?;
    let mut runner = Runner::for_testing(Start {
        config: project.config.clone(),
        config_text: project.loaded.to_toml(),
        name: project.name.clone(),
        work_dir,
        interrupt: interrupt()?,
        observer: Box::new(RunBars::new(log.bars().clone())),
    })
    .map_err(|it| project.place(it))?;
    runner.test(&Resume::Weights(args.checkpoint)).map_err(|it| project.place(it))?;
    tracing::info!("metrics are in {}", metrics.display());
    Ok(())
}
