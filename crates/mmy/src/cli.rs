//! What the command line takes.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    DeployArgs,
    build::BuildArgs,
    completions::CompletionsArgs,
    config::ConfigCommand,
    data::{anchors, browse, convert, stats},
    data_check,
    explain::ExplainArgs,
    man::ManArgs,
    model::{graph::GraphArgs, import::ImportArgs},
    new::NewCommand,
    registry::DocsArgs,
    replay::ReplayArgs,
    verify::VerifyArgs,
    version::VersionArgs,
    weights::WeightsCommand,
};

/// Trains object detectors: backbones, necks, heads and pipelines put together by TOML configs.
#[derive(Debug, Parser)]
#[command(
    name = "mmy",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  mmy train configs/starnet_s1_yolov5.toml
  mmy test configs/starnet_s1_yolov5.toml work_dirs/starnet_s1_yolov5/epoch_10.safetensors
  mmy predict work_dirs/starnet_s1_yolov5/epoch_10.safetensors photos/ --out out/
  mmy registry list backbone"
)]
pub struct Cli {
    /// Print warnings, errors and what was asked for, and nothing else; a run's log file has every line all the same
    #[arg(long, short, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a detector
    Train(TrainArgs),
    /// Compute the metrics of a checkpoint on the config's test data
    Test(TestArgs),
    /// Find objects in pictures; the checkpoint alone is enough
    Predict(PredictArgs),
    /// Look into configs
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look into the table of registered parts
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Look into models
    #[command(subcommand)]
    Model(ModelCommand),
    /// Look into files of weights, of whatever origin, and convert them
    #[command(subcommand)]
    Weights(WeightsCommand),
    /// Look at data sets, find their faults, convert them, and make some
    #[command(subcommand)]
    Data(DataCommand),
    /// Measure speed
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Show which hooks act at which stage of a run, in what order, and where each comes from
    Hooks(crate::commands::hooks::HooksArgs),
    /// Look at the learning rates of a run
    #[command(subcommand)]
    Schedule(crate::commands::schedule::ScheduleCommand),
    /// Run the first steps of a run again and tell whether they are the same, to the last bit
    Verify(VerifyArgs),
    /// Run a step that went wrong again and look into it
    Replay(ReplayArgs),
    /// Say what a code such as E0201 means, with an example and what to do
    Explain(ExplainArgs),
    /// Begin a crate of your own
    #[command(subcommand)]
    New(NewCommand),
    /// Make a program with plugin crates linked in
    Build(BuildArgs),
    /// Write what a shell needs to complete commands and options
    Completions(CompletionsArgs),
    /// Write a manual page for each command
    Man(ManArgs),
    /// Say what this program is made of
    Version(VersionArgs),
}

/// A config and what is changed in it.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The config file
    pub config: PathBuf,
    /// Change a value: `key.path=VALUE` (VALUE as in TOML), `key+=[…]` appends, `~key` removes; a bare name of `[vars]`
    /// means that variable; `list.+0=VALUE` puts something into a list. May be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// The same in mmengine's spelling, several at once: `a.b=1 c.0.d=[1,2]`
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    pub cfg_options: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy train configs/starnet_s1_yolov5.toml
  mmy train configs/starnet_s1_yolov5.toml --set max_epochs=60 --set train_dataloader.batch_size=8
  mmy train configs/starnet_s1_yolov5.toml --resume
  mmy train configs/voc/yolov5_n.toml --set data_root=data/bccd --load-from yolov5_n.safetensors")]
pub struct TrainArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Folder of checkpoints and logs; by default `work_dirs/` and the config's name
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// Go on from the newest checkpoint in the work folder, or from this one
    #[arg(long, value_name = "CHECKPOINT", num_args = 0..=1)]
    pub resume: Option<Option<PathBuf>>,
    /// As --resume, also where config or data are not those of the checkpoint's run
    #[arg(long)]
    pub resume_anyway: bool,
    /// Start from the weights of this file: safetensors, or a PyTorch checkpoint (.pth, .pt, .pth.tar)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["resume", "resume_anyway"])]
    pub load_from: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy test configs/starnet_s1_yolov5.toml work_dirs/starnet_s1_yolov5/epoch_10.safetensors
  mmy test configs/yolov5/yolov5_n.toml yolov5_n.safetensors --set data_root=/data/coco/")]
