//! `mmy predict`.

use std::{
    collections::HashSet,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use mmy_config::from_node_at;
use mmy_data::{
    Buffers, CollateFn, DatasetSource, Draw, FileDataset, Pipeline, Transform, collate::PseudoCollate, ops,
};
use mmy_engine::{Checkpoint, Model};
use mmy_eval::{draw, predictions};
use mmy_formats::picture::ENDINGS;
use mmy_nn::{
    LoadPolicy, ParamStore, StateDict,
    file::{Choice, read_weights},
};
use mmy_registry::Slot;
use mmy_structures::{Detections, Image};
use tch::Device;

use crate::{
    cli::{ConfigArgs, PredictArgs},
    commands::train::interrupt,
    failure::{Failure, Outcome},
    logging, progress,
    project::Project,
};

pub fn run(args: &PredictArgs) -> Outcome {
    let log = logging::start();
    let interrupt = interrupt()?;
    if args.batch_size == 0 {
        return Err(Failure::User("`--batch-size 0`: use at least 1".into()));
    }
    let Trained { project, classes, state, deployed } = Trained::read(args)?;
    // Deployed on the fly where the checkpoint is not: the same boxes sooner.
    let params = ParamStore::new(Device::Cpu, 0).deployed();
    let model = Model::over(&project.config.model, params).map_err(|it| project.place_build(it))?;
    let loaded = match deployed {
        true => model.params.load_state_by_name(&state, LoadPolicy::Complete),
        false => model.params.load_state(&state, LoadPolicy::Complete),
    };
    loaded.map_err(|it| Failure::User(format!("`{}`: {it}", args.checkpoint.display())))?;
    mmy_torch::threads::set_intra_op(mmy_torch::cpu::physical_cores()).map_err(|e| Failure::Other(e.to_string()))?;

    let files = files(&args.paths)?;
    let outputs = outputs(&files, &args.out);
    let dataset = dataset(&project, &files)?;

    std::fs::create_dir_all(&args.out).map_err(Failure::io("make the folder", &args.out))?;
    let json = args.out.join("predictions.json");
    let mut writer = predictions::Writer::create(&json).map_err(Failure::io("write", &json))?;
    let bar = progress::bar(log.bars(), "predict", files.len() as u64, "pictures");
    let started = std::time::Instant::now();
    let (mut found, mut bad) = (0, 0);
    let mut buffers = Buffers::default();
    for indices in (0..files.len()).collect::<Vec<_>>().chunks(args.batch_size) {
        for group in batches(&*dataset, indices, &mut buffers, &mut bad)? {
            let detections = tch::no_grad(|| model.net.predict(&group)).map_err(Failure::user)?;
            for (meta, detections) in group.metas.iter().zip(detections) {
                let shown = above(&detections, args.score_thr);
                found += shown.len();
                writer
                    .push(&predictions::ImagePredictions::new(meta, &shown, &classes))
                    .map_err(Failure::io("write", &json))?;
                let mut picture = read(&meta.img_path, &mut buffers)?;
                draw::draw(&mut picture, &shown, &classes);
                let place = &outputs[meta.img_id as usize];
                draw::save(&picture, place).map_err(Failure::user)?;
            }
        }
        bar.inc(indices.len() as u64);
        bar.set_message(format!("{:.1} img/s", bar.position() as f64 / started.elapsed().as_secs_f64()));
        if interrupt.is_set() {
            bar.finish_and_clear();
            writer.finish().map_err(Failure::io("write", &json))?;
            return Err(Failure::Interrupted(None));
        }
    }
    bar.finish_and_clear();
    writer.finish().map_err(Failure::io("write", &json))?;
    tracing::info!("{found} objects in {} pictures; see {}", files.len() - bad, args.out.display());
    match bad {
        0 => Ok(()),
        _ => Err(Failure::User(format!("{bad} of {} pictures could not be read", files.len()))),
    }
}

/// Weights, and what is needed to use them.
struct Trained {
    project: Project,
    classes: Vec<String>,
    state: StateDict,
    /// Whether they are of the deployed form.
    deployed: bool,
}

impl Trained {
    /// From a checkpoint of `mmy train` alone, or from any weights with the config that `--config` names.
    fn read(args: &PredictArgs) -> Outcome<Self> {
        let Some(config) = &args.config else {
            let checkpoint = Checkpoint::read(&args.checkpoint).map_err(Failure::user)?;
            let manifest = checkpoint.manifest.ok_or_else(|| {
                Failure::User(format!(
                    "`{}` holds weights alone: say with `--config` which model they are of",
                    args.checkpoint.display()
                ))
            })?;
            let project = Project::from_manifest(&manifest)?;
            let (classes, deployed) = (manifest.classes, manifest.deployed);
            return Ok(Trained { project, classes, state: checkpoint.model.into_iter().collect(), deployed });
        };
        let project =
            Project::load(&ConfigArgs { config: config.clone(), set: args.set.clone(), cfg_options: Vec::new() })?;
        let contents = read_weights(&args.checkpoint, &Choice::default()).map_err(Failure::user)?;
        if let Some(remark) = contents.remark() {
            tracing::info!("{}: {remark}", args.checkpoint.display());
        }
        let classes = ["test_dataloader", "val_dataloader"].iter().find_map(|loader| {
            let path = format!("{loader}.dataset.metainfo.classes");
            from_node_at::<Vec<String>>(&project.loaded, &path).ok().filter(|it| !it.is_empty())
        });
        // A file of PyTorch's has no manifest, and is never deployed.
        let deployed = Checkpoint::read_manifest(&args.checkpoint).ok().flatten().is_some_and(|it| it.deployed);
        let classes = classes.unwrap_or(contents.origin.classes);
        Ok(Trained { classes, project, state: contents.tensors, deployed })
    }
}

/// The pictures, prepared as the config tests.
fn dataset(project: &Project, files: &[PathBuf]) -> Outcome<Arc<dyn DatasetSource>> {
    let slots: Vec<Slot<Transform>> = from_node_at(&project.loaded, "test_dataloader.dataset.pipeline")
        .or_else(|_| from_node_at(&project.loaded, "val_dataloader.dataset.pipeline"))?;
    let pipeline = Pipeline::build(&slots).map_err(|it| project.place_build(it))?;
    Ok(Arc::new(FileDataset::of_files(files.iter().cloned(), pipeline)))
}

/// The first `count` pictures that the paths name, each a batch, prepared as the config tests.
pub(super) fn pictures(
    project: &Project,
    paths: &[PathBuf],
    count: usize,
) -> Outcome<impl Iterator<Item = Outcome<mmy_structures::Batch>>> {
    let mut files = files(paths)?;
    files.truncate(count);
    let dataset = dataset(project, &files)?;
    let mut buffers = Buffers::default();
    Ok((0..files.len()).flat_map(move |index| match batches(&*dataset, &[index], &mut buffers, &mut 0) {
        Ok(batches) => batches.into_iter().map(Ok).collect::<Vec<_>>(),
        Err(error) => vec![Err(error)],
    }))
}

/// Samples by index, collated; pictures of different shapes go into batches of their own.
fn batches(
    dataset: &dyn DatasetSource,
    indices: &[usize],
    buffers: &mut Buffers,
    bad: &mut usize,
) -> Outcome<Vec<mmy_structures::Batch>> {
    let mut groups: Vec<Vec<(usize, mmy_structures::Sample)>> = Vec::new();
    for &index in indices {
        match dataset.sample(index, Draw::new(0, 0, index as u64), buffers) {
            Ok(Some(sample)) => {
                let shape = sample.image.shape();
                match groups.iter_mut().find(|it| it[0].1.image.shape() == shape) {
                    Some(group) => group.push((index, sample)),
                    None => groups.push(vec![(index, sample)]),
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("{error}");
                *bad += 1;
            }
        }
    }
    groups.into_iter().map(|it| PseudoCollate {}.collate(it, dataset, buffers).map_err(Failure::user)).collect()
}

fn above(detections: &Detections, least: f32) -> Detections {
    let mut out = Detections::default();
    for (bbox, score, label) in detections.iter().filter(|it| it.1 >= least) {
        out.bboxes.push(bbox);
        out.scores.push(score);
        out.labels.push(label);
    }
    out
}

/// The picture as it is stored, to draw on.
fn read(path: &Path, buffers: &mut Buffers) -> Outcome<Image> {
    let bytes = std::fs::read(path).map_err(Failure::io("read", path))?;
    ops::decode(&bytes, ops::ExifOrientation::Apply, buffers)
        .map_err(|reason| Failure::User(format!("cannot read `{}`: {reason}", path.display())))
}

/// Every picture that the paths name: files as they are, folders with all below them, in order of their names.
fn files(paths: &[PathBuf]) -> Outcome<Vec<PathBuf>> {
    let mut out = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = out.len();
            below(path, &mut out)?;
            if out.len() == before {
                return Err(Failure::User(format!("there is no picture in `{}`", path.display())));
            }
        } else if path.is_file() {
            out.push(path.clone());
        } else {
            return Err(Failure::User(format!("there is no file or folder `{}`", path.display())));
        }
    }
    Ok(out)
}

