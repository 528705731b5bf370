//! From a config to a runner.

use mmy_data::{DataloaderConfig, LoaderArgs};
use mmy_eval::{Metric, MetricArgs};
use mmy_registry::{BuildError, Slot};

use super::{Evaluating, RunInfo, Runner, Training};
use crate::{
    EngineError, Fingerprint, Interrupt, MessageHub, Model, Observer, Progress, RunConfig, WorkDir, compare,
    error::Result,
    hooks::{HookKind, Registered, Requests, in_order},
    loops::EvalLoopKind,
    optim::WrapperArgs,
    schedules::ScheduleArgs,
};

/// What a runner is made from.
pub struct Start {
    /// The typed config.
    pub config: RunConfig,
    /// The same as resolved TOML, for checkpoints and logs.
    pub config_text: String,
    /// The config's name.
    pub name: String,
    /// Where to write.
    pub work_dir: WorkDir,
    /// How the run is asked to end early.
    pub interrupt: Interrupt,
    /// Who shows the run.
    pub observer: Box<dyn Observer>,
}

impl Runner {
    /// Builds what training needs: data, model, optimiser, hooks, and validation where the config has one.
    ///
    /// # Errors
    /// When a part cannot be built, or parts do not fit together.
    pub fn for_training(start: Start) -> Result<Self> {
        let config = &start.config;
        let seed = config.randomness.seed;
        let (Some(data), Some(cfg), Some(optim)) = (&config.train_dataloader, &config.train_cfg, &config.optim_wrapper)
        else {
            return Err(incomplete(&[
                ("train_dataloader", config.train_dataloader.is_some()),
                ("train_cfg", config.train_cfg.is_some()),
                ("optim_wrapper", config.optim_wrapper.is_some()),
            ]));
        };
        // What does not fit is told before a file of data is opened.
        let model = Model::build(&config.model, seed)?;
        let schedule = cfg.build(())?;
        let hooks = build_hooks(config)?;
        let loader = data.build(LoaderArgs { seed })?;
        let batch_size = loader.batch_size();
        let lr_scale = config.auto_scale_lr.factor(batch_size)?;
        let optim = optim.build(WrapperArgs { params: &model.params, batch_size, lr_scale })?;
        for group in optim.groups() {
            tracing::debug!(
                "parameter group `{}`: {} tensors, {} numbers, weight decay {}",
                group.name,
                group.params.len(),
                group.elements(),
                group.weight_decay
            );
        }
        let classes = loader.dataset().metainfo().classes.clone();
        let val = evaluating("val", &config.val_dataloader, &config.val_cfg, &config.val_evaluator, seed)?;
        let progress = Progress::start(schedule.length(), loader.len());
        // A run that cannot follow its schedule to the end does not start.
        config.param_scheduler.iter().try_for_each(|it| it.build(ScheduleArgs::from(&progress)).map(drop))?;
        if loader.is_empty() {
            let error = BuildError::new(format!(
                "an epoch has no batch: {} pictures, {} in a batch",
                loader.dataset().len(),
                loader.batch_size()
            ));
            return Err(error.at("train_dataloader").help("check `ann_file`, `filter_cfg` and `batch_size`").into());
        }
        let train = Some(Training { loader, schedule, optim });
        Self::assemble(start, (model, hooks), classes, train, val, None, progress)
    }

    /// Builds what a test needs.
    ///
    /// # Errors
    /// When a part cannot be built, or parts do not fit together.
    pub fn for_testing(start: Start) -> Result<Self> {
        let config = &start.config;
        let seed = config.randomness.seed;
        let model = Model::build(&config.model, seed)?;
        let hooks = build_hooks(config)?;
        let test = evaluating("test", &config.test_dataloader, &config.test_cfg, &config.test_evaluator, seed)?;
        let Some(test) = test else {
            return Err(incomplete(&[("test_dataloader", false), ("test_cfg", false), ("test_evaluator", false)]));
        };
        let classes = test.loader.dataset().metainfo().classes.clone();
        Self::assemble(start, (model, hooks), classes, None, None, Some(test), Progress::default())
    }

