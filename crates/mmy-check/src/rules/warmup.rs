//! A warm-up that is over before the run is.

use mmy_data::{DataloaderConfig, DatasetOutline};
use mmy_diag::{Code, Diagnostic};
use mmy_engine::{Length, hooks::WarmupOutline};

use crate::context::Context;

/// Holds every hook's warm-up against the steps of the run, as far as the number of pictures is known.
pub fn check(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    let Some(length) = cx.length().filter(|_| cx.concerns("train_cfg")) else { return };
    let an_epoch = steps(cx);
    for part in cx.parts {
        let Some(warmup) = part.outline.get::<WarmupOutline>() else { continue };
        let in_steps = |epochs: f64| an_epoch.map(|n| (epochs * n as f64).round());
        let (asked, run, unit) = match (in_steps(warmup.epochs), length) {
            (Some(asked), Length::Epochs(epochs)) => (asked, in_steps(epochs as f64).unwrap_or(f64::MAX), "steps"),
            (asked, Length::Iters(run)) => (asked.unwrap_or(0.0), run as f64, "steps"),
            // Without the data, what is told in epochs can be compared all the same.
            (None, Length::Epochs(epochs)) => (warmup.epochs, epochs as f64, "epochs"),
        };
        let least = if unit == "steps" { warmup.min_steps as f64 } else { 0.0 };
        if asked.max(least) < run {
            continue;
        }
        let key = if asked >= least { warmup.epochs_key } else { warmup.min_steps_key };
        let title = format!("the warm-up takes {} {unit}, and the whole run has {run}", asked.max(least));
        let finding = cx.finding(Code::LongWarmup, title, &format!("{}.{key}", part.path));
        out.push(finding.help(format!("set {key} to a small part of the run, or train longer")));
    }
}

/// Steps of an epoch, at most: filters may leave out pictures.
fn steps(cx: &Context<'_>) -> Option<usize> {
    let loader = cx.section::<DataloaderConfig>("train_dataloader")?;
    let pictures = cx.fact::<DatasetOutline>("train_dataloader.dataset")?.annotations.peek().pictures?;
    let size = loader.batch_size.max(1);
    let steps = if loader.drop_last { pictures / size } else { pictures.div_ceil(size) };
    (steps > 0).then_some(steps)
}
