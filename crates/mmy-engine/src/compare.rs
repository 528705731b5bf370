//! Whether a checkpoint belongs to the run that wants to go on from it.

use std::{collections::BTreeMap, fmt};

use mmy_config::{Options, from_node, load_str};
use mmy_registry::Slot;
use toml::{Table, Value};

use crate::{Fingerprint, RunConfig, hooks::HookKind};

/// One thing in which a checkpoint's run and this one differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Dotted path of the config's key; `train data` and the like for what is no key.
    pub key: String,
    /// What the checkpoint's run had; none where it had nothing there.
    pub was: Option<String>,
    /// What this run has.
    pub is: Option<String>,
    /// `file:line:column` of what this run has, where somebody knows it.
    pub place: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |it: &Option<String>| it.clone().unwrap_or_else(|| "nothing".into());
        write!(f, "{}: {} in the checkpoint, {} now", self.key, text(&self.was), text(&self.is))?;
        match &self.place {
            Some(place) => write!(f, " ({place})"),
            None => Ok(()),
        }
    }
}

/// Where two resolved configs differ in what a run computes. What it shows, where it writes, how often it looks at
/// itself and with how many threads it loads may be otherwise.
///
/// # Errors
/// When one of the texts is not TOML.
pub fn configs(was: &str, is: &str) -> Result<Vec<Difference>, toml::de::Error> {
    let mut out = Vec::new();
    walk(&mut Vec::new(), Some(&Value::Table(essence(was)?)), Some(&Value::Table(essence(is)?)), &mut out);
    Ok(out)
}

/// Where the data of two runs differ. A data set of a role that only one of them has is the configs' matter.
pub fn data(was: &[Fingerprint], is: &[Fingerprint]) -> Vec<Difference> {
    let pairs = was.iter().filter_map(|a| Some((a, is.iter().find(|b| a.role == b.role)?)));
    let different = pairs.filter(|(a, b)| a != b);
    different
        .map(|(a, b)| {
            let text = |it: &Fingerprint| {
                let digits = it.digest.get(..8).unwrap_or_default();
                format!("{} pictures with {} objects ({digits})", it.pictures, it.objects)
            };
            Difference { key: format!("{} data", a.role), was: Some(text(a)), is: Some(text(b)), place: None }
        })
        .collect()
}

/// The crates that the parts of a resolved config come from, with their versions.
pub fn parts(config: &str) -> BTreeMap<String, String> {
    let mut names = Vec::new();
    if let Ok(table) = config.parse::<Table>() {
        types(&Value::Table(table), &mut names);
    }
    let bare = |name: &str| name.rsplit(['.', ':']).next().unwrap_or_default().to_owned();
    let names: Vec<_> = names.iter().map(|it| bare(it)).collect();
    let entries = mmy_registry::entries().into_iter().filter(|it| names.iter().any(|name| name == it.name));
    entries.map(|it| (it.krate.to_owned(), it.version.to_owned())).collect()
}

fn types(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Table(table) => {
            out.extend(table.get("type").and_then(Value::as_str).map(str::to_owned));
            table.values().for_each(|it| types(it, out));
        }
        Value::Array(items) => items.iter().for_each(|it| types(it, out)),
        _ => {}
    }
}

/// A config without what does not change a run's results.
fn essence(text: &str) -> Result<Table, toml::de::Error> {
    let mut root: Table = text.parse()?;
    for key in ["work_dir", "load_from", "resume", "log_processor", "env_cfg"] {
        root.remove(key);
    }
    root.retain(|key, _| !key.starts_with("test_"));
    for key in ["train_dataloader", "val_dataloader"] {
        if let Some(Value::Table(loader)) = root.get_mut(key) {
            for key in ["num_workers", "prefetch_factor", "persistent_workers", "pin_memory", "timeout"] {
                loader.remove(key);
            }
            // Where the data lies may change: what it is stands in its fingerprint.
            loader.get_mut("dataset").into_iter().for_each(forget_places);
        }
    }
    if let Some(Value::Table(evaluator)) = root.get_mut("val_evaluator") {
        evaluator.remove("ann_file");
    }
    if let Some(Value::Table(cfg)) = root.get_mut("train_cfg") {
        for key in ["val_interval", "val_begin", "dynamic_intervals"] {
            cfg.remove(key);
        }
    }
    forget_watchers(text, &mut root);
    Ok(root)
}

fn forget_places(value: &mut Value) {
    match value {
        Value::Table(table) => {
            for key in ["data_root", "ann_file", "data_prefix"] {
                table.remove(key);
            }
            table.iter_mut().for_each(|(_, it)| forget_places(it));
        }
        Value::Array(items) => items.iter_mut().for_each(forget_places),
        _ => {}
    }
}

