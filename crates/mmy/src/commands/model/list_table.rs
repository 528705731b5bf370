//! The table of a layer list, as YOLOv5 prints it: where a line reads, how often it is repeated, its parameters, module and
//! arguments.

use std::fmt::Write;

use mmy_models::layer_list::LineInfo;
use mmy_nn::ParamStore;
use serde_json::{Value, json};

use super::thousands;

/// The lines as a table with a head.
pub fn table(lines: &[LineInfo], params: &ParamStore) -> String {
    let rows: Vec<[String; 7]> = lines.iter().enumerate().map(|(at, it)| row(at, it, params)).collect();
    let head = ["", "from", "n", "params", "module", "arguments", "gives"].map(str::to_owned);
    let width = |column: usize| rows.iter().chain([&head]).map(|it| it[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut out = String::new();
    for row in [&head].into_iter().chain(&rows) {
        let [w0, w1, w2, w3, w4, w5, _] = widths;
        let [at, from, n, params, module, arguments, gives] = row;
        let line = format!("{at:>w0$}  {from:>w1$}  {n:>w2$}  {params:>w3$}  {module:w4$}  {arguments:w5$}  {gives}");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out.push('\n');
    out
}

fn row(at: usize, line: &LineInfo, params: &ParamStore) -> [String; 7] {
    // The number of the map that it gives is that of the line unless some line gives several.
    let number = match line.outputs.len() {
        0 | 1 => format!("{}", if line.outputs.is_empty() { at } else { line.first }),
        maps => format!("{}…{}", line.first, line.first + maps - 1),
    };
    let gives = line.outputs.iter().map(|it| format!("{}×1/{}", it.channels, it.stride));
    [
        number,
        from(line),
        line.repeats.to_string(),
        thousands(params.num_params_below(&line.path)),
        line.module.to_owned(),
        arguments(line),
        gives.collect::<Vec<_>>().join(" "),
    ]
}

fn from(line: &LineInfo) -> String {
    match line.from.as_slice() {
        [one] => one.to_string(),
        several => format!("{several:?}"),
    }
}

/// The arguments in order, channels as they come out of the list's width; what is left at its default at the end is left
/// out.
pub fn arguments(line: &LineInfo) -> String {
    let Value::Object(values) = &line.arguments else { return "[]".to_owned() };
    let kinds = ["block", "backbone", "neck"];
    let schema = kinds.iter().find_map(|kind| mmy_registry::find(kind, line.module)).map(mmy_registry::Entry::schema);
    let default = |key: &str| schema.as_ref()?.as_value().get("properties")?.get(key)?.get("default").cloned();
    let mut shown: Vec<_> = values.iter().collect();
    while shown.last().is_some_and(|(key, value)| value.is_null() || default(key).as_ref() == Some(*value)) {
        shown.pop();
    }
    let text = |(key, value): (&String, &Value)| match (key.as_str(), line.outputs.first()) {
        ("c2", Some(output)) => output.channels.to_string(),
        _ => value.to_string(),
    };
    format!("[{}]", shown.into_iter().map(text).collect::<Vec<_>>().join(", "))
}

/// The lines as JSON.
pub fn json(lines: &[LineInfo], params: &ParamStore) -> Value {
    let line = |it: &LineInfo| {
        let gives: Vec<_> =
            it.outputs.iter().map(|map| json!({"channels": map.channels, "stride": map.stride})).collect();
        json!({
            "from": it.from,
            "repeats": it.repeats,
            "params": params.num_params_below(&it.path),
            "module": it.module,
            "arguments": it.arguments,
            "path": it.path,
            "map": it.first,
            "gives": gives,
        })
    };
    lines.iter().map(line).collect()
}
