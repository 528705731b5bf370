//! RevCol's published sizes under their own names: `revcol_tiny`, `revcol_small`, `revcol_base`, `revcol_large`,
//! `revcol_xlarge`.

use mmy_nn::Scope;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    backbones::revcol,
    kinds::{Backbone, Features},
};

/// One size: a config type of its own, since a registered name has one.
macro_rules! size {
    ($config:ident, $name:literal, $channels:expr, $layers:expr, $columns:literal, $drop_path:literal) => {
        register!(Backbone, $name, $config);

        #[doc = concat!("RevCol (arXiv 2212.11696) in the published size `", $name, "`.")]
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $config {
            /// Probability with which training skips the last block of a column, 0 to below 1.
            pub drop_path: f64,
            /// Whether the backward pass computes each column's inputs anew instead of keeping activations.
            pub reversible: bool,
            /// Levels whose maps go on, finest first; level 0 has stride 4, level 3 stride 32.
            pub out_indices: Vec<usize>,
        }

        impl Default for $config {
            fn default() -> Self {
                let revcol::Config { reversible, out_indices, .. } = revcol::Config::default();
                $config { drop_path: $drop_path, reversible, out_indices }
            }
        }

        impl Build<Backbone> for $config {
            fn build(&self, scope: &Scope) -> Result<Box<dyn Features>, BuildError> {
                let $config { drop_path, reversible, out_indices } = self.clone();
                let (channels, layers, columns) = ($channels.to_vec(), $layers.to_vec(), $columns);
                revcol::Config { channels, layers, columns, drop_path, reversible, out_indices }.build(scope)
            }
        }
    };
}

size!(Tiny, "revcol_tiny", [64, 128, 256, 512], [2, 2, 4, 2], 4, 0.1);
size!(Small, "revcol_small", [64, 128, 256, 512], [2, 2, 4, 2], 8, 0.3);
size!(Base, "revcol_base", [72, 144, 288, 576], [1, 1, 3, 2], 16, 0.4);
size!(Large, "revcol_large", [128, 256, 512, 1024], [1, 2, 6, 2], 8, 0.5);
size!(XLarge, "revcol_xlarge", [224, 448, 896, 1792], [1, 2, 6, 2], 8, 0.5);

#[cfg(test)]
mod tests {
    use mmy_nn::{ParamStore, trace};
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn parameters_and_multiply_adds_are_the_published_ones() {
        // Counted with the original code; multiply-adds at 224 pixels in 1e-4 G.
        for (name, params, macs) in [
            ("revcol_tiny", 29_942_144, 45_168),
            ("revcol_small", 60_054_400, 90_433),
            ("revcol_base", 138_038_256, 165_849),
            ("revcol_large", 272_068_352, 393_051),
            ("revcol_xlarge", 832_010_816, 0),
        ] {
            let store = ParamStore::dry();
            let config = serde_json::json!({"type": name, "out_indices": [0, 1, 2, 3]});
            let slot: mmy_registry::Slot<Backbone> = serde_json::from_value(config).unwrap();
            let backbone = slot.build(&store.root()).unwrap();
            assert_eq!((store.num_params(), backbone.feature_info().len()), (params, 4), "{name}");
            let x = Tensor::zeros([1], (Kind::Float, Device::Cpu)).expand([1, 3, 224, 224], false);
            let (maps, rows) = trace::shapes(|| backbone.forward(&x, false));
            assert_eq!(maps[3].size()[2..], [7, 7], "{name}");
            let (listed, found) = rows.iter().fold((0, 0), |(p, m), it| (p + it.params, m + it.macs));
            assert_eq!(listed, params, "{name}: parameters of the layers that ran");
            if macs > 0 {
                assert_eq!((found as f64 / 1e5).round() as u64, macs, "{name}");
            }
        }
    }
}
