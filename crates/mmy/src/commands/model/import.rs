//! `mmy model import`: a model of YOLOv5's YAML format as a config.

use std::{fmt::Write, fs, path::PathBuf};

use clap::Args;
use mmy_config::{Options, from_node, from_node_at};
use mmy_models::kinds::DetectorModel;
use mmy_nn::ParamStore;
use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde_json::{Number, Value};

use crate::{
    failure::{Failure, Outcome},
    output::show,
    project::Project,
};

/// Which file to read and where to write.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A model of YOLOv5 or Ultralytics in YAML
    pub file: PathBuf,
    /// The config to write; by default it is printed
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which of the file's `scales` to take, such as `n`; by default the first
    #[arg(long, value_name = "NAME")]
    pub scale: Option<String>,
    /// Anchors for a file that leaves them to be fitted: a TOML list with a row for each level
    #[arg(long, value_name = "ROWS")]
    pub anchors: Option<String>,
}

/// The settings of heads that go with every list.
const BASE: &str = include_str!("../../../../../configs/_base_/models/layer_list.toml");

/// Reads a YAML, writes a config, and tells what is wrong with the model it describes.
pub fn run(args: &ImportArgs) -> Outcome {
    let text = fs::read_to_string(&args.file).map_err(Failure::io("read", &args.file))?;
    let name = args.file.file_name().map_or_else(|| "model.yaml".into(), |it| it.to_string_lossy().into_owned());
    let file = read(&text, args).map_err(|it| Failure::User(format!("{}{it}", args.file.display())))?;
    // A first text without numbers is built; what was found then numbers the lines of the second.
    let plain = file.to_toml(&name, None);
    let built = check(&plain);
    let text = match &built {
        Ok(model) => file.to_toml(&name, Some(&**model)),
        Err(_) => plain,
    };
    match &args.output {
        Some(path) => fs::write(path, text).map_err(Failure::io("write", path))?,
        None => show(&text)?,
    }
    built.map(|_| ())
}

fn check(text: &str) -> Outcome<Box<dyn DetectorModel>> {
    let loaded = mmy_config::load_str("imported.toml", text, &Options::default())?;
    let config = from_node::<mmy_engine::RunConfig>(&loaded)?;
    let project = Project { loaded, config, name: "imported".into() };
    project.config.model.build(&ParamStore::dry().root()).map_err(|it| project.place_build(it))
}

