//! Times StarNet-s1's 7×7 depthwise convolutions (8 pictures of 320×320) through libtorch and through ours.
//!
//! `cargo run --release -p mmy-torch --example depthwise`

use std::time::Instant;

use mmy_torch::autograd::{Graph, grad};
use mmy_torch::depthwise::conv2d;
use mmy_torch::memory_format::{MemoryFormat, to_memory_format};
use tch::{Device, Kind, Tensor};

/// The shortest of several runs, in milliseconds: what else runs on the machine only ever adds.
fn best(mut body: impl FnMut()) -> f64 {
    body();
    let run = |_| {
        let start = Instant::now();
        body();
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..9).map(run).fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), mmy_torch::Error> {
    println!("ms: forward, gradient of the input, of the weight; ours: of the input, of the weight");
    for (format, kind) in [
        (MemoryFormat::Contiguous, Kind::Float),
        (MemoryFormat::ChannelsLast, Kind::Float),
        (MemoryFormat::ChannelsLast, Kind::BFloat16),
    ] {
        for (channels, side) in [(24, 80), (48, 40), (96, 20), (192, 10)] {
            let make = |size: &[i64]| {
                to_memory_format(&Tensor::randn(size, (Kind::Float, Device::Cpu)), format).map(|t| t.to_kind(kind))
            };
            let x = make(&[8, channels, side, side])?.set_requires_grad(true);
            let w = make(&[channels, 1, 7, 7])?.set_requires_grad(true);
            let g = [Some(make(&[8, channels, side, side])?)];
            let libtorch = x.conv2d(&w, None::<Tensor>, 1, 3, 1, channels);
            let ours = conv2d(&x, &w, None, 1, 3)?;
            let forward = best(|| {
                let _ = tch::no_grad(|| x.conv2d(&w, None::<Tensor>, 1, 3, 1, channels));
            });
            let time = |y: &Tensor, of: &Tensor| best(|| drop(grad(&[y], &[of], &g, Graph::Retain)));
            println!(
                "{format:?} {kind:?} 8x{channels}x{side}x{side}: {forward:.2} {:.2} {:.2}; ours {:.2} {:.2}",
                time(&libtorch, &x),
                time(&libtorch, &w),
                time(&ours, &x),
                time(&ours, &w),
            );
        }
    }
    Ok(())
}
