//! Checks and builds a list line by line.

use std::cell::Cell;

use mmy_nn::{ParamStore, Scope};
use mmy_registry::{BuildError, warn, with_warnings};

use super::{Detect, LayerEntry, LayerList, Line, LineInfo, ListSource, Module, Source};
use crate::{
    kinds::{BlockArgs, BuiltBlock, FeatureInfo, Layer},
    scaling::make_round,
};

/// Numbers that a backbone takes at least.
const BACKBONE_INDICES: usize = 5;

/// More repeats than any model has.
const MOST_REPEATS: i64 = 1000;

/// What is known of a numbered map while the list is being built.
#[derive(Debug, Clone, Copy)]
enum Map {
    Known(FeatureInfo),
    /// One of the numbers that a backbone leaves empty.
    Empty,
    /// Given by a line that could not be built, which is reported already.
    Broken,
}

/// Why a line is not built.
enum Skip {
    /// For this reason.
    Error(BuildError),
    /// It reads what a broken line would give.
    Follows,
}

impl From<BuildError> for Skip {
    fn from(error: BuildError) -> Self {
        Skip::Error(error)
    }
}

pub(super) struct Builder<'a> {
    source: &'a ListSource<'a>,
    maps: Vec<Map>,
    /// For each map, the last line that reads it.
    readers: Vec<Option<usize>>,
    lines: Vec<Line>,
    about: Vec<LineInfo>,
    detect: Option<(Detect, Vec<usize>)>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(source: &'a ListSource<'a>) -> Self {
        let (maps, readers, lines, about) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Builder { source, maps, readers, lines, about, detect: None }
    }

    pub(super) fn run(mut self, scope: &Scope) -> Result<(LayerList, Option<Detect>), BuildError> {
        let source = self.source;
        let entries =
            source.parts.iter().flat_map(|(part, entries)| entries.iter().enumerate().map(move |it| (part, it)));
        let total = source.parts.iter().map(|it| it.1.len()).sum::<usize>();
        let (mut errors, mut broken) = (Vec::new(), false);
        for (position, (part, (at, entry))) in entries.enumerate() {
            let place = format!("{part}.{at}");
            if self.detect.is_some() {
                let message = "a line after the one that detects".to_owned();
                errors.push(BuildError::new(message).at(&place).help("the detecting block ends the list"));
                break;
            }
            if let Err(skip) = self.add(part, position, entry, &(scope / position)) {
                broken = true;
                if let Skip::Error(error) = skip {
                    errors.push(error.at(&place));
                }
                // Without a guess at how many maps it would give, what follows could not be numbered.
                let maps = match entry.module {
                    Module::Block(_) => 1,
                    Module::Backbone(_) => BACKBONE_INDICES,
                    Module::Neck(_) => entry.from.indices().len(),
                };
                self.number(maps, Map::Broken);
            }
        }
        let mut outputs = Vec::new();
        for (at, &index) in source.outputs.iter().enumerate() {
            match self.resolve(index) {
                Ok(Source::Map(map)) => outputs.push(map),
                Ok(Source::Input) => errors.push(BuildError::new("the list is empty").at(&format!("out_indices.{at}"))),
                Err(Skip::Error(error)) => errors.push(error.at(&format!("out_indices.{at}"))),
                Err(Skip::Follows) => {}
            }
        }
        if let Some(error) = BuildError::join(errors) {
            return Err(error);
        }
        debug_assert!(!broken, "a line is skipped only after an error");
        let detect = self.detect.take().map(|(detect, maps)| {
            outputs = maps;
            detect
        });
        for &map in &outputs {
            self.readers[map] = Some(total);
        }
        self.warn_of_unread();
        Ok((self.finish(outputs), detect))
    }

    /// Builds one line.
    fn add(&mut self, part: &'static str, position: usize, entry: &LayerEntry, scope: &Scope) -> Result<(), Skip> {
        let inputs = self.inputs(entry)?;
        let features: Vec<_> = inputs.iter().map(|it| self.feature(*it)).collect();
        if !(1..=MOST_REPEATS).contains(&entry.number) {
            let message = format!("a module cannot be repeated {} times", entry.number);
            return Err(BuildError::new(message)
                .at("1")
                .help(format!("give a number from 1 to {MOST_REPEATS}"))
                .into());
        }
        let repeats = make_round(entry.number, self.source.depth_multiple);
        let built = self.repeated(entry, &features, repeats, scope)?;
        let first = self.maps.len();
        let (layers, outputs) = match built {
            Built::Layers(layers, outputs) => (layers, outputs),
            Built::Detect(_) if inputs.contains(&Source::Input) => {
                let message = "there is nothing to detect in the picture itself";
                return Err(BuildError::new(message).at("0").help("name maps of lines above").into());
            }
            Built::Detect(detect) => {
                let maps = inputs.iter().filter_map(|it| if let Source::Map(at) = it { Some(*at) } else { None });
                self.detect = Some((detect, maps.collect()));
                (Vec::new(), Vec::new())
            }
        };
        for it in &inputs {
            if let Source::Map(at) = *it {
                self.readers[at] = Some(position);
            }
        }
        let empty = match entry.module {
            Module::Backbone(_) => BACKBONE_INDICES.saturating_sub(outputs.len()),
            _ => 0,
        };
        self.number(empty, Map::Empty);
        let first = first + empty;
        outputs.iter().for_each(|it| self.number(1, Map::Known(*it)));
        self.about.push(LineInfo {
            part,
            from: entry.from.indices().to_vec(),
            inputs: inputs.iter().map(|it| if let Source::Map(at) = it { Some(*at) } else { None }).collect(),
            repeats,
            module: entry.module.name(),
            arguments: serde_json::to_value(entry.module.values()).unwrap_or_default(),
            path: scope.path().to_owned(),
            first,
            outputs,
        });
        // The detecting block runs as the head does, after the list.
        if self.detect.is_none() {
            self.lines.push(Line { inputs, layers, first, done: Vec::new() });
        }
        Ok(())
    }

    /// Gives numbers to so many maps.
    fn number(&mut self, count: usize, map: Map) {
        self.maps.extend(std::iter::repeat_n(map, count));
        self.readers.extend(std::iter::repeat_n(None, count));
    }

    fn feature(&self, source: Source) -> FeatureInfo {
        match source {
            Source::Input => self.source.input,
            Source::Map(at) => match self.maps[at] {
                Map::Known(it) => it,
                Map::Empty | Map::Broken => unreachable!("`resolve` gives known maps alone"),
            },
        }
    }

    /// The maps that an entry names.
    fn inputs(&self, entry: &LayerEntry) -> Result<Vec<Source>, Skip> {
        let indices = entry.from.indices();
        if indices.is_empty() {
            return Err(BuildError::new("it reads no map").at("0").help("name at least one index").into());
        }
        let (mut inputs, mut errors, mut follows) = (Vec::new(), Vec::new(), false);
        for (at, &index) in indices.iter().enumerate() {
            match self.resolve(index) {
                Ok(source) => inputs.push(source),
                Err(Skip::Error(error)) => errors.push(error.at(&entry.from.place(at))),
                Err(Skip::Follows) => follows = true,
            }
        }
        match BuildError::join(errors) {
            Some(error) => Err(Skip::Error(error)),
            None if follows => Err(Skip::Follows),
            None => Ok(inputs),
        }
    }

    /// The map that an index means from here.
    fn resolve(&self, index: i64) -> Result<Source, Skip> {
        let count = self.maps.len() as i64;
        if index == -1 && count == 0 {
            return Ok(Source::Input);
        }
        let at = if index < 0 { count + index } else { index };
        let Some(map) = usize::try_from(at).ok().and_then(|it| self.maps.get(it)) else {
            let known = match count {
                0 => "nothing stands above it but the picture, which is -1".to_owned(),
                _ => format!("the maps above it are 0 to {}, or -{count} to -1", count - 1),
            };
            return Err(BuildError::new(format!("there is no map {index} yet")).help(known).into());
        };
        match map {
            Map::Known(_) => Ok(Source::Map(at as usize)),
            Map::Broken => Err(Skip::Follows),
            Map::Empty => {
                let full = (at as usize..).find(|it| !matches!(self.maps.get(*it), Some(Map::Empty))).unwrap_or(0);
                let message = format!("map {index} is one that the backbone leaves empty");
                let help = format!("the backbone's first map is {full}; every line's number counts from its last one");
                Err(BuildError::new(message).help(help).into())
            }
        }
    }

    /// The module as often as it is wanted: inside of itself, or in a row.
    fn repeated(
        &self,
        entry: &LayerEntry,
        inputs: &[FeatureInfo],
        repeats: i64,
        scope: &Scope,
    ) -> Result<Built, BuildError> {
        let list = self.source.settings;
        let build = |scope: &Scope, inputs: &[FeatureInfo], repeats, asked: &Cell<bool>| {
            let args = BlockArgs::new(scope, inputs, list).with_repeats(repeats, asked);
            entry.module.build(args).map_err(|it| if it.path.is_empty() { it } else { it.at("3") })
        };
        let asked = Cell::new(false);
        if repeats > 1 {
            // Whether it repeats itself shows when it is built, so it is built where that costs nothing.
            let dry = ParamStore::dry().root() / scope.path();
            with_warnings(|| build(&dry, inputs, repeats, &asked)).0?;
        }
        if repeats == 1 || asked.get() {
            return Ok(match build(scope, inputs, repeats, &asked)? {
                BuiltBlock::Layer { layer, outputs } => Built::Layers(vec![layer], outputs),
                BuiltBlock::Detect { module, priors } => Built::Detect(Detect { module, priors }),
            });
        }
        let (mut features, mut layers) = (inputs.to_vec(), Vec::new());
        for i in 0..repeats {
            match build(&(scope / i), &features, 1, &asked)? {
                BuiltBlock::Layer { layer, outputs } if features.len() == outputs.len() => {
                    features = outputs;
                    layers.push(layer);
                }
                _ => {
                    let message =
                        format!("`{}` cannot be repeated: what it gives is not what it takes", entry.module.name());
                    return Err(BuildError::new(message).at("1").help("set it to 1"));
                }
            }
        }
        Ok(Built::Layers(layers, features))
    }

    /// Warns of lines whose maps nobody reads.
    fn warn_of_unread(&self) {
        let mut at = 0;
        let mut part = "";
        for line in &self.about {
            at = if line.part == part { at + 1 } else { 0 };
            part = line.part;
            let mut readers = (line.first..).zip(&line.outputs).map(|(map, _)| self.readers[map]);
            if !line.outputs.is_empty() && readers.all(|it| it.is_none()) {
                let message = format!("nothing reads what `{}` gives (map {})", line.module, line.first);
                let help = "remove the line, or name it in a later one's `from`";
                warn(BuildError::new(message).at(&format!("{part}.{at}")).help(help));
            }
        }
    }

    fn finish(mut self, outputs: Vec<usize>) -> LayerList {
        for (map, reader) in self.readers.iter().enumerate() {
            // What nobody reads is let go as soon as it is there.
            let giver = || self.about.iter().rposition(|it| it.first <= map);
            if let Some(line) = reader.or_else(giver).and_then(|it| self.lines.get_mut(it)) {
                line.done.push(map);
            }
        }
        LayerList {
            maps: self.maps.len(),
            features: outputs.iter().map(|&it| self.feature(Source::Map(it))).collect(),
            lines: self.lines,
            about: self.about,
            outputs,
        }
    }
}

enum Built {
    Layers(Vec<Box<dyn Layer>>, Vec<FeatureInfo>),
    Detect(Detect),
}
