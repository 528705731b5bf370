//! Efficient channel attention (ECA-Net, arXiv 1910.03151), between backbone and neck.

use mmy_plugin::prelude::*;

register!(Neck, "ECANeck", Config);

/// Efficient channel attention (ECA-Net, arXiv 1910.03151) on each of the backbone's maps, which then go to another neck:
/// a channel's gate depends on the means of that channel and of its neighbours.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The neck that gets the maps.
    pub neck: Slot<Neck>,
    /// Channels that a gate looks at, an odd number; by default it grows with the logarithm of the map's channels, as in
    /// the paper.
    #[serde(default)]
    pub kernel_size: Option<i64>,
}

impl Build<Neck> for Config {
    fn build(&self, args: NeckArgs<'_>) -> Result<Box<dyn FeatureMixer>, BuildError> {
        if let Some(size) = self.kernel_size {
            in_range("kernel_size", size, 1..=63)?;
            if size % 2 == 0 {
                return Err(BuildError::new(format!("{size} is even")).at("kernel_size").help("give an odd number"));
            }
        }
        let attentions = args.features.iter().enumerate().map(|(level, map)| {
            let kernel = self.kernel_size.unwrap_or_else(|| kernel_size(map.channels));
            Attention::new(&(args.scope / "eca" / level), kernel)
        });
        let attentions = attentions.collect();
        let neck = self.neck.build(NeckArgs { scope: &(args.scope / "neck"), ..args })?;
        Ok(Box::new(EcaNeck { attentions, neck }))
    }
}

/// The odd number next to (log2 C + 1) / 2, upwards.
fn kernel_size(channels: i64) -> i64 {
    let size = ((channels as f64).log2() + 1.0) / 2.0;
    size as i64 | 1
}

/// `conv.weight` (1, 1, kernel).
#[derive(Debug)]
struct Attention {
    weight: Tensor,
    kernel: i64,
}

impl Attention {
    fn new(scope: &Scope, kernel: i64) -> Self {
        let weight = (scope / "conv").param("weight", &[1, 1, kernel], Init::KaimingUniform, Role::Weight);
        Attention { weight, kernel }
    }

    /// (B, C, H, W) to the same shape.
    fn forward(&self, x: &Tensor) -> Tensor {
        let (batch, channels) = (x.size()[0], x.size()[1]);
        let means = x.mean_dim([2i64, 3].as_slice(), false, None).unsqueeze(1);
        let weight = self.weight.to_kind(means.kind());
        let gates = means.conv1d(&weight, None::<Tensor>, 1, (self.kernel - 1) / 2, 1, 1).sigmoid();
        x * gates.view([batch, channels, 1, 1])
    }
}

#[derive(Debug)]
struct EcaNeck {
    attentions: Vec<Attention>,
    neck: Box<dyn FeatureMixer>,
}

impl FeatureMixer for EcaNeck {
    fn feature_info(&self) -> Vec<FeatureInfo> {
        self.neck.feature_info()
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Vec<Tensor> {
        let maps: Vec<_> = features.iter().zip(&self.attentions).map(|(map, it)| it.forward(map)).collect();
        self.neck.forward(&maps, train)
    }
}

#[cfg(test)]
mod tests {
    use mmy_plugin::tch::{Device, Kind};

    use super::*;

    #[test]
    fn kernels_grow_as_in_the_paper() {
        // |log2(C) / 2 + 1 / 2| to an odd number: the paper has 3 for 16 channels and 5 for 256.
        assert_eq!([16, 64, 128, 256, 512].map(kernel_size), [3, 3, 5, 5, 5]);
    }

    #[test]
    fn a_gate_is_the_sigmoid_of_neighbouring_means() {
        let store = ParamStore::new(Device::Cpu, 0);
        let attention = Attention::new(&store.root(), 3);
        let weights = [0.5f32, -1.0, 2.0];
        mmy_plugin::tch::no_grad(|| {
            attention.weight.shallow_clone().copy_(&Tensor::from_slice(&weights).view([1, 1, 3]))
        });
        let means = [1.0f32, -2.0, 3.0, 0.25];
        let x = Tensor::from_slice(&means).view([1, 4, 1, 1]).expand([1, 4, 2, 5], false);
        let y = attention.forward(&x);
        for c in 0..4usize {
            let at = |i: Option<usize>| i.and_then(|i| means.get(i)).copied().unwrap_or(0.0);
            let sum = weights[0] * at(c.checked_sub(1)) + weights[1] * means[c] + weights[2] * at(Some(c + 1));
            let expect = means[c] / (1.0 + (-sum).exp());
            let found = y.double_value(&[0, c as i64, 1, 3]);
            assert!((found - f64::from(expect)).abs() < 1e-6, "channel {c}: {found}, not {expect}");
        }
        assert_eq!(y.kind(), Kind::Float);
    }

    #[test]
    fn an_even_kernel_is_a_mistake() {
        let text = r#"{ "type": "ECANeck", "kernel_size": 4, "neck": { "type": "YOLOv5PAFPN" } }"#;
        let slot: Slot<Neck> = serde_json::from_str(text).unwrap();
        let store = ParamStore::dry();
        let error = slot.build(NeckArgs { scope: &store.root(), features: &[] }).unwrap_err();
        assert_eq!(error.path, ["kernel_size"]);
    }
}
