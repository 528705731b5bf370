//! Keys of the root that belong together.

use mmy_diag::{Code, Diagnostic};

use crate::{Purpose, context::Context};

const GROUPS: [[&str; 3]; 3] = [
    ["train_dataloader", "train_cfg", "optim_wrapper"],
    ["val_dataloader", "val_cfg", "val_evaluator"],
    ["test_dataloader", "test_cfg", "test_evaluator"],
];

/// Of each group all are there, or none; and the group of what is about to run is there.
pub fn check(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    let asked = match cx.purpose {
        Purpose::Training => "train_dataloader",
        Purpose::Testing => "test_dataloader",
        Purpose::Anything | Purpose::Model => "",
    };
    for group in GROUPS.iter().filter(|group| cx.concerns(group[0])) {
        let (there, missing): (Vec<_>, Vec<_>) = group.iter().copied().partition(|it| cx.get(it).is_some());
        let wanted = !there.is_empty() || group[0] == asked;
        // A schedule may bring `val_cfg` and `test_cfg` for whoever has data.
        if missing.is_empty() || !wanted || (group[0] != asked && there.iter().all(|it| it.ends_with("_cfg"))) {
            continue;
        }
        let list = |names: &[&str]| names.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(" and ");
        let title = match there.is_empty() {
            true => format!("the config lacks {}", list(&missing)),
            false => format!("the config has {}, but not {}", list(&there), list(&missing)),
        };
        let finding = cx.finding(Code::KeysBelongTogether, title, there.first().copied().unwrap_or(""));
        out.push(finding.help(format!("set all of {}, or none", list(group))));
    }
}
