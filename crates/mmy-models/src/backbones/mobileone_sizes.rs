//! MobileOne's published sizes under their own names: `mobileone_s0` to `mobileone_s4`.

use mmy_nn::Scope;
use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    backbones::mobileone,
    kinds::{Backbone, Features},
};

/// One size: a config type of its own, since a registered name has one.
macro_rules! size {
    ($config:ident, $name:literal, $widths:expr, $branches:literal, $se:expr) => {
        register!(Backbone, $name, $config);

        #[doc = concat!("MobileOne (arXiv 2206.04040) in the published size `", $name, "`.")]
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $config {
            /// Stages whose maps go to the neck, finest first; stage 0 has stride 4, stage 3 stride 32.
            pub out_indices: Vec<usize>,
        }

        impl Default for $config {
            fn default() -> Self {
                $config { out_indices: mobileone::Config::default().out_indices }
            }
        }

        impl Build<Backbone> for $config {
            fn build(&self, scope: &Scope) -> Result<Box<dyn Features>, BuildError> {
                let (widths, branches, se) = ($widths, $branches, $se);
                mobileone::Config::of_size(widths, branches, se, &self.out_indices).build(scope)
            }
        }
    };
}

size!(S0, "mobileone_s0", [0.75, 1.0, 1.0, 2.0], 4, [0; 4]);
size!(S1, "mobileone_s1", [1.5, 1.5, 2.0, 2.5], 1, [0; 4]);
size!(S2, "mobileone_s2", [1.5, 2.0, 2.5, 4.0], 1, [0; 4]);
size!(S3, "mobileone_s3", [2.0, 2.5, 3.0, 4.0], 1, [0; 4]);
size!(S4, "mobileone_s4", [3.0, 3.5, 3.5, 4.0], 1, [0, 0, 5, 1]);

#[cfg(test)]
mod tests {
    use mmy_nn::{ParamStore, trace};
    use mmy_registry::Slot;
    use tch::{Kind, Tensor};

    use super::*;

    #[test]
    fn parameters_and_multiply_adds_are_the_published_ones_before_and_after_merging() {
        // The official totals less the classifier, whose multiply-adds are a thousandth of a million each.
        for (name, [trained, deployed], [trained_macs, deployed_macs], width) in [
            ("mobileone_s0", [4_268_272, 1_053_504], [1.0519, 0.2751], 1024),
            ("mobileone_s1", [3_544_192, 3_483_840], [0.8301, 0.8251], 1280),
            ("mobileone_s2", [5_835_648, 5_759_168], [1.3040, 1.2984], 2048),
            ("mobileone_s3", [8_121_600, 8_029_312], [1.9021, 1.8958], 2048),
            ("mobileone_s4", [12_902_248, 12_789_352], [2.9868, 2.9793], 2048),
        ] {
            let slot: Slot<Backbone> = serde_json::from_value(serde_json::json!({"type": name})).unwrap();
            for (store, params, gmacs) in
                [(ParamStore::dry(), trained, trained_macs), (ParamStore::dry().deployed(), deployed, deployed_macs)]
            {
                let backbone = slot.build(&store.root()).unwrap();
                let picture = Tensor::zeros([1, 3, 224, 224], (Kind::Float, tch::Device::Cpu));
                let (_, rows) = trace::shapes(|| backbone.forward(&picture, false));
                let macs = rows.iter().map(|it| it.macs).sum::<u64>() + 1000 * width;
                assert_eq!((store.num_params(), (macs as f64 / 1e5).round() / 1e4), (params, gmacs), "{name}");
            }
        }
    }
}
