//! How long the YOLOv5 training pipeline takes on one thread: `pipeline_speed FOLDER [SECONDS]`, a folder of pictures.
use std::time::Instant;

use mmy_data::{Buffers, DatasetSource, Draw, FileDataset, Pipeline, Transform};
use mmy_registry::Slot;

/// Seconds that this thread has been at work, so that other programs do not count; the clock where that is not known.
fn busy(start: Instant) -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = stat.and_then(|it| it.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |it| it / 1e9)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("which folder?")?;
    let seconds: f64 = args.next().map_or(Ok(3.0), |it| it.parse())?;
    let steps: [(&str, &str); 8] = [
        ("load", r#"{"type": "LoadImageFromFile"}"#),
        ("annotations", r#"{"type": "LoadAnnotations"}"#),
        (
            "mosaic",
            r#"{"type": "Mosaic", "pre_transform": [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}]}"#,
        ),
        (
            "affine",
            r#"{"type": "YOLOv5RandomAffine", "max_rotate_degree": 0, "max_shear_degree": 0, "border": [-320, -320]}"#,
        ),
        (
            "albu",
            r#"{"type": "Albu", "transforms": [{"type": "Blur", "p": 0.01}, {"type": "MedianBlur", "p": 0.01},
                {"type": "ToGray", "p": 0.01}, {"type": "CLAHE", "p": 0.01}]}"#,
        ),
        ("hsv", r#"{"type": "YOLOv5HSVRandomAug"}"#),
        ("flip", r#"{"type": "RandomFlip"}"#),
        ("pack", r#"{"type": "PackDetInputs"}"#),
    ];
    let pipeline = |it: &[(&str, &str)]| -> Result<Pipeline, Box<dyn std::error::Error>> {
        let slots = it.iter().map(|it| serde_json::from_str(it.1)).collect::<Result<Vec<Slot<Transform>>, _>>()?;
        Ok(Pipeline::build(&slots)?)
    };
    let mut paths: Vec<_> = std::fs::read_dir(folder)?.filter_map(|it| Some(it.ok()?.path())).collect();
    paths.sort();
    let mut buffers = Buffers::default();
    let mut before = 0.0;
    for end in 1..=steps.len() {
        let source = FileDataset::of_files(paths.clone(), pipeline(&steps[..end])?);
        let (start, mut count) = (Instant::now(), 0);
        let before_this = busy(start);
        while start.elapsed().as_secs_f64() < seconds {
            let index = count % source.len();
            if let Some(sample) = source.sample(index, Draw::new(0, 0, count as u64), &mut buffers)? {
                buffers.give_image(sample.image);
            }
            count += 1;
        }
        let ms = (busy(start) - before_this) * 1e3 / count as f64;
        println!("{:>12} {:7.3} ms   all so far {ms:7.3} ms, {:6.1} images/s", steps[end - 1].0, ms - before, 1e3 / ms);
        before = ms;
    }
    Ok(())
}
