//! `mmy bench`: medians and spread of the three things that take time.

mod vary;

use std::{fmt::Write, time::Instant};

use mmy_engine::{
    Model,
    optim::{OptimWrapper, Precision, WrapperArgs},
};
use mmy_nn::{MemoryFormat, ParamStore};
use mmy_structures::{Batch, ImageMeta, Targets};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

use crate::{
    cli::{BenchArgs, BenchCommand, StepArgs},
    failure::{Failure, Outcome},
    logging,
    output::{show, show_json},
    project::Project,
};

/// Rounds before the first one that counts: libtorch chooses kernels and the allocator warms up in them.
const WARM_UP: usize = 2;

pub fn run(command: BenchCommand) -> Outcome {
    logging::start();
    match command {
        BenchCommand::Data { bench, workers } => data(&bench, workers),
        BenchCommand::Train { bench, step, vary } if !vary.is_empty() => vary::run(&bench, &step, &vary),
        BenchCommand::Train { bench, step, .. } => train(&bench, &step),
        BenchCommand::Infer { bench, step, deploy } => infer(&bench, &step, deploy),
    }
}

/// Named figures, each with one number a round.
#[derive(Default)]
struct Figures(Vec<(&'static str, Vec<f64>)>);

impl Figures {
    fn push(&mut self, name: &'static str, value: f64) {
        match self.0.iter_mut().find(|it| it.0 == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name, vec![value])),
        }
    }

    fn print(self, title: &str, as_json: bool) -> Outcome {
        let peak = mmy_torch::alloc::peak_resident().map(|it| it as f64 / f64::from(1 << 20));
        let rows: Vec<_> = self.0.into_iter().map(|(name, values)| (name, spread(values))).collect();
        if as_json {
            let mut out = Map::new();
            out.insert("what".into(), title.into());
            for (name, [min, median, max]) in rows {
                out.insert(name.into(), json!({"min": min, "median": median, "max": max}));
            }
            out.insert("peak_memory_mib".into(), peak.map_or(Value::Null, Value::from));
            return show_json(&out);
        }
        let mut out = format!("{title}\n  {:14}  {:>9}  {:>9}  {:>9}\n", "", "median", "min", "max");
        for (name, [min, median, max]) in rows {
            let _ = writeln!(out, "  {name:14}  {median:>9.2}  {min:>9.2}  {max:>9.2}");
        }
        if let Some(peak) = peak {
            let _ = writeln!(out, "  peak memory {peak:.0} MiB");
        }
        show(&out)
    }
}

fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
    [values[0], median, values[values.len() - 1]]
}

fn rounds(bench: &BenchArgs) -> Outcome<usize> {
    match bench.rounds {
        0 => Err(Failure::User("`--rounds 0`: use at least 1".into())),
        n => Ok(n),
    }
}

fn threads(project: &Project) -> Outcome<usize> {
    let threads = project.config.env_cfg.num_threads.unwrap_or_else(mmy_torch::cpu::physical_cores);
    mmy_torch::threads::set_intra_op(threads).map_err(|it| Failure::Other(it.to_string()))?;
    Ok(threads)
}

fn data(bench: &BenchArgs, workers: Option<usize>) -> Outcome {
    let rounds = rounds(bench)?;
    let project = Project::load(&bench.config)?;
    let mut config = project
        .config
        .train_dataloader
        .clone()
        .ok_or_else(|| Failure::User("the config has no `train_dataloader`".into()))?;
    config.num_workers = workers.unwrap_or(config.num_workers);
    let seed = project.config.randomness.seed;
    let loader = config.build(mmy_data::LoaderArgs { seed }).map_err(|it| project.place_build(it))?;
    if loader.is_empty() {
        return Err(Failure::User("an epoch of the training data has no batch".into()));
    }
    // A round is as many batches as take a while on slow machines too.
    const BATCHES: usize = 4;
    let mut figures = Figures::default();
    let mut batches = loader.epoch(0, 0);
    let mut epoch = 0;
    for round in 0..WARM_UP + rounds {
        let (start, mut pictures) = (Instant::now(), 0);
        for _ in 0..BATCHES {
            let batch = match batches.next() {
                Some(batch) => batch,
                None => {
                    epoch += 1;
                    batches = loader.epoch(epoch, 0);
                    batches.next().ok_or_else(|| Failure::Other("an epoch ended before it began".into()))?
                }
            };
            pictures += batch.map_err(Failure::user)?.len();
        }
        if round >= WARM_UP {
            figures.push("img/s", pictures as f64 / start.elapsed().as_secs_f64());
        }
    }
    figures.print(&format!("{}: training pipeline, {} loader threads", project.name, config.num_workers), bench.json)
}

fn model(project: &Project, step: &StepArgs, deployed: bool) -> Outcome<Model> {
    let format = if step.format == "contiguous" { MemoryFormat::Contiguous } else { MemoryFormat::ChannelsLast };
    let params = ParamStore::with_format(Device::Cpu, 0, format);
    let params = if deployed { params.deployed() } else { params };
    Model::over(&project.config.model, params).map_err(|it| project.place_build(it))
}

fn precision(step: &StepArgs) -> Precision {
    match step.dtype.as_str() {
        "float32" => Precision::Float32,
        "bfloat16" => Precision::BFloat16,
        _ => Precision::Auto,
    }
    .settle()
}

