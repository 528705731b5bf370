//! A backbone written as a list of layers, so that any block serves under MMYOLO's necks and heads.

use mmy_nn::{
    Scope,
    layers::{Activation, Norm},
};
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    kinds::{Backbone, FeatureInfo, Features, ListSettings, in_range},
    layer_list::{LayerEntry, LayerList, ListSource},
};

register!(Backbone, "LayerListBackbone", Config);

/// A backbone written as a layer list, whose lines are those of `LayerListDetector`. Weights are named by lines:
/// `backbone.N.…`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The lines, `[from, number, module, arguments]` each.
    pub layers: Vec<LayerEntry>,
    /// The maps that go to the neck, finest first.
    pub out_indices: Vec<i64>,
    /// Channels of the pictures.
    #[serde(default = "rgb")]
    pub input_channels: i64,
    /// Factor of the numbers of repeats, rounded, at least 1.
    #[serde(default = "one")]
    pub depth_multiple: f64,
    /// Factor of the channels, rounded up to a multiple of 8.
    #[serde(default = "one")]
    pub width_multiple: f64,
    /// The activation of blocks that are not told another.
    #[serde(default)]
    pub act_cfg: Activation,
    /// The normalisation of all blocks.
    #[serde(default)]
    pub norm_cfg: Norm,
}

fn rgb() -> i64 {
    3
}

fn one() -> f64 {
    1.0
}

impl Build<Backbone> for Config {
    fn build(&self, scope: &Scope) -> Result<Box<dyn Features>, BuildError> {
        in_range("input_channels", self.input_channels, 1..=1024)?;
        in_range("depth_multiple", self.depth_multiple, 0.01..=16.0)?;
        in_range("width_multiple", self.width_multiple, 0.01..=16.0)?;
        let settings = ListSettings {
            width_multiple: self.width_multiple,
            act: self.act_cfg,
            norm: self.norm_cfg,
            ..ListSettings::default()
        };
        let source = ListSource {
            parts: vec![("layers", &self.layers)],
            depth_multiple: self.depth_multiple,
            settings: &settings,
            input: FeatureInfo { channels: self.input_channels, stride: 1 },
            outputs: &self.out_indices,
        };
        let (list, detect) = LayerList::build(&source, scope)?;
        if detect.is_some() || list.feature_info().is_empty() {
            let message = "a backbone gives maps, it does not detect anything";
            return Err(BuildError::new(message)
                .at("layers")
                .help("name maps in out_indices, and end with another line"));
        }
        if !list.feature_info().is_sorted_by(|a, b| a.stride < b.stride) {
            let strides: Vec<_> = list.feature_info().iter().map(|it| it.stride).collect();
            let message = format!("maps of strides {strides:?} do not go from the finest to the coarsest, one of each");
            return Err(BuildError::new(message).at("out_indices"));
        }
        Ok(Box::new(ListBackbone(list)))
    }
}

#[derive(Debug)]
struct ListBackbone(LayerList);

impl Features for ListBackbone {
    fn feature_info(&self) -> Vec<FeatureInfo> {
        self.0.feature_info().to_vec()
    }

    fn forward(&self, x: &Tensor, train: bool) -> Vec<Tensor> {
        self.0.forward(x, train)
    }
}

#[cfg(test)]
mod tests {
    use mmy_nn::ParamStore;
    use serde_json::{Value, json};
    use tch::{Device, Kind};

    use super::*;

    fn build(out_indices: Value) -> Result<(Box<dyn Features>, ParamStore), BuildError> {
        let layers = json!([
            [-1, 1, "Conv", [16, 3, 2]],
            [-1, 2, "C2f", [16, true]],
            [-1, 1, "CA", [16]],
            [-1, 1, "GhostConv", [32, 3, 2]],
            [-1, 1, "SPPF", [32]],
        ]);
        let config: Config = serde_json::from_value(json!({"layers": layers, "out_indices": out_indices})).unwrap();
        let store = ParamStore::new(Device::Cpu, 0);
        config.build(&store.root()).map(|it| (it, store))
    }

    #[test]
    fn the_named_maps_come_out() {
        let (backbone, store) = build(json!([2, -1])).unwrap();
        let wanted = [(16, 2), (32, 4)].map(|(channels, stride)| FeatureInfo { channels, stride });
        assert_eq!(backbone.feature_info(), wanted);
        let maps = backbone.forward(&Tensor::zeros([1, 3, 32, 64], (Kind::Float, Device::Cpu)), true);
        assert_eq!(maps.iter().map(Tensor::size).collect::<Vec<_>>(), [[1, 16, 16, 32], [1, 32, 8, 16]]);
        assert!(store.get("1.m.1.cv2.conv.weight").is_some());
    }

    #[test]
    fn what_does_not_fit_names_its_key() {
        for (out_indices, path) in
            [(json!([9]), "out_indices.0"), (json!([4, 0]), "out_indices"), (json!([]), "layers")]
        {
            assert_eq!(build(out_indices).unwrap_err().path.join("."), path);
        }
    }
}
