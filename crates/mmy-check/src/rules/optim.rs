//! The optimiser: its values, and that it trains every parameter.

use mmy_data::DataloaderConfig;
use mmy_diag::Diagnostic;
use mmy_engine::{
    AutoScaleLr,
    optim::{OptimWrapperKind, WrapperArgs},
};
use mmy_nn::ParamStore;
use mmy_registry::Slot;

use crate::{context::Context, explore::explore, model::Built};

/// Builds the optimiser over the parameters of the model; over none where that could not be built.
pub fn check(cx: &Context<'_>, built: Option<&Built>, out: &mut Vec<Diagnostic>) {
    if !cx.concerns("optim_wrapper") {
        return;
    }
    let none = ParamStore::dry();
    let params = built.map_or(&none, |it| &it.params);
    let batch_size = cx.section::<DataloaderConfig>("train_dataloader").map_or(1, |it| it.batch_size.max(1));
    let scale = cx.section::<AutoScaleLr>("auto_scale_lr").map(|it| it.factor(batch_size));
    if let Some(Err(error)) = &scale {
        out.push(cx.fault(error));
    }
    let args = WrapperArgs { params, batch_size, lr_scale: scale.and_then(Result::ok).unwrap_or(1.0) };
    let build = |slot: &Slot<OptimWrapperKind>| slot.build(args).map(drop);
    let mut found = Vec::new();
    explore(cx, "optim_wrapper", build, &mut found);
    // Where no parameter is known, whatever is said of some by name proves nothing.
    out.extend(found.into_iter().filter(|it| built.is_some() || !it.title.contains("paramwise_cfg")));
}
