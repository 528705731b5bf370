//! What all one-stage detectors do: preprocess, run the layers, hand their maps to the head.

use std::fmt::Debug;

use mmy_nn::{ParamStore, Scope};
use mmy_registry::{BuildError, with_warnings};
use mmy_structures::{Batch, Detections};
use tch::{Kind, Tensor};

use crate::{
    kinds::{DenseHead, DetectorModel, Losses, Maps, ModelError, Preprocess},
    layer_list::LineInfo,
};

/// The layers between pictures and head.
pub(super) trait Body: Debug + Send + 'static {
    /// Preprocessed pictures (B, 3, H, W) to the head's maps, and those of the backbone before them if it has one. A body
    /// that runs over time is handed all steps, (T · B, 3, H, W).
    fn forward(&self, x: &Tensor, train: bool) -> BodyMaps;

    /// Time steps.
    fn time_steps(&self) -> i64 {
        1
    }

    /// The lines of a layer list, none of another body.
    fn lines(&self) -> &[LineInfo] {
        &[]
    }
}

/// What a [`Body`] gives, finest level first.
pub(super) struct BodyMaps {
    /// The backbone's.
    pub(super) backbone: Vec<Tensor>,
    /// The head's inputs.
    pub(super) neck: Vec<Tensor>,
}

/// A one-stage detector.
#[derive(Debug)]
pub(super) struct OneStage<B> {
    pub(super) preprocessor: Box<dyn Preprocess>,
    pub(super) body: B,
    pub(super) head: Box<dyn DenseHead>,
    /// Height and width of a batch have to be multiples of it.
    pub(super) size_divisor: i64,
}

impl<B: Body> OneStage<B> {
    /// The detector that `assemble` makes below `scope`. Everything that cannot fit is found before memory is asked for.
    pub(super) fn build(
        scope: &Scope,
        assemble: impl Fn(&Scope) -> Result<Self, BuildError>,
    ) -> Result<Box<dyn DetectorModel>, BuildError> {
        if !scope.store().is_dry() {
            // What this build would warn of, the real one warns of again.
            let silent = tracing::subscriber::NoSubscriber::default();
            let dry = || with_warnings(|| assemble(&ParamStore::dry().root())).0;
            tracing::subscriber::with_default(silent, dry)?;
        }
        let model = assemble(scope)?;
        scope.store().check().map_err(|it| BuildError::new(it.to_string()))?;
        Ok(Box::new(model))
    }

    /// Errors unless the layers can take such a batch.
    fn check(&self, x: &Tensor) -> Result<(i64, i64), ModelError> {
        let size = x.size();
        let &[batch, 3, height, width] = size.as_slice() else { return Err(ModelError::Shape(size)) };
        if batch == 0 || height == 0 || width == 0 {
            return Err(ModelError::Shape(size));
        }
        let divisor = self.size_divisor;
        if height % divisor != 0 || width % divisor != 0 {
            return Err(ModelError::Size { height, width, divisor });
        }
        Ok((height, width))
    }

    /// Event frames (B, T, 3, H, W), if they are for as many steps as the body runs, to (T · B, 3, H, W), and whether they
    /// were that; pictures stay as they are.
    fn fold(&self, x: &Tensor) -> (Tensor, bool) {
        match *x.size().as_slice() {
            [batch, steps, channels, height, width] if steps == self.body.time_steps() => {
                (x.transpose(0, 1).reshape([steps * batch, channels, height, width]), true)
            }
            _ => (x.shallow_clone(), false),
        }
    }

    /// The body's maps of what [`OneStage::fold`] gave; pictures are the same in each time step.
    fn maps(&self, x: &Tensor, frames: bool, train: bool) -> BodyMaps {
        match self.body.time_steps() {
            steps if steps > 1 && !frames => {
                // Unlike a repetition, this keeps the order in memory.
                let copies: Vec<_> = (0..steps).map(|_| x.shallow_clone()).collect();
                self.body.forward(&Tensor::cat(&copies, 0), train)
            }
            _ => self.body.forward(x, train),
        }
    }

    /// Preprocessed pictures to the head's raw predictions, and the pictures' size.
    fn raw(&self, batch: &Batch, train: bool) -> Result<(Vec<Tensor>, (i64, i64)), ModelError> {
        let (inputs, frames) = self.fold(&batch.inputs);
        let pictures = inputs.size();
        if pictures.len() != 4 || pictures[1] != 3 {
            return Err(ModelError::Shape(batch.inputs.size()));
        }
        if !matches!(batch.inputs.kind(), Kind::Uint8 | Kind::Float) {
            return Err(ModelError::NumberKind { expected: "Uint8 or Float", found: batch.inputs.kind() });
        }
        let inputs = self.preprocessor.forward(&inputs);
        let size = self.check(&inputs)?;
        let maps = self.maps(&inputs, frames, train);
        Ok((self.head.forward(&maps.neck, train), size))
    }
}

impl<B: Body> DetectorModel for OneStage<B> {
    fn num_classes(&self) -> usize {
        self.head.num_classes()
    }

    fn size_divisor(&self) -> i64 {
        self.size_divisor
    }

    fn loss(&self, batch: &Batch) -> Result<Losses, ModelError> {
        let (raw, size) = self.raw(batch, true)?;
        self.head.loss(&raw, &batch.targets, size)
    }

    fn predict(&self, batch: &Batch) -> Result<Vec<Detections>, ModelError> {
        let pictures = batch.inputs.size().first().map_or(0, |it| *it as usize);
        if batch.metas.len() != pictures {
            return Err(ModelError::Metas { metas: batch.metas.len(), pictures });
        }
        tch::no_grad(|| {
            let (raw, _) = self.raw(batch, false)?;
            self.head.predict(&raw, &batch.metas)
        })
    }

    fn forward(&self, inputs: &Tensor, train: bool) -> Result<Maps, ModelError> {
        if inputs.kind() != Kind::Float {
            return Err(ModelError::NumberKind { expected: "Float", found: inputs.kind() });
        }
        let (inputs, frames) = self.fold(inputs);
        self.check(&inputs)?;
        let BodyMaps { backbone, neck } = self.maps(&inputs, frames, train);
        let head = self.head.split(&self.head.forward(&neck, train));
        Ok(Maps { backbone, neck, head })
    }

    fn lines(&self) -> &[LineInfo] {
        self.body.lines()
    }
}
