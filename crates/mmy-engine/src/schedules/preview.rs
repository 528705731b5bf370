//! The rates of a run, without running it.

use mmy_nn::ParamStore;

use crate::{
    EngineError, Progress, RunConfig, build_hooks,
    error::Result,
    optim::{ParamGroup, WrapperArgs},
};

/// Shows `see` the parameter groups before each step of a run with `epoch_len` steps of `batch_size` pictures in an epoch.
///
/// The model is built, not filled, and no data are read. What metrics decide is left out: plateaus, early stopping.
///
/// # Errors
/// When the config has no training, or a part cannot be built.
pub fn preview(
    config: &RunConfig,
    epoch_len: usize,
    batch_size: usize,
    mut see: impl FnMut(&Progress, &[ParamGroup]),
) -> Result<()> {
    let (Some(train), Some(optim)) = (&config.train_cfg, &config.optim_wrapper) else {
        return Err(EngineError::Unfit(
            "the config lacks `train_cfg` or `optim_wrapper`: there is nothing to train".into(),
        ));
    };
    let params = ParamStore::dry();
    let _ = config.model.build(&params.root())?;
    let lr_scale = config.auto_scale_lr.factor(batch_size)?;
    let mut optim = optim.build(WrapperArgs { params: &params, batch_size, lr_scale })?;
    let mut hooks = build_hooks(config)?;
    let mut progress = Progress::start(train.build(())?.length(), epoch_len);
    while !progress.is_over() {
        for hook in &mut hooks {
            hook.hook.set_rates(&config.param_scheduler, &progress, optim.groups_mut())?;
        }
        see(&progress, optim.groups());
        progress = progress.after_step();
        if !progress.by_iter() && progress.batch == epoch_len {
            (progress.epoch, progress.batch) = (progress.epoch + 1, 0);
        }
    }
    Ok(())
}
