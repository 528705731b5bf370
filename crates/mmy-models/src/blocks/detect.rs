//! YOLOv5's detecting layer: `m.i`, and the buffer `anchors` (levels, anchors, 2) in cells.

use mmy_nn::Scope;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use tch::{Kind, Tensor};

use crate::{
    heads::level_convs::LevelConvs,
    kinds::{Block, BlockArgs, BuiltBlock, Predictor, Priors, in_range},
    layer_list::Anchors,
    layers::spiking::mean_over_time,
    prior_generators::yolo_anchor,
};

register!(Block, "Detect", Config);

/// YOLOv5's detecting layer, one convolution of 1×1 for each map that it is handed, finest first. It ends the list. In
/// order: classes, anchors; both are the list's unless given.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Number of classes; `"nc"` means the list's.
    #[serde(deserialize_with = "classes")]
    pub nc: Option<i64>,
    /// Anchors of each level; `"anchors"` means the list's.
    #[serde(deserialize_with = "sizes")]
    pub anchors: Option<Anchors>,
}

fn classes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    deserializer.deserialize_any(Named { word: "nc", value: std::marker::PhantomData })
}

fn sizes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Anchors>, D::Error> {
    deserializer.deserialize_any(Named { word: "anchors", value: std::marker::PhantomData })
}

/// Reads a value, or the name of the list's own.
struct Named<T> {
    word: &'static str,
    value: std::marker::PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Named<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a value or \"{}\", which means the list's", self.word)
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Option<T>, E> {
        if word == self.word { Ok(None) } else { Err(E::invalid_value(de::Unexpected::Str(word), &self)) }
    }

    fn visit_unit<E: de::Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_i64<E: de::Error>(self, it: i64) -> Result<Option<T>, E> {
        T::deserialize(de::value::I64Deserializer::new(it)).map(Some)
    }

    fn visit_u64<E: de::Error>(self, it: u64) -> Result<Option<T>, E> {
        T::deserialize(de::value::U64Deserializer::new(it)).map(Some)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Option<T>, A::Error> {
        T::deserialize(de::value::SeqAccessDeserializer::new(list)).map(Some)
    }
}

impl Build<Block> for Config {
    fn build(&self, args: BlockArgs<'_>) -> Result<BuiltBlock, BuildError> {
        let num_classes = self.nc.unwrap_or(args.list.num_classes);
        in_range("nc", num_classes, 1..=100_000)?;
        let mut sizes = self.anchors.as_ref().map_or(&args.list.anchors, |it| &it.0).clone();
        if sizes.len() != args.inputs.len() {
            let message = format!("anchors for {} levels, but {} maps to detect in", sizes.len(), args.inputs.len());
            let help = "give a row of anchors for each index that the line names";
            let error = BuildError::new(message).help(help);
            return Err(if self.anchors.is_some() { error.at("anchors") } else { error });
        }
        let strides: Vec<_> = args.inputs.iter().map(|it| it.stride).collect();
        if runs_against(&sizes, &strides) {
            mmy_registry::warn(
                BuildError::new(
                    "the anchors grow while the strides of the levels shrink; they are taken in reverse order",
                )
                .at("anchors")
                .help("write them in the order of the indices of the detecting line"),
            );
            sizes.reverse();
        }
        let per_cell = sizes[0].len() as i64;
        let priors = yolo_anchor::Config { base_sizes: sizes, strides: strides.clone() };
        let priors = priors.build(()).map_err(|mut it| {
            // Its key is called otherwise here.
            it.path = vec!["anchors".to_owned()];
            it
        })?;
        buffer(args.scope, &*priors);
        let convs = LevelConvs::new(&(args.scope / "m"), args.inputs, &strides, num_classes, per_cell);
        let module: Box<dyn Predictor> = match args.list.time_steps {
            1 => Box::new(convs),
            steps => Box::new(MeanOverTime { convs, steps }),
        };
        Ok(BuiltBlock::Detect { module, priors })
    }
}

/// Whether the anchors become larger from level to level and the cells smaller, or the other way round.
fn runs_against(sizes: &[Vec<(f32, f32)>], strides: &[i64]) -> bool {
    let area = |level: Option<&Vec<(f32, f32)>>| {
        level.map_or(0.0, |it| it.iter().map(|(w, h)| w * h).sum::<f32>() / it.len().max(1) as f32)
    };
    let grows = area(sizes.last()) - area(sizes.first());
    let coarser = strides.last().copied().unwrap_or(0) - strides.first().copied().unwrap_or(0);
    grows * (coarser as f32) < 0.0
}

/// Makes the buffer `anchors`, in cells.
fn buffer(scope: &Scope, priors: &dyn Priors) {
    let (sizes, strides) = (priors.base_sizes(), priors.strides());
    let cells = sizes
        .iter()
        .zip(strides)
        .flat_map(|(sizes, &stride)| sizes.iter().flat_map(move |(w, h)| [w / stride as f32, h / stride as f32]));
    let cells: Vec<_> = cells.collect();
    let shape = [sizes.len() as i64, sizes[0].len() as i64, 2];
    let mut anchors = scope.buffer("anchors", &shape, 0.0, Kind::Float);
    if !scope.store().is_dry() {
        anchors.copy_(&Tensor::from_slice(&cells).view(shape));
    }
}

/// Predictions from the mean over the time steps, (T · B, C, H, W) to (B, …): a convolution of the mean is the mean of
/// the convolutions, T times cheaper.
#[derive(Debug)]
struct MeanOverTime {
    convs: LevelConvs,
    steps: i64,
}

impl Predictor for MeanOverTime {
    fn num_classes(&self) -> usize {
        self.convs.num_classes()
    }

    fn num_base_priors(&self) -> usize {
        self.convs.num_base_priors()
    }

    fn featmap_strides(&self) -> &[i64] {
        self.convs.featmap_strides()
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Vec<Tensor> {
        let means: Vec<_> = features.iter().map(|it| mean_over_time(it, self.steps)).collect();
        self.convs.forward(&means, train)
    }
}