/// Removes the hooks that only look on. A config that this program cannot read keeps all of its hooks.
fn forget_watchers(text: &str, root: &mut Table) {
    let typed = load_str("checkpoint.toml", text, &Options::default()).and_then(|it| from_node::<RunConfig>(&it));
    let Ok(config) = typed else { return };
    let watches = |slot: &Slot<HookKind>| slot.build(()).is_ok_and(|it| !it.changes_training());
    if let Some(Value::Table(hooks)) = root.get_mut("default_hooks") {
        hooks.retain(|key, _| !config.default_hooks.get(key).is_some_and(watches));
    }
    if let Some(Value::Array(hooks)) = root.get_mut("custom_hooks") {
        let mut slots = config.custom_hooks.iter();
        hooks.retain(|_| !slots.next().is_some_and(watches));
    }
    root.retain(|key, value| !(key.ends_with("_hooks") && is_empty(value)));
}

fn is_empty(value: &Value) -> bool {
    value.as_table().is_some_and(Table::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn walk(path: &mut Vec<String>, was: Option<&Value>, is: Option<&Value>, out: &mut Vec<Difference>) {
    match (was, is) {
        (Some(Value::Table(a)), Some(Value::Table(b))) => {
            let mut keys: Vec<_> = b.keys().chain(a.keys().filter(|it| !b.contains_key(*it))).collect();
            // Another part altogether differs in all of its keys: its name says enough.
            if a.get("type") != b.get("type") {
                keys.retain(|it| *it == "type");
            }
            for key in keys {
                path.push(key.clone());
                walk(path, a.get(key), b.get(key), out);
                path.pop();
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() && a.iter().any(Value::is_table) => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                path.push(index.to_string());
                walk(path, Some(a), Some(b), out);
                path.pop();
            }
        }
        (a, b) if a == b => {}
        (was, is) => {
            let text = |it: &Value| shortened(&it.to_string());
            out.push(Difference { key: path.join("."), was: was.map(text), is: is.map(text), place: None });
        }
    }
}

/// A value on one line of a message.
fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"
work_dir = "a"
[model]
type = "M"
depths = [1, 2]
[train_dataloader]
num_workers = 1
batch_size = 4
[train_dataloader.dataset]
type = "D"
data_root = "here/"
pipeline = [{ type = "A", p = 0.5 }, { type = "B" }]
[train_cfg]
type = "EpochBasedTrainLoop"
max_epochs = 3
[default_hooks.logger]
type = "LoggerHook"
"#;

    fn differences(change: &[(&str, &str)]) -> Vec<String> {
        let is = change.iter().fold(BASE.to_owned(), |text, (from, to)| text.replace(from, to));
        configs(BASE, &is).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_run_computes_may_not_change() {
        assert_eq!(differences(&[("[1, 2]", "[1, 3]")]), ["model.depths: [1, 2] in the checkpoint, [1, 3] now"]);
        assert_eq!(
            differences(&[("p = 0.5", "p = 1.0"), ("batch_size = 4", "")]),
            [
                "train_dataloader.dataset.pipeline.0.p: 0.5 in the checkpoint, 1.0 now",
                "train_dataloader.batch_size: 4 in the checkpoint, nothing now"
            ]
        );
        assert_eq!(differences(&[("\"M\"\ndepths = [1, 2]", "\"N\"")]).len(), 1);
        assert_eq!(differences(&[("max_epochs = 3", "max_epochs = 4")]).len(), 1);
    }

    #[test]
    fn where_it_lies_and_what_it_shows_may() {
        let harmless = [("\"a\"", "\"b\""), ("num_workers = 1", "num_workers = 8"), ("here/", "there/")];
        for change in [&harmless[..], &[("max_epochs = 3", "max_epochs = 3\nval_interval = 2")]] {
            assert!(differences(change).is_empty(), "{change:?}");
        }
    }

    #[test]
    fn other_data_are_told() {
        let print =
            |digest: &str, objects| Fingerprint { role: "train".into(), pictures: 2, objects, digest: digest.into() };
        assert!(data(&[print("00112233445566", 5)], &[print("00112233445566", 5)]).is_empty());
        let found = data(&[print("00112233445566", 5)], &[print("ff112233445566", 5)]);
        assert_eq!(
            found[0].to_string(),
            "train data: 2 pictures with 5 objects (00112233) in the checkpoint, 2 pictures with 5 objects (ff112233) now"
        );
        assert!(data(&[], &[print("0", 1)]).is_empty());
    }
}
