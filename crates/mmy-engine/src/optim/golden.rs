//! Every optimiser against PyTorch's own.

use mmy_registry::Slot;
use serde_json::Value;
use tch::Tensor;

use super::{OptimizerKind, ParamGroup};

/// The gradient of `optim.py`: numbers in −1 to 1 that any language makes alike.
fn gradient(step: usize, place: usize, count: usize) -> Vec<f32> {
    let number = |i: usize| ((step * 7919 + (i + place) * 104_729) % 2003) as f64 / 1001.0 - 1.0;
    (0..count).map(|i| number(i) as f32).collect()
}

/// A parameter at its start; a kernel lies channels-last in memory, as those of models do.
fn parameter(shape: &[i64]) -> Tensor {
    let count = shape.iter().product::<i64>() as usize;
    let values: Vec<f32> = (0..count).map(|i| (i * 31 % 17) as f32 / 16.0 - 0.5).collect();
    let tensor = Tensor::from_slice(&values).reshape(shape);
    let tensor = match shape.len() {
        4 => mmy_torch::memory_format::to_memory_format(&tensor, mmy_torch::memory_format::MemoryFormat::ChannelsLast)
            .unwrap(),
        _ => tensor,
    };
    tensor.set_requires_grad(true)
}

#[test]
fn a_hundred_steps_are_pytorchs() {
    let golden: Value = serde_json::from_str(include_str!("../../../../tests/golden/optimizers.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        let config = &case["config"];
        let mut optimizer = serde_json::from_value::<Slot<OptimizerKind>>(config.clone()).unwrap().build(()).unwrap();
        let params: [(&str, &[i64]); 2] = [("vector", &[7]), ("kernel", &[4, 2, 3, 3])];
        let params = params.map(|(name, shape)| (name.to_owned(), parameter(shape)));
        let defaults = optimizer.defaults();
        let groups = [ParamGroup::new("all", params.into(), &defaults, defaults.weight_decay)];
        let mut held = 0;
        for step in 1..=100 {
            for (place, (_, param)) in groups[0].params.iter().enumerate() {
                let mut grad = param.grad();
                if grad.defined() {
                    let _ = grad.zero_();
                }
                // The gradient of Σ param · x is x.
                let wanted = Tensor::from_slice(&gradient(step, place, param.numel())).view_as(param);
                (param * wanted).sum(tch::Kind::Float).backward();
            }
            optimizer.step(&groups).unwrap();
            let Some(rows) = case["after"].get(step.to_string()) else { continue };
            for (name, param) in &groups[0].params {
                let want: Vec<f64> = serde_json::from_value(rows[name].clone()).unwrap();
                let ours = Vec::<f64>::try_from(param.detach().contiguous().view(-1)).unwrap();
                for (ours, want) in ours.iter().zip(want) {
                    assert!((ours - want).abs() < 1e-6, "{config}, step {step}, {name}: {ours} is not {want}");
                    held += 1;
                }
            }
        }
        assert_eq!(held, 3 * (7 + 72));
    }
}