/// Random pictures with ten random boxes each, always the same.
fn batch(project: &Project, step: &StepArgs, classes: usize) -> Outcome<Batch> {
    let (height, width) = project.input_size(step.size.as_deref())?;
    let n = i64::try_from(step.batch_size.max(1)).map_err(Failure::user)?;
    mmy_torch::rng::seed(0);
    let (bytes, float) = ((Kind::Uint8, Device::Cpu), (Kind::Float, Device::Cpu));
    let inputs = match step.format.as_str() {
        "contiguous" => Tensor::randint(256, [n, 3, height, width], bytes),
        _ => Tensor::randint(256, [n, height, width, 3], bytes).permute([0, 3, 1, 2]),
    };
    const BOXES: i64 = 10;
    let index = Tensor::arange(n, float).repeat_interleave_self_int(BOXES, None, n * BOXES).unsqueeze(1);
    let label = Tensor::randint(classes as i64, [n * BOXES, 1], float);
    let (x, y) = (Tensor::rand([n * BOXES, 1], float) * 0.6, Tensor::rand([n * BOXES, 1], float) * 0.6);
    let (w, h) = (Tensor::rand([n * BOXES, 1], float) * 0.35 + 0.05, Tensor::rand([n * BOXES, 1], float) * 0.35 + 0.05);
    let scaled = [&x * width as f64, &y * height as f64, (&x + w) * width as f64, (&y + h) * height as f64];
    let rows: Vec<&Tensor> = [&index, &label].into_iter().chain(&scaled).collect();
    let shape = (height as usize, width as usize);
    let meta = ImageMeta { ori_shape: shape, img_shape: shape, scale_factor: (1.0, 1.0), ..ImageMeta::default() };
    Ok(Batch {
        inputs,
        targets: Targets { bboxes_labels: Tensor::cat(&rows, 1) },
        metas: vec![meta; n as usize],
        ground_truth: Vec::new(),
    })
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn title(project: &Project, what: &str, step: &StepArgs, batch: &Batch, threads: usize) -> String {
    let size = batch.inputs.size();
    format!(
        "{}: {what}, {}×3×{}×{}, {}, {}, {threads} threads",
        project.name,
        size[0],
        size[2],
        size[3],
        precision(step).name(),
        step.format
    )
}

/// What a training step needs.
struct Training {
    model: Model,
    optim: OptimWrapper,
    batch: Batch,
    precision: Precision,
}

/// Milliseconds of a step and of its first half.
struct StepTimes {
    whole: f64,
    forward: f64,
}

impl Training {
    fn new(project: &Project, step: &StepArgs) -> Outcome<Self> {
        let model = model(project, step, false)?;
        let wrapper = project
            .config
            .optim_wrapper
            .as_ref()
            .ok_or_else(|| Failure::User("the config has no `optim_wrapper`".into()))?;
        let args = WrapperArgs { params: &model.params, batch_size: step.batch_size, lr_scale: 1.0 };
        let optim = wrapper.build(args).map_err(|it| project.place_build(it))?;
        let batch = batch(project, step, model.net.num_classes())?;
        Ok(Training { model, optim, batch, precision: precision(step) })
    }

    fn step(&mut self) -> Outcome<StepTimes> {
        let other = |it: mmy_engine::EngineError| Failure::Other(it.to_string());
        let start = Instant::now();
        let losses =
            self.precision.run(|| self.model.net.loss(&self.batch)).map_err(|it| Failure::Other(it.to_string()))?;
        let total = losses.map_err(Failure::user)?.total();
        let forward = milliseconds(start);
        self.optim.update(&total, usize::MAX / 2).map_err(other)?;
        Ok(StepTimes { whole: milliseconds(start), forward })
    }
}

fn train(bench: &BenchArgs, step: &StepArgs) -> Outcome {
    let rounds = rounds(bench)?;
    let project = Project::load(&bench.config)?;
    let threads = threads(&project)?;
    let mut training = Training::new(&project, step)?;
    let mut figures = Figures::default();
    for round in 0..WARM_UP + rounds {
        let StepTimes { whole, forward } = training.step()?;
        if round >= WARM_UP {
            figures.push("step ms", whole);
            figures.push("forward ms", forward);
            figures.push("backward ms", whole - forward);
            figures.push("img/s", training.batch.len() as f64 / whole * 1e3);
        }
    }
    figures.print(&title(&project, "training step", step, &training.batch, threads), bench.json)
}

fn infer(bench: &BenchArgs, step: &StepArgs, deploy: bool) -> Outcome {
    let rounds = rounds(bench)?;
    let project = Project::load(&bench.config)?;
    let threads = threads(&project)?;
    let model = model(&project, step, deploy)?;
    let what = if deploy { "prediction, deployed" } else { "prediction" };
    let batch = batch(&project, step, model.net.num_classes())?;
    let mut figures = Figures::default();
    for round in 0..WARM_UP + rounds {
        let start = Instant::now();
        let found = precision(step).run(|| tch::no_grad(|| model.net.predict(&batch)));
        found.map_err(|it| Failure::Other(it.to_string()))?.map_err(Failure::user)?;
        let whole = milliseconds(start);
        if round >= WARM_UP {
            figures.push("ms", whole);
            figures.push("img/s", batch.len() as f64 / whole * 1e3);
        }
    }
    figures.print(&title(&project, what, step, &batch, threads), bench.json)
}
