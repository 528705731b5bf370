//! Parts that are judged by themselves: whatever can be built from its keys alone is.

use mmy_config::NodeKind;
use mmy_data::{BatchShapes, Collate, Sampler, SamplerArgs, Transform};
use mmy_diag::Diagnostic;
use mmy_engine::{
    hooks::HookKind,
    loops::{EvalLoopKind, TrainLoopKind},
};
use mmy_registry::{BuildError, Kind, Slot};

use crate::{Purpose, context::Context, explore::explore};

/// Builds hooks, loops, and what loaders are made of; for other parts, asks what they say of themselves.
pub fn check(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    if cx.purpose == Purpose::Model {
        return;
    }
    each::<HookKind>(cx, "default_hooks", out);
    each::<HookKind>(cx, "custom_hooks", out);
    if cx.concerns("train_cfg") {
        one::<TrainLoopKind>(cx, "train_cfg", out);
    }
    for path in ["val_cfg", "test_cfg"].into_iter().filter(|it| cx.concerns(it)) {
        one::<EvalLoopKind>(cx, path, out);
    }
    for path in ["train_dataloader", "val_dataloader", "test_dataloader"].into_iter().filter(|it| cx.concerns(it)) {
        for key in ["batch_size", "prefetch_factor"] {
            if cx.get(&format!("{path}.{key}")).is_some_and(|it| it.as_int() == Some(0)) {
                let error = BuildError::new("it is 0").code(mmy_diag::Code::OutOfRange).at(key).at(path);
                out.push(cx.fault(&error.help("give at least 1")));
            }
        }
        let sampler = |it: &Slot<Sampler>| it.build(SamplerArgs { len: 1, seed: 0 });
        explore(cx, &format!("{path}.sampler"), sampler, out);
        one::<Collate>(cx, &format!("{path}.collate_fn"), out);
        one::<BatchShapes>(cx, &format!("{path}.dataset.batch_shapes_cfg"), out);
        each::<Transform>(cx, &format!("{path}.dataset.pipeline"), out);
    }
    for part in cx.parts.iter().filter(|it| cx.concerns(&it.path)) {
        out.extend(part.outline.problems.iter().map(|it| cx.fault(&it.clone().at(&part.path))));
    }
}

fn one<K>(cx: &Context<'_>, path: &str, out: &mut Vec<Diagnostic>)
where
    K: for<'a> Kind<Args<'a> = ()>,
{
    explore(cx, path, |it: &Slot<K>| it.build(()).map(drop), out);
}

/// The entries of a table, or the elements of a list.
fn each<K>(cx: &Context<'_>, path: &str, out: &mut Vec<Diagnostic>)
where
    K: for<'a> Kind<Args<'a> = ()>,
{
    let names: Vec<_> = match cx.get(path).map(|it| &it.kind) {
        Some(NodeKind::Map(entries)) => entries.iter().map(|it| it.0.clone()).collect(),
        Some(NodeKind::List(items)) => (0..items.len()).map(|it| it.to_string()).collect(),
        _ => Vec::new(),
    };
    names.iter().for_each(|it| one::<K>(cx, &format!("{path}.{it}"), out));
}
