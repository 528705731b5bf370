//! The layers of YOLOv5's head.

use mmy_registry::{Build, BuildError, Code, register, warn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    heads::level_convs::LevelConvs,
    kinds::{HeadModule, HeadModuleArgs, Predictor, in_range},
    scaling::{check_factors, check_in_channels},
};

register!(HeadModule, "YOLOv5HeadModule", Config);

/// YOLOv5's head: one convolution of 1×1 for each level. Its biases start where eight objects in a picture of 640 pixels,
/// each of any class with probability 0.6 in all, would be a fair guess.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Number of classes.
    pub num_classes: i64,
    /// Channels of the neck's maps before `widen_factor`, finest first.
    pub in_channels: Vec<i64>,
    /// Factor of `in_channels`.
    pub widen_factor: f64,
    /// Anchors in each cell.
    pub num_base_priors: i64,
    /// Input pixels per cell of each level, finest first.
    pub featmap_strides: Vec<i64>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            num_classes: 80,
            in_channels: vec![256, 512, 1024],
            widen_factor: 1.0,
            num_base_priors: 3,
            featmap_strides: vec![8, 16, 32],
        }
    }
}

impl Build<HeadModule> for Config {
    fn build(&self, HeadModuleArgs { scope, features }: HeadModuleArgs<'_>) -> Result<Box<dyn Predictor>, BuildError> {
        in_range("num_classes", self.num_classes, 1..=100_000)?;
        in_range("num_base_priors", self.num_base_priors, 1..=100)?;
        check_factors(1.0, self.widen_factor)?;
        check_in_channels(&self.in_channels, self.widen_factor, "neck", features)?;
        if self.featmap_strides.len() != features.len() {
            let message = format!("the neck gives {} maps, not {}", features.len(), self.featmap_strides.len());
            let strides: Vec<_> = features.iter().map(|it| it.stride).collect();
            let error = BuildError::new(message).code(Code::LevelMismatch).at("featmap_strides");
            return Err(error.help(format!("set featmap_strides = {strides:?}")).fix(strides));
        }
        if let Some(stride) = self.featmap_strides.iter().find(|it| !(1..=4096).contains(*it)) {
            let error = BuildError::new(format!("{stride} is no stride")).code(Code::OutOfRange);
            return Err(error.at("featmap_strides"));
        }
        let given: Vec<_> = features.iter().map(|it| it.stride).collect();
        if given != self.featmap_strides {
            let message = format!(
                "the neck's maps have strides {given:?}, but the head is told {:?}: anchors and boxes will be off by \
                 that factor",
                self.featmap_strides
            );
            let help = format!(
                "set featmap_strides = {given:?} here and in the prior generator, or choose other out_indices of the \
                 backbone"
            );
            warn(BuildError::new(message).code(Code::StrideDiffers).at("featmap_strides").help(help));
        }
        let (scope, strides) = (scope / "convs_pred", &self.featmap_strides);
        Ok(Box::new(LevelConvs::new(&scope, features, strides, self.num_classes, self.num_base_priors)))
    }
}

#[cfg(test)]
mod tests {
    use mmy_nn::ParamStore;
    use tch::{Device, Tensor};

    use super::*;
    use crate::kinds::FeatureInfo;

    const FEATURES: [FeatureInfo; 3] = [
        FeatureInfo { channels: 16, stride: 8 },
        FeatureInfo { channels: 32, stride: 16 },
        FeatureInfo { channels: 64, stride: 32 },
    ];

    #[test]
    fn biases_start_at_the_first_guess() {
        let config = Config { num_classes: 80, in_channels: vec![16, 32, 64], ..Config::default() };
        let store = ParamStore::new(Device::Cpu, 0);
        config.build(HeadModuleArgs { scope: &store.root(), features: &FEATURES }).unwrap();
        // The convolution's own start is uniform in ±1/√channels around these.
        for (i, (objectness, spread)) in [(-6.6846, 0.25), (-5.2983, 0.1768), (-3.9120, 0.125)].into_iter().enumerate()
        {
            let bias = store.get(&format!("convs_pred.{i}.bias")).unwrap().view([3, 85]);
            let off = |t: Tensor, middle: f64| (t - middle).abs().max().double_value(&[]);
            let own = off(bias.narrow(1, 0, 4), 0.0);
            assert!(own <= spread && own > 0.0);
            assert!(off(bias.select(1, 4), objectness) < spread + 1e-4);
            assert!(off(bias.narrow(1, 5, 80), -4.8803) < spread + 1e-4);
        }
    }

    #[test]
    fn what_does_not_fit_names_its_key() {
        let check = |config: Config, key: &str| {
            let store = ParamStore::dry();
            let error = config.build(HeadModuleArgs { scope: &store.root(), features: &FEATURES }).unwrap_err();
            assert_eq!((error.path.join("."), store.entries().len()), (key.to_owned(), 0), "{error}");
        };
        let good = Config { in_channels: vec![16, 32, 64], ..Config::default() };
        check(Config { num_classes: 0, ..good.clone() }, "num_classes");
        check(Config { in_channels: vec![16, 32], ..good.clone() }, "in_channels");
        check(Config { in_channels: vec![16, 32, 48], ..good.clone() }, "in_channels");
        check(Config { widen_factor: 0.5, ..good.clone() }, "in_channels");
        check(Config { featmap_strides: vec![8, 16], ..good.clone() }, "featmap_strides");
        check(Config { featmap_strides: vec![8, 16, 0], ..good }, "featmap_strides");
    }
}
