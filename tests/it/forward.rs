//! `mmy model forward` against the numbers of the original implementations.

use mmy_nn::{
    ParamStore,
    file::{read_safetensors, write_safetensors},
    testing,
};
use tch::Tensor;

use crate::support::{config, folder, mmy, ok, root};

#[test]
fn maps_are_those_of_the_originals() {
    let dir = folder();
    let cases =
        [("starnet/starnet_s1.toml", "det_star_s1_corrected", 0.75), ("yolov5/yolov5_n.toml", "det_yolov5_n", 1.0)];
    for (name, golden, gain) in cases {
        let path = config(name);
        let weights = dir.path().join("w.safetensors");
        let (x, y) = (dir.path().join("x.safetensors"), dir.path().join("y.safetensors"));
        // The weights by the goldens' rule, written from here: the command sees a file as anyone would make it.
        let options = mmy_config::Options::default();
        let loaded = mmy_config::load(path.as_ref(), &options).unwrap();
        let slot: mmy_registry::Slot<mmy_models::kinds::Detector> = mmy_config::from_node_at(&loaded, "model").unwrap();
        let params = ParamStore::new(tch::Device::Cpu, 0);
        slot.build(&params.root()).unwrap();
        testing::fill(&params, gain, "");
        let state = params.state_dict();
        let named = || state.iter().map(|(name, tensor)| (name.as_str(), tensor));
        write_safetensors(&weights, named(), Default::default()).unwrap();
        let input = testing::field("input", &[2, 3, 96, 128]);
        write_safetensors(&x, [("input", &input)], Default::default()).unwrap();
        let arg = |it: &std::path::Path| it.display().to_string();
        let args = ["model", "forward", &path, "--weights", &arg(&weights), "--input", &arg(&x), "--output", &arg(&y)];
        ok(dir.path(), &args);

        let ours = read_safetensors(&y).unwrap().tensors;
        let golden = read_safetensors(root().join(format!("tests/golden/{golden}.safetensors"))).unwrap().tensors;
        let mut held = 0;
        for (name, map) in &ours {
            let Some(want) = golden.get(name) else { continue };
            // float32 sums in another order: the originals differ from their own float64 by 1e-7 here.
            let off = (map - want).abs().max().double_value(&[]) / want.abs().max().double_value(&[]);
            assert!(off < 1e-5, "{name} is off by {off}");
            held += 1;
        }
        assert!(held >= 9, "only {held} of {} maps have a golden", ours.len());

        // A missing or misshapen weight is a mistake.
        let short: Vec<_> = named().skip(1).collect();
        write_safetensors(&weights, short, Default::default()).unwrap();
        let ran = mmy(dir.path(), &args);
        assert_eq!(ran.status, Some(2), "{}", ran.err);
        assert!(ran.err.contains("1 missing") && ran.err.contains(&state[0].0), "{}", ran.err);
        let wrong = Tensor::zeros([1], (tch::Kind::Float, tch::Device::Cpu));
        let first = state[0].0.as_str();
        let bent = named().map(|(name, tensor)| (name, if name == first { &wrong } else { tensor }));
        write_safetensors(&weights, bent, Default::default()).unwrap();
        assert_eq!(mmy(dir.path(), &args).status, Some(2));
    }
}
