//! Keys that are set and have no effect, and parts that are on their way out.

use mmy_diag::{Code, Diagnostic};
use mmy_engine::{Length, hooks::StartOutline};

use crate::context::Context;

/// Asks every part which of its keys have no effect, and looks for those that the run as a whole leaves without one.
pub fn check(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    for part in cx.parts {
        if let Some(instead) = part.entry.deprecated {
            let title = format!("`{}` is on its way out", part.entry.name);
            out.push(cx.finding(Code::Deprecated, title, &format!("{}.type", part.path)).help(instead));
        }
        for idle in &part.outline.idle {
            tell(cx, &format!("{}.{}", part.path, idle.key), &idle.why, out);
        }
    }
    if let Some(Length::Epochs(epochs)) = cx.length() {
        for part in cx.parts {
            let Some(start) = part.outline.get::<StartOutline>().filter(|it| it.epoch >= epochs) else { continue };
            let path = format!("{}.{}", part.path, start.key);
            let title = format!(
                "{} never acts: it begins after epoch {}, and the run has {epochs}",
                part.entry.name, start.epoch
            );
            let help = format!("set {} below {epochs}, or remove `{}`", start.key, part.path);
            out.push(cx.finding(Code::IdleKey, title, &path).help(help));
        }
    }
    if cx.get("val_dataloader").is_none() {
        for key in ["val_interval", "val_begin", "dynamic_intervals"] {
            tell(cx, &format!("train_cfg.{key}"), "the config has no `val_dataloader`, so nothing is validated", out);
        }
        for part in cx.parts.iter().filter(|it| it.entry.name == "CheckpointHook") {
            let why = "the config has no `val_dataloader`, so no checkpoint is known to be the best";
            tell(cx, &format!("{}.save_best", part.path), why, out);
        }
    }
}

/// Says so where the key is set.
fn tell(cx: &Context<'_>, path: &str, why: &str, out: &mut Vec<Diagnostic>) {
    if let Some(node) = cx.get(path) {
        let title = format!("`{path}` has no effect: {why}");
        let finding = cx.finding(Code::IdleKey, title, path);
        let place = node.key.clone().or(node.value.clone());
        out.push(finding.primary(place, "").help("remove it"));
    }
}