fn below(folder: &Path, out: &mut Vec<PathBuf>) -> Outcome {
    let entries = std::fs::read_dir(folder).map_err(Failure::io("read the folder", folder))?;
    let mut paths =
        entries.map(|it| it.map(|it| it.path())).collect::<Result<Vec<_>, _>>().map_err(Failure::io("read", folder))?;
    paths.sort();
    for path in paths {
        let ending = path.extension().map(|it| it.to_string_lossy().to_lowercase());
        if path.is_dir() {
            below(&path, out)?;
        } else if ending.is_some_and(|it| ENDINGS.contains(&it.as_str())) {
            out.push(path);
        }
    }
    Ok(())
}

/// A name of its own for each picture with boxes: that of the picture, with a number where two are alike.
fn outputs(files: &[PathBuf], out: &Path) -> Vec<PathBuf> {
    let mut taken: HashSet<OsString> = HashSet::new();
    let mut free = |file: &PathBuf| {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let ending = match file.extension() {
            Some(it) if it.eq_ignore_ascii_case("png") => "png",
            _ => "jpg",
        };
        let first = std::iter::once(format!("{stem}.{ending}"));
        let mut names = first.chain((1..).map(|n| format!("{stem}_{n}.{ending}"))).map(OsString::from);
        names.find(|it| taken.insert(it.clone())).expect("numbers do not run out")
    };
    files.iter().map(|it| out.join(free(it))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_from_two_folders_do_not_collide() {
        let files = ["a/x.jpg", "b/x.jpg", "b/y.PNG"].map(PathBuf::from);
        let want = ["out/x.jpg", "out/x_1.jpg", "out/y.png"].map(PathBuf::from);
        assert_eq!(outputs(&files, Path::new("out")), want);
    }
}
