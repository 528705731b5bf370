//! Times a spiking convolution with its norm and neurons over four steps, forward and backward, on one thread: time folded
//! into the batch against a loop over the steps, and neurons in one pass against libtorch's operators:
//! `cargo run --release -p mmy-models --example spiking [ROUNDS]`.

use std::{env, error::Error, time::Instant};

use mmy_models::layers::spiking::{Kernels, Membrane, NORM_SCALE, Neurons, SpikingConv2d, TimeNorm};
use mmy_nn::{MemoryFormat, ParamStore, layers::Conv};
use mmy_torch::{lif, memory_format::to_memory_format, threads};
use tch::{Device, Kind, Tensor};

const STEPS: i64 = 4;
const SHAPE: [i64; 4] = [STEPS * 8, 64, 40, 40];

/// Neurons as they are written down: an operator at a time, a step at a time.
fn neurons_by_operators(x: &Tensor) -> Tensor {
    let neuron = lif::Neuron::default();
    let mut left: Option<Tensor> = None;
    let mut out = Vec::new();
    for x in x.chunk(STEPS, 0) {
        let u = left.map_or_else(|| x.shallow_clone(), |left| left + &x);
        let spikes = lif::fire(&u, neuron).unwrap_or_else(|_| u.gt(neuron.threshold).to_kind(Kind::Float));
        left = Some(u * neuron.decay * (1.0 - spikes.detach()));
        out.push(spikes);
    }
    Tensor::cat(&out, 0)
}

fn time(name: &str, rounds: usize, x: &Tensor, forward: impl Fn(&Tensor) -> Tensor) {
    let mut times = Vec::new();
    for round in 0..rounds + 2 {
        let x = x.detach().set_requires_grad(true);
        let start = Instant::now();
        forward(&x).square().sum(Kind::Float).backward();
        if round >= 2 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    println!("{name}: {:.1} ms ({:.1} to {:.1})", times[times.len() / 2], times[0], times[times.len() - 1]);
}

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = env::args().nth(1).and_then(|it| it.parse().ok()).unwrap_or(10);
    threads::set_intra_op(1)?;
    let store = ParamStore::new(Device::Cpu, 0);
    let root = store.root();
    let conv = SpikingConv2d::new(&(&root / "conv"), (SHAPE[1], SHAPE[1]), Conv::new(3, 1), Kernels::Exact);
    let norm = TimeNorm::new(&(&root / "bn"), SHAPE[1], NORM_SCALE);
    let neurons = Neurons::new(&(&root / "act"), STEPS, Membrane::Exact);
    let x = Tensor::rand(SHAPE, (Kind::Float, Device::Cpu)).gt(0.8).to_kind(Kind::Float);
    let x = to_memory_format(&x, MemoryFormat::ChannelsLast)?;
    let looped = |x: &Tensor| Tensor::cat(&x.chunk(STEPS, 0).iter().map(|it| conv.forward(it)).collect::<Vec<_>>(), 0);
    println!("{STEPS} steps of {}×{}×{}×{}, float32", SHAPE[0] / STEPS, SHAPE[1], SHAPE[2], SHAPE[3]);
    time("convolution, folded", rounds, &x, |x| conv.forward(x));
    time("convolution, a loop over the steps", rounds, &x, looped);
    time("neurons in one pass", rounds, &x, |x| neurons.forward(x));
    time("neurons by operators", rounds, &x, neurons_by_operators);
    time("all, folded and in one pass", rounds, &x, |x| neurons.forward(&norm.forward(&conv.forward(x), true)));
    time("all, looped and by operators", rounds, &x, |x| neurons_by_operators(&norm.forward(&looped(x), true)));
    Ok(())
}
