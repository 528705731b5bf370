//! StarNet's published sizes under their own names: `starnet_s1` to `starnet_s4`, `starnet_s050`, `starnet_s100`,
//! `starnet_s150`.

use mmy_nn::Scope;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    backbones::starnet,
    kinds::{Backbone, Features},
};

/// One size: a config type of its own, since a registered name has one.
macro_rules! size {
    ($config:ident, $name:literal, $base_dim:literal, $depths:expr, $mlp_ratio:literal) => {
        register!(Backbone, $name, $config);

        #[doc = concat!("StarNet (\"Rewrite the Stars\", arXiv 2403.19967) in the published size `", $name, "`.")]
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $config {
            /// Probability with which training skips the last block, 0 to below 1; it grows linearly from 0 in the
            /// first.
            pub drop_path_rate: f64,
            /// Stages whose maps go to the neck, finest first; stage 0 has stride 4, stage 3 stride 32.
            pub out_indices: Vec<usize>,
            /// Taken because the published config gives it; a backbone has no classes, so it has no effect.
            pub num_classes: Option<i64>,
        }

        impl Default for $config {
            fn default() -> Self {
                let starnet::Config { drop_path_rate, out_indices, num_classes, .. } = starnet::Config::default();
                $config { drop_path_rate, out_indices, num_classes }
            }
        }

        impl Build<Backbone> for $config {
            fn build(&self, scope: &Scope) -> Result<Box<dyn Features>, BuildError> {
                let $config { drop_path_rate, out_indices, num_classes } = self.clone();
                let (base_dim, depths, mlp_ratio) = ($base_dim, $depths.to_vec(), $mlp_ratio);
                starnet::Config { base_dim, depths, mlp_ratio, drop_path_rate, out_indices, num_classes }.build(scope)
            }
        }
    };
}

size!(S1, "starnet_s1", 24, [2, 2, 8, 3], 4);
size!(S2, "starnet_s2", 32, [1, 2, 6, 2], 4);
size!(S3, "starnet_s3", 32, [2, 2, 8, 4], 4);
size!(S4, "starnet_s4", 32, [3, 3, 12, 5], 4);
size!(S050, "starnet_s050", 16, [1, 1, 3, 1], 3);
size!(S100, "starnet_s100", 20, [1, 2, 4, 1], 4);
size!(S150, "starnet_s150", 24, [1, 2, 4, 2], 3);

#[cfg(test)]
mod tests {
    use mmy_nn::ParamStore;

    use super::*;

    #[test]
    fn names_and_parameters_are_the_published_ones() {
        // The official totals less the classifier and the norm in front of it.
        for (name, params) in [
            ("starnet_s1", 2_675_784),
            ("starnet_s2", 3_424_512),
            ("starnet_s3", 5_493_280),
            ("starnet_s4", 7_225_216),
            ("starnet_s050", 413_472),
            ("starnet_s100", 881_960),
            ("starnet_s150", 1_367_232),
        ] {
            let store = ParamStore::dry();
            let slot: mmy_registry::Slot<Backbone> =
                serde_json::from_value(serde_json::json!({"type": name, "out_indices": [0, 1, 2, 3]})).unwrap();
            let backbone = slot.build(&store.root()).unwrap();
            assert_eq!((store.num_params(), backbone.feature_info().len()), (params, 4), "{name}");
        }
    }
}