    fn assemble(
        start: Start,
        (model, hooks): (Model, Vec<Registered>),
        classes: Vec<String>,
        train: Option<Training>,
        val: Option<Evaluating>,
        test: Option<Evaluating>,
        progress: Progress,
    ) -> Result<Self> {
        if model.net.num_classes() != classes.len() {
            return Err(EngineError::Unfit(format!(
                "the model tells {} classes apart, the data set has {} ({}): set the head's `num_classes` or the data \
                 set's `metainfo.classes`",
                model.net.num_classes(),
                classes.len(),
                classes.join(", ")
            )));
        }
        let run = RunInfo {
            name: start.name,
            config: start.config_text,
            work_dir: start.work_dir,
            classes,
            seed: start.config.randomness.seed,
            log_window: start.config.log_processor.window_size.max(1),
            param_scheduler: start.config.param_scheduler.clone(),
        };
        run.work_dir.write_config(&run.name, &run.config)?;
        let roles = [("train", train.as_ref().map(|it| &it.loader)), ("val", val.as_ref().map(|it| &it.loader))];
        let data = roles.into_iter().filter_map(|(role, it)| Some(Fingerprint::of(role, &**it?.dataset()))).collect();
        let parts = compare::parts(&run.config);
        Ok(Runner {
            hooks,
            config: start.config,
            run,
            model,
            train,
            val,
            test,
            data,
            parts,
            progress,
            resume_point: progress,
            messages: MessageHub::default(),
            requests: Requests::default(),
            stopped: None,
            interrupt: start.interrupt,
            observer: start.observer,
            tracer: None,
        })
    }
}

/// The hooks of a config in the order in which they run.
///
/// # Errors
/// When one cannot be built, or two set the learning rate, or none runs the `param_scheduler` list.
pub fn build_hooks(config: &RunConfig) -> Result<Vec<Registered>> {
    let default = config.default_hooks.iter().map(|(key, slot)| (format!("default_hooks.{key}"), slot));
    let custom = config.custom_hooks.iter().enumerate().map(|(at, slot)| (format!("custom_hooks.{at}"), slot));
    let slots: Vec<_> = default.chain(custom).collect();
    if let Some(first) = config.param_scheduler.first() {
        let runs = |it: &&(String, &Slot<HookKind>)| it.1.name() == "ParamSchedulerHook";
        if !slots.iter().any(|it| runs(&it)) {
            let error =
                BuildError::new(format!("no hook runs the schedules of this list (the first is {})", first.name()));
            let help = "add `[default_hooks.param_scheduler]` with `type = \"ParamSchedulerHook\"` (and `_delete_ = true` \
                        where a base has another hook there)";
            return Err(error.at("param_scheduler").help(help).into());
        }
        let other = slots.iter().find(|it| it.1.name().ends_with("ParamSchedulerHook") && !runs(it));
        if let Some((source, slot)) = other {
            let error =
                BuildError::new(format!("{} sets the learning rate too, beside `param_scheduler`", slot.name()));
            return Err(error.at(source).help("take one of the two out").into());
        }
    }
    let built = slots.into_iter().map(|(source, it)| Ok((it.name(), source, it.build(())?)));
    Ok(in_order(built.collect::<Result<Vec<_>, BuildError>>()?))
}

/// One of the triples of which all are there, or none.
fn evaluating(
    which: &str,
    data: &Option<DataloaderConfig>,
    how: &Option<Slot<EvalLoopKind>>,
    metric: &Option<Slot<Metric>>,
    seed: u64,
) -> Result<Option<Evaluating>> {
    let (data, how, metric) = match (data, how, metric) {
        (Some(data), Some(how), Some(metric)) => (data, how, metric),
        (None, None, None) => return Ok(None),
        _ => {
            let (a, b, c) = (format!("{which}_dataloader"), format!("{which}_cfg"), format!("{which}_evaluator"));
            return Err(incomplete(&[(&a, data.is_some()), (&b, how.is_some()), (&c, metric.is_some())]));
        }
    };
    let loader = data.build(LoaderArgs { seed })?;
    let metric = metric.build(MetricArgs { classes: &loader.dataset().metainfo().classes })?;
    Ok(Some(Evaluating { loader, how: how.build(())?, metric }))
}

fn incomplete(keys: &[(&str, bool)]) -> EngineError {
    let names =
        |there: bool| keys.iter().filter(|it| it.1 == there).map(|it| format!("`{}`", it.0)).collect::<Vec<_>>();
    let (there, missing) = (names(true), names(false));
    let have = if there.is_empty() { String::new() } else { format!("; the config has {} only", there.join(", ")) };
    EngineError::Unfit(format!("the config lacks {}{have}", missing.join(", ")))
}
