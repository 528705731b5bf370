//! Pictures of a size that the model can halve as often as it does.

use mmy_data::{BatchShapeOutline, DatasetOutline, SizeStep};
use mmy_diag::{Code, Diagnostic};
use mmy_models::data_preprocessors::PadOutline;

use crate::{
    context::{Context, Pass},
    model::Built,
};

/// Holds the size that each pipeline gives, or the shapes of its batches, against the model's largest stride.
pub fn check(cx: &Context<'_>, built: Option<&Built>, out: &mut Vec<Diagnostic>) {
    // What the preprocessor pads to fits, whatever comes in.
    let divisor = built.map_or(1, |it| it.net.size_divisor());
    let pads = cx.fact::<PadOutline>("model.data_preprocessor").is_some_and(|it| it.size_divisor % divisor == 0);
    for pass in cx.passes() {
        let path = format!("{}.dataset.batch_shapes_cfg", pass.path);
        let shaped = cx.fact::<BatchShapeOutline>(&path);
        if let Some(shape) = shaped {
            if shape.batch_size != pass.loader.batch_size {
                out.push(batch_size(cx, shape.batch_size, pass.loader.batch_size, &path));
            }
            if !pads && shape.size_divisor as i64 % divisor != 0 {
                let title = format!(
                    "batches are shaped to multiples of {}, and the model needs multiples of {divisor}",
                    shape.size_divisor
                );
                let finding = cx.finding(Code::SizeDivisor, title, &format!("{path}.size_divisor"));
                out.push(finding.help(format!("set size_divisor = {divisor}")));
            }
        } else if !pads {
            out.extend(pipeline(cx, &pass, divisor));
        }
    }
}

fn batch_size(cx: &Context<'_>, shaped: usize, loader: usize, path: &str) -> Diagnostic {
    let title = format!(
        "shapes are chosen for batches of {shaped}, and the loader's have {loader} pictures: those of different shapes \
         would meet in one"
    );
    let finding = cx.finding(Code::BatchShape, title, &format!("{path}.batch_size"));
    finding.help(format!("set batch_size = {loader} here"))
}

/// Follows the size of a picture through the pipeline.
fn pipeline(cx: &Context<'_>, pass: &Pass, divisor: i64) -> Option<Diagnostic> {
    // A data set around another one may leave the last word to the inner one's pipeline.
    let outline = cx.fact::<DatasetOutline>(&format!("{}.dataset", pass.path));
    let key = outline.map_or("pipeline", |it| &it.pipeline_key);
    let list = format!("{}.dataset.{key}", pass.path);
    let mut last: Option<(String, [i64; 2])> = None;
    for at in 0..cx.get(&list)?.items().len() {
        let path = format!("{list}.{at}");
        match cx.fact::<SizeStep>(&path) {
            Some(SizeStep::Becomes { key, size }) => last = Some((format!("{path}.{key}"), *size)),
            Some(SizeStep::Grows(by)) => {
                if let Some((_, size)) = &mut last {
                    *size = [size[0] + by[0], size[1] + by[1]];
                }
            }
            Some(SizeStep::Varies) => last = None,
            None => {}
        }
    }
    let (path, [width, height]) = last?;
    if width % divisor == 0 && height % divisor == 0 {
        return None;
    }
    let title = format!("the pipeline gives pictures of {width}×{height}, and the model needs multiples of {divisor}");
    let near = |side: i64| ((side as f64 / divisor as f64).round() as i64).max(1) * divisor;
    let finding = cx.finding(Code::SizeDivisor, title, &path);
    Some(finding.help(format!(
        "use [{}, {}], or set the data_preprocessor's pad_size_divisor = {divisor}",
        near(width),
        near(height)
    )))
}
