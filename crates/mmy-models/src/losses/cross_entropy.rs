//! Cross entropy over scores.

use mmy_registry::{Build, BuildError, register};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{
    kinds::{Loss, ScoreLoss},
    losses::Reduction,
};

register!(Loss, "CrossEntropyLoss", Config);

/// Cross entropy of each score on its own, behind a sigmoid.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether each score stands behind its own sigmoid; has to be true, since no head here has classes that exclude
    /// each other.
    pub use_sigmoid: bool,
    /// How the losses of all scores become one.
    pub reduction: Reduction,
    /// Factor.
    pub loss_weight: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config { use_sigmoid: false, reduction: Reduction::Mean, loss_weight: 1.0 }
    }
}

impl Build<Loss> for Config {
    fn build(&self, (): ()) -> Result<Box<dyn ScoreLoss>, BuildError> {
        if !self.use_sigmoid {
            return Err(BuildError::new("classes that exclude each other (softmax) have no head here")
                .at("use_sigmoid")
                .help("set use_sigmoid = true"));
        }
        Ok(Box::new(BinaryCrossEntropy { reduction: self.reduction, loss_weight: self.loss_weight }))
    }
}

#[derive(Debug)]
struct BinaryCrossEntropy {
    reduction: Reduction,
    loss_weight: f64,
}

impl ScoreLoss for BinaryCrossEntropy {
    fn forward(&self, logits: &Tensor, targets: &Tensor) -> Tensor {
        let none = None::<Tensor>;
        logits.binary_cross_entropy_with_logits(targets, none.as_ref(), none.as_ref(), self.reduction.into())
            * self.loss_weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_follow_from_the_definition() {
        let (logits, targets) = ([-2.0f64, 0.5, 3.0, 0.0], [0.0f64, 1.0, 0.25, 1.0]);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let one = |(&x, &t): (&f64, &f64)| -t * sigmoid(x).ln() - (1.0 - t) * (1.0 - sigmoid(x)).ln();
        let sum: f64 = logits.iter().zip(&targets).map(one).sum();
        for (reduction, want) in [(Reduction::Mean, sum / 4.0 * 0.3), (Reduction::Sum, sum * 0.3)] {
            let config = Config { use_sigmoid: true, reduction, loss_weight: 0.3 };
            let loss = config.build(()).unwrap().forward(&Tensor::from_slice(&logits), &Tensor::from_slice(&targets));
            assert!((loss.double_value(&[]) - want).abs() < 1e-12, "{reduction:?}");
        }
    }

    #[test]
    fn softmax_says_why_not() {
        let error = Config::default().build(()).unwrap_err();
        assert_eq!((error.path, error.help), (vec!["use_sigmoid".to_owned()], Some("set use_sigmoid = true".into())));
    }
}
