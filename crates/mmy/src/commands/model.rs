//! `mmy model`.

pub mod graph;
pub mod import;
mod list_table;
mod picture;

use std::{fmt::Write, path::Path};

use mmy_engine::Model;
use mmy_nn::{
    LoadPolicy, ParamStore,
    file::{Choice, read_safetensors, read_weights, write_safetensors},
    trace::{self, LayerRow},
};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::{
    cli::ModelCommand,
    commands::{deploy, spikes},
    failure::{Failure, Outcome},
    output::{show, show_json},
    project::Project,
};

pub fn run(command: ModelCommand) -> Outcome {
    match command {
        ModelCommand::Deploy(args) => deploy::run(&args),
        ModelCommand::Info { config, size, summary, layers, deploy, json } => {
            let project = Project::load(&config)?;
            let size = project.input_size(size.as_deref())?;
            // Nothing is allocated: the largest model is counted in no time.
            let params = if deploy { ParamStore::dry().deployed() } else { ParamStore::dry() };
            info(&project, params, size, Shown { summary, layers, json })
        }
        ModelCommand::Import(args) => import::run(&args),
        ModelCommand::Graph(args) => graph::run(&args),
        ModelCommand::Forward { config, weights, input, output } => {
            forward(&Project::load(&config)?, &weights, &input, &output)
        }
        ModelCommand::Spikes(args) => spikes::run(&args),
    }
}

/// What `mmy model info` shows.
struct Shown {
    summary: bool,
    layers: bool,
    json: bool,
}

fn info(project: &Project, params: ParamStore, (height, width): (i64, i64), shown: Shown) -> Outcome {
    let Model { params, net, .. } = Model::over(&project.config.model, params).map_err(|it| project.place_build(it))?;
    let input = Tensor::zeros([1, 1, 1, 1], (Kind::Float, Device::Cpu)).expand([1, 3, height, width], false);
    let (maps, rows) = trace::shapes(|| net.forward(&input, false));
    maps.map_err(Failure::user)?;
    let (total, macs) = (params.num_params(), rows.iter().map(|it| it.macs).sum::<u64>());
    if shown.json {
        let layers: Vec<_> = rows
            .iter()
            .map(|it| {
                json!({"module": it.module, "path": it.path, "output": it.output, "params": it.params, "macs": it.macs})
            })
            .collect();
        let out = json!({"input": [1, 3, height, width], "layers": layers, "params": total, "macs": macs,
            "lines": list_table::json(net.lines(), &params)});
        return show_json(&out);
    }
    let list = !net.lines().is_empty();
    let table = match (shown.summary, list && !shown.layers) {
        (true, _) => String::new(),
        (false, true) => list_table::table(net.lines(), &params),
        (false, false) => table(&rows),
    };
    let part = |name: &str| thousands(params.num_params_below(name));
    let parts = match list {
        true => String::new(),
        false => format!(" (backbone {}, neck {}, head {})", part("backbone"), part("neck"), part("bbox_head")),
    };
    let (name, total, macs) = (&project.name, thousands(total), macs as f64 / 1e9);
    show(&format!("{table}{name}: {total} parameters{parts}, {macs:.4} GMACs at {height}×{width}\n"))
}

fn table(rows: &[LayerRow]) -> String {
    let shape = |it: &LayerRow| it.output.iter().map(i64::to_string).collect::<Vec<_>>().join("×");
    let path = rows.iter().map(|it| it.path.chars().count()).max().unwrap_or(0).max(5);
    let module = rows.iter().map(|it| it.module.chars().count()).max().unwrap_or(0).max(6);
    let output = rows.iter().map(|it| shape(it).chars().count()).max().unwrap_or(0).max(6);
    let head = ("layer", "module", "output", "parameters", "MMACs");
    let mut out =
        format!("{:path$}  {:module$}  {:>output$}  {:>12}  {:>10}\n", head.0, head.1, head.2, head.3, head.4);
    for row in rows {
        let macs = if row.macs == 0 { String::new() } else { format!("{:.2}", row.macs as f64 / 1e6) };
        let params = if row.params == 0 { String::new() } else { thousands(row.params) };
        let (layer, kind, shape) = (&row.path, row.module, shape(row));
        let _ = writeln!(out, "{layer:path$}  {kind:module$}  {shape:>output$}  {params:>12}  {macs:>10}");
    }
    out.push('\n');
    out
}

/// `1,234,567`.
pub fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<_> =
        digits.as_bytes().rchunks(3).rev().map(|it| std::str::from_utf8(it).unwrap_or_default()).collect();
    groups.join(",")
}

fn forward(project: &Project, weights: &Path, input: &Path, output: &Path) -> Outcome {
    let model = Model::build(&project.config.model, 0).map_err(|it| project.place_build(it))?;
    let weights = read_weights(weights, &Choice::default()).map_err(Failure::user)?.tensors;
    let report = model.params.load_state(&weights, LoadPolicy::Complete).map_err(Failure::user)?;
    if !report.unused.is_empty() {
        eprintln!("warning: the model has no use for {}", report.unused.join(", "));
    }
    let mut tensors = read_safetensors(input).map_err(Failure::user)?.tensors;
    let x = tensors
        .remove("input")
        .ok_or_else(|| Failure::User(format!("`{}` has no tensor `input` (N×3×H×W)", input.display())))?;
    let maps = tch::no_grad(|| model.net.forward(&x, false)).map_err(Failure::user)?;
    let mut named = Vec::new();
    let parts = [
        ("backbone", &maps.backbone),
        ("neck", &maps.neck),
        ("cls", &maps.head.cls),
        ("box", &maps.head.bbox),
        ("obj", &maps.head.obj),
    ];
    for (name, levels) in parts {
        named.extend(levels.iter().enumerate().map(|(level, map)| (format!("{name}{level}"), map.shallow_clone())));
    }
    write_safetensors(output, named.iter().map(|(name, map)| (name.as_str(), map)), Default::default())
        .map_err(Failure::user)?;
    show(&named.iter().map(|(name, map)| format!("{name}: {:?}\n", map.size())).collect::<String>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1_000, 3_162_837].map(super::thousands), ["0", "999", "1,000", "3,162,837"]);
    }
}
