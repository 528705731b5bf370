//! The model, built without allocating it.

use mmy_diag::Diagnostic;
use mmy_models::kinds::{Backbone, Detector, DetectorModel, Neck, NeckArgs};
use mmy_nn::ParamStore;
use mmy_registry::{BuildError, Code, Slot, with_warnings};

use crate::{
    context::Context,
    explore::{Guessed, explore},
};

/// A model whose tensors are not there.
pub struct Built {
    /// Names and shapes.
    pub params: ParamStore,
    /// The layers.
    pub net: Box<dyn DetectorModel>,
}

/// Builds the model, and tells what does not fit in it.
pub fn check(cx: &Context<'_>, out: &mut Vec<Diagnostic>) -> Option<Built> {
    cx.get("model")?;
    // A detector of a name that nobody knows, or without a head, may still have a backbone that does not fit its neck.
    if cx.section::<Slot<Detector>>("model").is_none() {
        backbone_and_neck(cx, out);
        return None;
    }
    let build = |slot: &Slot<Detector>| {
        let (built, warned) = with_warnings(|| -> Result<Built, BuildError> {
            let params = ParamStore::dry();
            let net = slot.build(&params.root())?;
            params.check().map_err(|it| BuildError::new(it.to_string()).at("model"))?;
            Ok(Built { params, net })
        });
        built.map(|built| (built, warned))
    };
    let ((built, warned), guessed) = explore(cx, "model", build, out)?;
    for mut warning in warned.into_iter().filter(|_| guessed == Guessed(false)) {
        if warning.code == Code::PartDoesNotFit {
            warning.code = Code::OddPart;
        }
        out.push(cx.fault(&warning));
    }
    Some(built)
}

fn backbone_and_neck(cx: &Context<'_>, out: &mut Vec<Diagnostic>) {
    let params = ParamStore::dry();
    let build = |slot: &Slot<Backbone>| slot.build(&(params.root() / "backbone"));
    let Some((backbone, Guessed(false))) = explore(cx, "model.backbone", build, out) else { return };
    let features = backbone.feature_info();
    let build = |slot: &Slot<Neck>| slot.build(NeckArgs { scope: &(params.root() / "neck"), features: &features });
    explore(cx, "model.neck", build, out);
}
