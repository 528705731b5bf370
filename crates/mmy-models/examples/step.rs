//! Times one training step (forward, loss, backward) of YOLOv5-n and StarNet-s1 at 320×320, batch 8, in float32 and
//! bfloat16, contiguous and channels-last: `cargo run --release -p mmy-models --example step [yolov5|starnet] [STEPS]`.

use std::{env, error::Error, time::Instant};

use mmy_models::kinds::Detector;
use mmy_nn::{MemoryFormat, ParamStore};
use mmy_registry::Slot;
use mmy_structures::{Batch, Targets};
use mmy_torch::{alloc::tune_allocator, autocast::autocast, memory_format::to_memory_format};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

const SIZE: i64 = 320;
const BATCH: i64 = 8;

fn config(name: &str) -> Value {
    let (backbone, channels, widen) = match name {
        "yolov5" => {
            (json!({"type": "YOLOv5CSPDarknet", "deepen_factor": 0.33, "widen_factor": 0.25}), [256, 512, 1024], 0.25)
        }
        _ => (json!({"type": "StarNet"}), [48, 96, 192], 1.0),
    };
    json!({
        "type": "YOLODetector",
        "backbone": backbone,
        "neck": {
            "type": "YOLOv5PAFPN", "deepen_factor": 0.33, "widen_factor": widen, "in_channels": channels,
            "num_csp_blocks": 3,
        },
        "bbox_head": {
            "type": "YOLOv5Head",
            "head_module": {"type": "YOLOv5HeadModule", "in_channels": channels, "widen_factor": widen},
            "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": true, "loss_weight": 0.5},
            "loss_bbox": {"type": "IoULoss", "loss_weight": 0.05},
            "loss_obj": {"type": "CrossEntropyLoss", "use_sigmoid": true},
        },
    })
}

/// Pictures of noise with eight boxes each.
fn batch(format: MemoryFormat) -> Result<Batch, Box<dyn Error>> {
    let pictures = Tensor::randint_low(0, 256, [BATCH, 3, SIZE, SIZE], (Kind::Uint8, Device::Cpu));
    let mut rows = Vec::new();
    for picture in 0..BATCH {
        for i in 0..8 {
            let (x, y, side) = (20.0 + 30.0 * i as f32, 250.0 - 28.0 * i as f32, 12.0 + 6.0 * (i + picture) as f32);
            rows.extend([picture as f32, i as f32, x, y, x + side, y + 0.8 * side]);
        }
    }
    let targets = Targets { bboxes_labels: Tensor::from_slice(&rows).view([-1, 6]) };
    let inputs = to_memory_format(&pictures, format)?;
    Ok(Batch { inputs, targets, metas: vec![Default::default(); BATCH as usize], ground_truth: vec![] })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let steps = args.iter().find_map(|it| it.parse().ok()).unwrap_or(5);
    tune_allocator();
    for name in ["yolov5", "starnet"] {
        if args.iter().any(|it| it.parse::<usize>().is_err() && it != name) {
            continue;
        }
        for format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
            let start = Instant::now();
            let store = ParamStore::with_format(Device::Cpu, 0, format);
            let model = serde_json::from_value::<Slot<Detector>>(config(name))?.build(&store.root())?;
            let built = start.elapsed().as_secs_f64() * 1e3;
            let batch = batch(format)?;
            for kind in [Kind::Float, Kind::BFloat16] {
                let (mut forward, mut backward) = (Vec::new(), Vec::new());
                for step in 0..steps + 2 {
                    let start = Instant::now();
                    let losses = match kind {
                        Kind::Float => model.loss(&batch),
                        _ => autocast(Device::Cpu, kind, || model.loss(&batch))?,
                    };
                    let total = losses?.total();
                    let middle = Instant::now();
                    total.backward();
                    if step >= 2 {
                        forward.push((middle - start).as_secs_f64() * 1e3);
                        backward.push(middle.elapsed().as_secs_f64() * 1e3);
                    }
                    for mut entry in store.entries() {
                        entry.tensor.zero_grad();
                    }
                }
                let (forward, backward) = (median(forward), median(backward));
                let rate = BATCH as f64 * 1e3 / (forward + backward);
                println!(
                    "{name} {format:?} {kind:?}: forward and loss {forward:.0} ms, backward {backward:.0} ms, \
                     {rate:.1} images/s (built in {built:.0} ms)"
                );
            }
        }
    }
    Ok(())
}
