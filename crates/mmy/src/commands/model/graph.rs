//! `mmy model graph`: a picture of a model.

use std::path::PathBuf;

use clap::Args;
use mmy_models::{
    kinds::{DetectorModel, Maps},
    layer_list::LineInfo,
};
use mmy_nn::{
    ParamStore,
    trace::{self, LayerRow},
};
use tch::{Device, Kind, Tensor};

use super::{
    list_table,
    picture::{Node, Picture},
    thousands,
};
use crate::{
    cli::ConfigArgs,
    failure::{Failure, Outcome},
    project::Project,
};

/// Which model to draw, and where to.
#[derive(Debug, Args)]
pub struct GraphArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The picture, an SVG file
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Height and width of the input; by default the config's `img_scale`, else 640
    #[arg(long, num_args = 2, value_names = ["H", "W"])]
    pub size: Option<Vec<i64>>,
}

/// Draws the model of a config: lines of a layer list, or the modules of backbone, neck and head.
pub fn run(args: &GraphArgs) -> Outcome {
    let project = Project::load(&args.config)?;
    let (height, width) = project.input_size(args.size.as_deref())?;
    let params = ParamStore::dry();
    let net = project.config.model.build(&params.root()).map_err(|it| project.place_build(it))?;
    let title = format!("{}: {} parameters, {height}×{width}", project.name, thousands(params.num_params()));
    let picture = match net.lines() {
        [] => of_parts(&*net, &params, (height, width), title)?,
        lines => of_list(lines, &params, (height, width), title),
    };
    let write = Failure::io("write", &args.output);
    std::fs::write(&args.output, picture.to_svg()).map_err(write)
}

fn count(params: u64) -> String {
    if params == 0 { String::new() } else { thousands(params) }
}

/// One box for each line, arrows for the maps that it reads.
fn of_list(lines: &[LineInfo], params: &ParamStore, size: (i64, i64), title: String) -> Picture {
    let mut picture = Picture::new(title);
    let input = picture.node(Node::new("picture", format!("3×{}×{}", size.0, size.1), "", 1));
    // The box of each numbered map.
    let mut giver = std::collections::HashMap::new();
    for (at, line) in lines.iter().enumerate() {
        let maps =
            line.outputs.iter().map(|it| format!("{}×{}×{}", it.channels, size.0 / it.stride, size.1 / it.stride));
        let maps = maps.collect::<Vec<_>>().join(", ");
        let module =
            if line.repeats > 1 { format!("{} ×{}", line.module, line.repeats) } else { line.module.to_owned() };
        let number = if line.outputs.is_empty() { at } else { line.first };
        let read = |map: &usize| giver.get(map).copied();
        let sources: Vec<usize> = line.inputs.iter().map(|it| it.as_ref().and_then(read).unwrap_or(input)).collect();
        let coarsest = line.outputs.iter().map(|it| it.stride).max();
        let stride = coarsest.unwrap_or_else(|| sources.iter().map(|it| picture.stride(*it)).max().unwrap_or(1));
        let detail = list_table::arguments(line);
        let detail = if detail == "[]" { String::new() } else { detail };
        let parameters = count(params.num_params_below(&line.path));
        let text = [maps, detail].into_iter().filter(|it| !it.is_empty()).collect::<Vec<_>>().join("  ");
        let node = Node::new(format!("{number}  {module}"), text, parameters, stride).part(line.part);
        let node = picture.node(node);
        for source in sources {
            picture.edge(source, node);
        }
        giver.extend((line.first..line.first + line.outputs.len()).map(|map| (map, node)));
    }
    picture
}

/// A chain of boxes for the backbone, one for the neck and one for each level of the head.
fn of_parts(net: &dyn DetectorModel, params: &ParamStore, size: (i64, i64), title: String) -> Outcome<Picture> {
    let input = Tensor::zeros([1], (Kind::Float, Device::Cpu)).expand([1, 3, size.0, size.1], false);
    let (maps, rows) = trace::shapes(|| net.forward(&input, false));
    let Maps { backbone, neck, .. } = maps.map_err(Failure::user)?;
    let mut picture = Picture::new(title);
    let stride = |shape: &[i64]| if shape.len() == 4 { size.0 / shape[2].max(1) } else { 1 };
    let shape_text = |shape: &[i64]| shape[1..].iter().map(i64::to_string).collect::<Vec<_>>().join("×");
    let start = picture.node(Node::new("picture", format!("3×{}×{}", size.0, size.1), "", 1));
    let (mut last, mut stages) = (start, Vec::new());
    let units = units(&rows);
    for unit in units.iter().filter(|it| it.path.starts_with("backbone.")) {
        let parameters = count(params.num_params_below(&unit.path));
        let node = Node::new(&unit.path["backbone.".len()..], shape_text(&unit.shape), parameters, stride(&unit.shape));
        let node = picture.node(node.part("backbone"));
        picture.edge(last, node);
        last = node;
        stages.push((unit.shape.clone(), node));
    }
    let coarsest = neck.iter().map(|it| stride(&it.size())).max().unwrap_or(1);
    let modules = units.iter().filter(|it| it.path.starts_with("neck.")).count();
    let parameters = count(params.num_params_below("neck"));
    let text = format!("{modules} modules, {} maps in, {} out", backbone.len(), neck.len());
    let mixer = picture.node(Node::new("neck", text, parameters, coarsest).part("neck"));
    for map in &backbone {
        // A map is what the last module of its shape gives.
        let giver = stages.iter().rev().find(|it| it.0 == map.size()).map_or(last, |it| it.1);
        picture.edge(giver, mixer);
    }
    let levels = units.iter().filter(|it| it.path.starts_with("bbox_head."));
    for unit in levels {
        let parameters = count(params.num_params_below(&unit.path));
        let name = unit.path.rsplit("head_module.").next().unwrap_or(&unit.path);
        let node = Node::new(name, shape_text(&unit.shape), parameters, stride(&unit.shape)).part("bbox_head");
        let node = picture.node(node);
        picture.edge(mixer, node);
    }
    Ok(picture)
}

/// Layers that belong together: a module of a part, or a numbered one within it.
struct Unit {
    path: String,
    /// Shape of what its last layer gives.
    shape: Vec<i64>,
}

fn units(rows: &[LayerRow]) -> Vec<Unit> {
    let mut out: Vec<Unit> = Vec::new();
    for row in rows {
        let steps: Vec<_> = row.path.split('.').collect();
        let numbered = |it: &&&str| it.bytes().all(|it| it.is_ascii_digit());
        // `backbone.stages.0.1.dwconv` is of `backbone.stages.0.1`, a head's layers stand one step deeper.
        let named = if steps.get(1) == Some(&"head_module") { 3 } else { 2 };
        let length = named + steps.iter().skip(named).take_while(numbered).count();
        let path = steps[..length.min(steps.len())].join(".");
        match out.last_mut() {
            Some(last) if last.path == path => last.shape.clone_from(&row.output),
            _ => out.push(Unit { path, shape: row.output.clone() }),
        }
    }
    out
}
