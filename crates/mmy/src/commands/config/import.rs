//! `mmy config import`: a config of mmengine in our words.
//!
//! What the two name alike is taken over. What is known to be of no use here is left out, and everything else that has no
//! counterpart is listed, in the new file and on the terminal.

mod fit;
mod link;

use std::{fmt::Write, fs, path::PathBuf};

use clap::Args;
use mmy_config::{Foreign, Lost, Node, NodeKind, read_foreign};
use mmy_diag::Loc;

use crate::{
    failure::{Failure, Outcome},
    output::show,
    project::schema_of_configs,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy config import yolov5_s.json -o configs/yolov5_s.toml
  mmy config import configs/yolov5/yolov5_s-v61_syncbn_8xb16-300e_coco.py

The best input is a dump, in which everything is resolved:
  python -c \"from mmengine import Config; Config.fromfile('config.py').dump('config.json')\"
Python is read as far as it is literals, dict(…) and arithmetic over names bound before; nothing is run.")]
pub struct ImportArgs {
    /// A dumped config (`.json`, `.py`), or one as it was written (`.py`)
    file: PathBuf,
    /// File to write; standard output without it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(args: &ImportArgs) -> Outcome {
    let name = args.file.display().to_string();
    let text = fs::read_to_string(&args.file).map_err(|it| Failure::User(format!("cannot read `{name}`: {it}")))?;
    let mut import = Import::new(read_foreign(&name, &text));
    let tree = import.convert();
    if tree.entries().is_empty() {
        return Err(Failure::User(format!(
            "`{name}` holds nothing that could be taken over{}",
            import.remarks("\n  ")
        )));
    }
    let shown = args.file.file_name().unwrap_or_default().to_string_lossy();
    let document =
        format!("# From {shown}, by `mmy config import`.{}\n\n{}", import.remarks("\n# "), tree.to_toml_unresolved());
    eprint!("{}", import.remarks("\n").trim_start_matches('\n'));
    if !import.lost.is_empty() || !import.idle.is_empty() {
        eprintln!();
    }
    match &args.output {
        None => show(&document),
        Some(path) => fs::write(path, document).map_err(Failure::io("write", path)),
    }
}

/// One import at work.
struct Import {
    foreign: Foreign,
    /// What has no counterpart, and may matter.
    lost: Vec<Lost>,
    /// What has none, and need not.
    idle: Vec<Lost>,
}

/// What mmengine's configs have and nothing here needs; the last part of the key, and why.
const NEEDLESS: [(&str, &str); 18] = [
    ("default_scope", "names need no scope"),
    ("_scope_", "names need no scope"),
    ("persistent_workers", "loader threads live as long as their run"),
    ("pin_memory", "there is no other device to copy to"),
    ("prefetch_factor", "the loader looks ahead by itself"),
    ("backend_args", "files are read from disk"),
    ("file_client_args", "files are read from disk"),
    ("launcher", "a run is one process"),
    ("log_level", "the environment variable MMY_LOG sets it"),
    ("cudnn_benchmark", "it is about CUDA"),
    ("mp_cfg", "loaders are threads, not processes"),
    ("dist_cfg", "a run is one process"),
    ("opencv_num_threads", "pictures are read without OpenCV"),
    ("meta_keys", "a sample carries all of them"),
    ("bbox_params", "boxes always go along"),
    ("keymap", "boxes always go along"),
    ("visualization", "`mmy predict` draws boxes"),
    ("sampler_seed", "each sample has a seed of its own, from epoch and index"),
];

impl Import {
    fn new(foreign: Foreign) -> Self {
        let lost = foreign.lost.clone();
        Import { foreign, lost, idle: Vec::new() }
    }

    /// The tree as we would write it: `_base_`, variables, then the keys of the root in their order.
    fn convert(&mut self) -> Node {
        let schema = schema_of_configs();
        let known = schema["properties"].as_object().cloned().unwrap_or_default();
        let (mut root, mut vars, mut bases) = (Vec::new(), Vec::new(), None);
        for (key, mut node) in std::mem::take(&mut self.foreign.root).entries().to_vec() {
            let needless = NEEDLESS.iter().find(|it| it.0 == key).filter(|_| !known.contains_key(&key));
            if let Some((_, why)) = needless {
                self.leave(&key, &node, why);
                continue;
            }
            rename(&mut node);
            match key.as_str() {
                "_base_" => bases = Some(self.bases(node)),
                "custom_imports" => {
                    self.lose(&key, &node, "parts of your own are a Rust crate that is linked into the binary")
                }
                "visualizer" | "vis_backends" => {
                    self.leave(&key, &node, "logs and pictures are always written as files")
                }
                "tta_model" | "tta_pipeline" => self.lose(&key, &node, "there is no test-time augmentation"),
                "param_scheduler" if !known.contains_key("param_scheduler") => {
                    self.lose(&key, &node, "schedules are hooks: see `mmy registry list hook`");
                }
                _ if known.contains_key(&key) => root.push((key, node)),
                _ => vars.push((key, node)),
            }
        }
        let mut tree = table(root);
        if let Some(wrapper) = child_mut(&mut tree, "optim_wrapper") {
            constructor(wrapper);
        }
        let mut vars = table(vars);
        // Before anything is taken out, what was read from a variable equals it.
        link::link(&mut tree, &mut vars);
        fit::fit(self, &schema, &mut tree, &mut vars);
        let unused = link::drop_unused(&tree, &mut vars);
        if !unused.is_empty() {
            let what = unused.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ");
            self.idle.push(Lost { line: None, what, why: "variables that nothing reads".to_owned() });
        }
        let mut out: Vec<_> = bases.into_iter().map(|it| ("_base_".to_owned(), it)).collect();
        out.extend(Some(("vars".to_owned(), vars)).filter(|it| !it.1.entries().is_empty()));
        out.extend(tree.entries().iter().cloned());
        table(out)
    }

    fn bases(&mut self, mut node: Node) -> Node {
        fn walk(node: &mut Node) {
            match &mut node.kind {
                NodeKind::Str(path) => {
                    *path = path.strip_suffix(".py").map_or_else(|| path.clone(), |it| format!("{it}.toml"));
                }
                NodeKind::List(items) => items.iter_mut().for_each(walk),
                _ => {}
            }
        }
        walk(&mut node);
        self.lose("_base_", &node, "import the bases too, or import a dump, which needs none");
        node
    }

    /// Notes that something has no counterpart.
    fn lose(&mut self, what: &str, node: &Node, why: &str) {
        let lost = self.note(what, node, why);
        self.lost.push(lost);
    }

    /// Notes that something is not needed.
    fn leave(&mut self, what: &str, node: &Node, why: &str) {
        let lost = self.note(what, node, why);
        self.idle.push(lost);
    }

    fn note(&self, what: &str, node: &Node, why: &str) -> Lost {
        let loc: Option<&Loc> = node.key.as_ref().or(node.value.as_ref());
        // A dump in JSON is a single line, of which the number says nothing.
        let lines = self.foreign.sources.get(0).map_or(0, |it| it.text.lines().count());
        let line = loc.filter(|_| lines > 1).and_then(|it| self.foreign.sources.position(it)).map(|it| it.line);
        Lost { line, what: format!("`{}`", what.trim_matches('`')), why: why.to_owned() }
    }

    /// What is to be said, each line behind `lead`.
    fn remarks(&self, lead: &str) -> String {
        let mut out = String::new();
        let lists = [(&self.lost, "Not carried over:"), (&self.idle, "Left out, since nothing here needs it:")];
        for (list, title) in lists.into_iter().filter(|it| !it.0.is_empty()) {
            let _ = write!(out, "{lead}{title}");
            for Lost { line, what, why } in list {
                let line = line.map(|it| format!("line {it}: ")).unwrap_or_default();
                let _ = write!(out, "{lead}- {line}{}: {}", what.replace('\n', " "), why.replace('\n', " "));
            }
        }
        out
    }
}

/// The names of parts without their scope, and without mmengine's marks.
fn rename(node: &mut Node) {
    match &mut node.kind {
        NodeKind::Map(entries) => {
            entries.retain(|it| it.0 != "_scope_");
            // A part begins with what it is.
            entries.sort_by_key(|it| it.0 != "type");
            for (key, child) in entries {
                match &mut child.kind {
                    NodeKind::Str(name) if key == "type" => *name = bare(name),
                    _ => rename(child),
                }
            }
        }
        NodeKind::List(items) => items.iter_mut().for_each(rename),
        _ => {}
    }
}

/// `StarNet` of `mmyolo.StarNet`, of `mmyolo.models.backbones.StarNet`, and of `<class 'mmyolo.models.StarNet'>`.
fn bare(name: &str) -> String {
    let name = name.trim_start_matches("<class '").trim_end_matches("'>");
    let first = name.split('.').next().unwrap_or(name);
    let ours = ["mmdet", "mmyolo", "mmengine", "mmcv", "torch"].contains(&first);
    if ours { name.rsplit('.').next().unwrap_or(name).to_owned() } else { name.to_owned() }
}

/// `constructor = "NAME"` is a table here.
fn constructor(wrapper: &mut Node) {
    if let Some(named) = child_mut(wrapper, "constructor").filter(|it| it.as_str().is_some()) {
        *named = named_part(std::mem::take(named));
        rename(named);
    }
}

fn table(entries: Vec<(String, Node)>) -> Node {
    let mut node = Node::default();
    node.kind = NodeKind::Map(entries);
    node
}

/// The table of a part that was named by a text alone.
fn named_part(name: Node) -> Node {
    let (key, value) = (name.key.clone(), name.value.clone());
    let mut part = table(vec![("type".to_owned(), name)]);
    (part.key, part.value) = (key, value);
    part
}

fn text(text: &str) -> Node {
    let mut node = Node::default();
    node.kind = NodeKind::Str(text.to_owned());
    node
}

fn child_mut<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    match &mut node.kind {
        NodeKind::Map(entries) => entries.iter_mut().find(|it| it.0 == key).map(|it| &mut it.1),
        _ => None,
    }
}