pub struct TestArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// A checkpoint of `mmy train`, or any safetensors file or PyTorch checkpoint with the model's weights
    pub checkpoint: PathBuf,
    /// Folder of the log and the metrics; by default `work_dirs/` and the config's name
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mmy predict epoch_10.safetensors street.jpg --out out/
  mmy predict epoch_10.safetensors photos/ --out out/ --score-thr 0.5
  mmy predict yolov5_s-v61.pth street.jpg --config configs/yolov5/yolov5_s.toml --out out/")]
pub struct PredictArgs {
    /// A checkpoint of `mmy train`; with `--config`, any safetensors file or PyTorch checkpoint
    pub checkpoint: PathBuf,
    /// The config of the model whose weights these are, for files that do not carry it
    #[arg(long, value_name = "CONFIG")]
    pub config: Option<PathBuf>,
    /// Change a value of that config, as in `mmy train`
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "config")]
    pub set: Vec<String>,
    /// Pictures, and folders of pictures
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Folder of the pictures with boxes and of `predictions.json`
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Lowest score that is shown
    #[arg(long, value_name = "SCORE", default_value_t = 0.3)]
    pub score_thr: f32,
    /// Pictures that go through the model at a time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch_size: usize,
}

#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    /// List the registered parts, of one kind or of all
    #[command(after_help = "Examples:\n  mmy registry list\n  mmy registry list backbone --json")]
    List {
        /// Such as backbone, neck, hook, transform
        kind: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a part is, its keys with types, defaults and docs, and where it is written
    #[command(after_help = "Example:\n  mmy registry show StarNet")]
    Show {
        /// The name that configs use in `type`
        name: String,
    },
    /// Write the reference of every part, a page for each kind
    Docs(DocsArgs),
}

#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Merge what is trained as several layers into one: batch norms into convolutions, branches into one kernel
    Deploy(DeployArgs),
    /// Show a model's layers: output shape, parameters, multiply-adds; of a layer list, its lines
    #[command(after_help = "\