/// A model as the file has it.
struct File {
    nc: Value,
    depth: Value,
    width: Value,
    anchors: Value,
    activation: Option<String>,
    parts: [(&'static str, Vec<Value>); 2],
}

fn read(text: &str, args: &ImportArgs) -> Result<File, String> {
    let documents = MarkedYaml::load_from_str(text).map_err(|it| format!(": {it}"))?;
    let root = documents.first().ok_or(": the file is empty")?;
    let YamlData::Mapping(_) = &root.data else { return Err(at(root, "a model is a table of keys")) };
    let (mut depth, mut width) = (number(root, "depth_multiple")?, number(root, "width_multiple")?);
    if let Some(scales) = get(root, "scales") {
        let YamlData::Mapping(scales) = &scales.data else { return Err(at(scales, "`scales` is a table")) };
        let names: Vec<_> = scales.keys().map(|it| value(it).map(|it| word(&it))).collect::<Result<_, _>>()?;
        let wanted = args.scale.clone().or_else(|| names.first().cloned()).unwrap_or_default();
        let place = names.iter().position(|it| *it == wanted);
        let scale = place.and_then(|it| scales.values().nth(it));
        let scale = scale.ok_or_else(|| format!(": there is no scale `{wanted}`; scales: {}", names.join(", ")))?;
        if let Value::Array(factors) = value(scale)? {
            depth = factors.first().cloned().unwrap_or(depth);
            width = factors.get(1).cloned().unwrap_or(width);
        }
    } else if args.scale.is_some() {
        return Err(": the file has no `scales` to choose from".to_owned());
    }
    let nc = get(root, "nc").map(value).transpose()?.unwrap_or(Value::from(80));
    let anchors = match (&args.anchors, get(root, "anchors").map(value).transpose()?) {
        (Some(rows), _) => toml_rows(rows)?,
        (None, Some(Value::Array(rows))) => Value::Array(rows),
        (None, Some(count)) => {
            let place = get(root, "anchors").map(place).unwrap_or_default();
            return Err(format!(
                "{place}: `anchors: {count}` leaves them to be fitted; give them by --anchors '[[…], […]]'"
            ));
        }
        (None, None) => return Err(": the file has no `anchors`, and only models with anchors can be imported".into()),
    };
    let activation = get(root, "activation").map(activation).transpose()?;
    let part = |name| -> Result<Vec<Value>, String> {
        let Some(part) = get(root, name) else { return Ok(Vec::new()) };
        let YamlData::Sequence(lines) = &part.data else { return Err(at(part, &format!("`{name}` is a list"))) };
        lines.iter().map(line).collect()
    };
    let parts = [("backbone", part("backbone")?), ("head", part("head")?)];
    if parts.iter().all(|it| it.1.is_empty()) {
        return Err(at(root, "the file has neither `backbone` nor `head`"));
    }
    Ok(File { nc, depth, width, anchors, activation, parts })
}

/// One line, with names of modules and of nothing as configs write them.
fn line(node: &MarkedYaml<'_>) -> Result<Value, String> {
    let line = value(node)?;
    let Value::Array(mut line) = line else { return Err(at(node, "a line is a list [from, number, module, args]")) };
    if !(3..=4).contains(&line.len()) {
        return Err(at(node, "a line is a list [from, number, module, args]"));
    }
    if let Value::String(module) = &line[2] {
        let bare = module.rsplit('.').next().unwrap_or(module).to_owned();
        line[2] = Value::String(if module.starts_with("nn.") { format!("nn.{bare}") } else { bare });
    }
    Ok(Value::Array(line))
}

fn get<'a, 'i>(root: &'a MarkedYaml<'i>, key: &str) -> Option<&'a MarkedYaml<'i>> {
    let YamlData::Mapping(entries) = &root.data else { return None };
    let is_key = |it: &MarkedYaml<'_>| matches!(&it.data, YamlData::Value(Scalar::String(name)) if name == key);
    entries.iter().find(|it| is_key(it.0)).map(|it| it.1)
}

fn number(root: &MarkedYaml<'_>, key: &str) -> Result<Value, String> {
    let Some(node) = get(root, key) else { return Ok(Value::from(1.0)) };
    match value(node)? {
        it @ Value::Number(_) => Ok(it),
        other => Err(at(node, &format!("`{key}` is a number, not {other}"))),
    }
}

/// What a node holds; nothing is the text `None`, as YOLOv5 itself writes it.
fn value(node: &MarkedYaml<'_>) -> Result<Value, String> {
    Ok(match &node.data {
        YamlData::Value(Scalar::Null) => Value::from("None"),
        YamlData::Value(Scalar::Boolean(it)) => Value::from(*it),
        YamlData::Value(Scalar::Integer(it)) => Value::from(*it),
        YamlData::Value(Scalar::FloatingPoint(it)) => {
            Number::from_f64(it.into_inner()).map(Value::Number).ok_or_else(|| at(node, "a number that is none"))?
        }
        YamlData::Value(Scalar::String(it)) => text(it),
        YamlData::Sequence(items) => Value::Array(items.iter().map(value).collect::<Result<_, _>>()?),
        _ => return Err(at(node, "a number, a word or a list is expected here")),
    })
}

/// A word; Python's constants and quoted words mean what they mean there.
fn text(word: &str) -> Value {
    match word {
        "True" => Value::from(true),
        "False" => Value::from(false),
        _ => Value::from(word.trim_matches(['\'', '"'])),
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `nn.LeakyReLU(0.1)` as a table.
fn activation(node: &MarkedYaml<'_>) -> Result<String, String> {
    let Value::String(text) = value(node)? else { return Err(at(node, "`activation` is such as nn.LeakyReLU(0.1)")) };
    let (name, arguments) = text.trim_end_matches(')').split_once('(').unwrap_or((&text, ""));
    let name = name.rsplit('.').next().unwrap_or(name);
    let slope = |it: &str| it.trim().trim_start_matches("negative_slope=").parse::<f64>().ok();
    match arguments.split(',').find_map(slope) {
        Some(slope) => Ok(format!("{{ type = {name:?}, negative_slope = {slope:?} }}")),
        None => Ok(format!("{{ type = {name:?} }}")),
    }
}

fn toml_rows(text: &str) -> Result<Value, String> {
    let loaded = mmy_config::load_str("--anchors", &format!("anchors = {text}"), &Options::default());
    let rows = loaded.ok().and_then(|it| from_node_at::<Value>(&it, "anchors").ok());
    rows.filter(Value::is_array).ok_or_else(|| format!(": --anchors {text} is no list of rows"))
}

fn place(node: &MarkedYaml<'_>) -> String {
    format!(":{}:{}", node.span.start.line(), node.span.start.col() + 1)
}

fn at(node: &MarkedYaml<'_>, message: &str) -> String {
    format!("{}: {message}", place(node))
}

impl File {
    /// The config; with a model, each line says its number and stride.
    fn to_toml(&self, name: &str, model: Option<&dyn DetectorModel>) -> String {
        let mut out = format!(
            "# Imported from {name}.\n#\n# Data, schedule and hooks are those that `_base_` names, once it does.\n\n[vars]\n"
        );
        let _ = writeln!(out, "num_classes = {}\nimg_scale = [640, 640]", toml(&self.nc));
        let _ = writeln!(out, "depth_multiple = {}\nwidth_multiple = {}", toml(&self.depth), toml(&self.width));
        out.push_str("anchors = [\n");
        for row in self.anchors.as_array().into_iter().flatten() {
            let _ = writeln!(out, "    {},", toml(row));
        }
        out.push_str("]\n");
        out.push_str("num_det_layers = \"{{ anchors | length }}\"\n");
        // The rest of the base, from the variables that a list has no say in.
        let rest = BASE.split_once("loss_cls_weight").map_or("", |it| it.1);
        let rest = format!("loss_cls_weight{rest}");
        let (vars, model_table) = rest.split_once("[model]\n").unwrap_or((&rest, ""));
        out.push_str(vars);
        let (settings, tables) = model_table.split_once("\n\n").unwrap_or((model_table, ""));
        out.push_str("[model]\n");
        for setting in settings.lines() {
            match &self.activation {
                Some(it) if setting.starts_with("act_cfg") => {
                    let _ = writeln!(out, "act_cfg = {it}");
                }
                _ => {
                    let _ = writeln!(out, "{setting}");
                }
            }
        }
        let mut infos = model.map(DetectorModel::lines).unwrap_or_default().iter();
        for (part, lines) in &self.parts {
            let _ = writeln!(out, "{part} = [");
            for line in lines {
                let note = infos.next().map_or(String::new(), |it| match it.outputs.last() {
                    Some(map) => format!(" # {}, stride {}", it.first + it.outputs.len() - 1, map.stride),
                    None => String::new(),
                });
                let _ = writeln!(out, "    {},{note}", toml(line));
            }
            out.push_str("]\n");
        }
        out.push('\n');
        out.push_str(tables);
        out
    }
}

/// A value on one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Number(it) => it.to_string(),
        Value::Bool(it) => it.to_string(),
        other => format!("{:?}", word(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str = "\
nc: 3 # classes
depth_multiple: 0.33
width_multiple: 0.5
anchors:
  - [10,13, 16,30]
activation: nn.LeakyReLU(0.1)
backbone:
  # [from, number, module, args]
  [[-1, 1, Conv, [16, 3, 2]],
   [-1, 3, models.common.C3, [32, False]],
   [-1, 1, nn.Upsample, [None, 2, 'nearest']]]
head:
  [[[2], 1, Detect, [nc, anchors]]]
";

    fn import(text: &str) -> Result<String, String> {
        let args = ImportArgs { file: "tiny.yaml".into(), output: None, scale: None, anchors: None };
        let file = read(text, &args)?;
        let plain = file.to_toml("tiny.yaml", None);
        let model = check(&plain).map_err(|it| it.render())?;
        Ok(file.to_toml("tiny.yaml", Some(&*model)))
    }

    #[test]
    fn a_yaml_becomes_a_config_that_builds() {
        let text = import(TINY).unwrap();
        for line in [
            "num_classes = 3",
            "anchors = [\n    [10, 13, 16, 30],\n]",
            "act_cfg = { type = \"LeakyReLU\", negative_slope = 0.1 }",
            "    [-1, 1, \"Conv\", [16, 3, 2]], # 0, stride 2",
            "    [-1, 3, \"C3\", [32, false]], # 1, stride 2",
            "    [-1, 1, \"nn.Upsample\", [\"None\", 2, \"nearest\"]], # 2, stride 1",
            "    [[2], 1, \"Detect\", [\"nc\", \"anchors\"]],\n",
        ] {
            assert!(text.contains(line), "`{line}` is not in\n{text}");
        }
        assert!(check(&text).is_ok());
    }

    #[test]
    fn what_cannot_be_imported_is_told_with_its_place() {
        let check = |from: &str, to: &str, expect: &str| {
            assert!(TINY.contains(from));
            let error = import(&TINY.replace(from, to)).unwrap_err();
            assert!(error.contains(expect), "{error}");
        };
        check("  - [10,13, 16,30]", "  3", ":5:3: `anchors: 3` leaves them to be fitted");
        check("depth_multiple: 0.33", "depth_multiple: deep", ":2:17: `depth_multiple` is a number");
        check("[-1, 1, Conv, [16, 3, 2]]", "[-1, 1]", ":9:4: a line is a list");
        check("Conv, [16", "Convolution, [16", "nothing is called `Convolution`");
        check("Detect, [nc", "Detect, [nc: 3", "expected here");
        assert!(import("").unwrap_err().contains("empty"));
        assert!(import("a: [1").is_err());
    }
}