Examples:
  mmy model info configs/yolov5/yolov5_s.toml
  mmy model info configs/starnet_s1_yolov5.toml --size 320 320 --json")]
    Info {
        #[command(flatten)]
        config: ConfigArgs,
        /// Height and width of the input; by default the config's `img_scale`, else 640
        #[arg(long, num_args = 2, value_names = ["H", "W"])]
        size: Option<Vec<i64>>,
        /// Show the totals alone
        #[arg(long)]
        summary: bool,
        /// Show every layer of a layer list too, not its lines
        #[arg(long, conflicts_with = "summary")]
        layers: bool,
        /// Show the form that `mmy model deploy` writes
        #[arg(long)]
        deploy: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a config of a model in YOLOv5's YAML format
    #[command(after_help = "\
Examples:
  mmy model import yolov5s.yaml -o configs/my_yolov5s.toml
  mmy model import yolov5.yaml --scale n --anchors '[[10, 13, 16, 30], [30, 61, 62, 45], [116, 90, 156, 198]]'")]
    Import(ImportArgs),
    /// Draw a model as an SVG picture
    #[command(after_help = "\
Examples:
  mmy model graph configs/layer_list/yolov5s.toml -o yolov5s.svg
  mmy model graph configs/starnet_s1_yolov5.toml --size 320 320 -o starnet.svg")]
    Graph(GraphArgs),
    /// Run a model on given numbers, to hold it against another implementation
    ///
    /// Evaluation mode, float32. INPUT holds `input` (N×3×H×W, as the network sees it: no scaling, no channel swap);
    /// OUTPUT gets backbone0…, neck0…, cls0…, box0…, obj0….
    #[command(after_help = "\
Example:
  mmy model forward configs/yolov5/yolov5_n.toml --weights w.safetensors --input x.safetensors --output y.safetensors")]
    Forward {
        #[command(flatten)]
        config: ConfigArgs,
        /// Weights, by the model's names; a missing or misshapen one is an error
        #[arg(long, value_name = "FILE")]
        weights: PathBuf,
        /// The input
        #[arg(long, value_name = "FILE")]
        input: PathBuf,
        /// The output
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Count how often a spiking model's neurons fire, and estimate the energy that it would take
    Spikes(crate::commands::spikes::SpikesArgs),
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    Check(data_check::Args),
    /// Count what is in a config's data: classes, sizes, shapes, what is seen together; as a table or a page of plots
    Stats(stats::StatsArgs),
    /// Draw a config's samples: the stored picture, what training sees, or each step of the pipeline
    Browse(browse::BrowseArgs),
    /// Find anchors that fit a config's data
    Anchors(anchors::AnchorsArgs),
    /// Write a data set in another format: COCO, VOC, YOLO's texts, labelme
    Convert(convert::ConvertArgs),
    /// Put the pictures of a data set into splits
    Split(convert::SplitArgs),
    /// Write a part of a data set: some classes, some pictures
    Subset(convert::SubsetArgs),
    /// Put several data sets into one
    Merge(convert::MergeArgs),
    /// Draw a synthetic data set in COCO format: textured backgrounds with overlapping, rotated, occluded shapes
    #[command(after_help = "\
Examples:
  mmy data shapes data/shapes
  mmy data shapes data/hard --train 5000 --size 640 480 --seed 1")]
    Shapes {
        /// Folder to make
        dir: PathBuf,
        /// Pictures to train on
        #[arg(long, value_name = "N")]
        train: Option<usize>,
        /// Pictures to validate on
        #[arg(long, value_name = "N")]
        val: Option<usize>,
        /// Width and height
        #[arg(long, num_args = 2, value_names = ["W", "H"])]
        size: Option<Vec<usize>>,
        /// From 0 (plain, large, strong contrast) to 1 (clutter, occlusion, small, weak contrast)
        #[arg(long, value_name = "D")]
        difficulty: Option<f64>,
        /// Another seed draws other pictures
        #[arg(long)]
        seed: Option<u64>,
    },
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Pictures per second of the training pipeline alone
    #[command(after_help = "Example:\n  mmy bench data configs/starnet_s1_yolov5.toml --workers 1")]
    Data {
        #[command(flatten)]
        bench: BenchArgs,
        /// Loader threads; by default the config's
        #[arg(long, value_name = "N")]
        workers: Option<usize>,
    },
    /// Milliseconds of a training step and of its parts, on random pictures
    ///
    /// With `--vary`, one line for each setting, and the memory that a step takes above what there was before it.
    #[command(after_help = "\
Examples:
  mmy bench train configs/yolov5/yolov5_n.toml --size 320 320 --batch-size 8
  mmy bench train configs/revcol/revcol_tiny.toml --size 320 320 --batch-size 2 \\
      --vary model.backbone.reversible=true,false --vary columns=2,4,8,16")]
    Train {
        #[command(flatten)]
        bench: BenchArgs,
        #[command(flatten)]
        step: StepArgs,
        /// Values that a key is to take, one after the other; given several times, each with each
        #[arg(long, value_name = "KEY=VALUE,…")]
        vary: Vec<String>,
    },
    /// Milliseconds of a prediction, on random pictures
    #[command(after_help = "\
Examples:
  mmy bench infer configs/yolov5/yolov5_n.toml --size 640 640 --batch-size 1
  mmy bench infer configs/mobileone/mobileone_s0.toml --deploy")]
    Infer {
        #[command(flatten)]
        bench: BenchArgs,
        #[command(flatten)]
        step: StepArgs,
        /// In the form that `mmy model deploy` writes
        #[arg(long)]
        deploy: bool,
    },
}

#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Measured rounds, after two that are not
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub rounds: usize,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct StepArgs {
    /// Height and width; by default the config's `img_scale`, else 640
    #[arg(long, num_args = 2, value_names = ["H", "W"])]
    pub size: Option<Vec<i64>>,
    /// Pictures in a batch
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub batch_size: usize,
    /// Number format: float32, bfloat16, auto
    #[arg(long, default_value = "auto", value_parser = ["float32", "bfloat16", "auto"])]
    pub dtype: String,
    /// Order of numbers in memory: channels-last, contiguous
    #[arg(long, default_value = "channels-last", value_parser = ["channels-last", "contiguous"])]
    pub format: String,
}
