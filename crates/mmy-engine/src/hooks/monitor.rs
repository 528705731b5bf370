//! A metric that a hook or a schedule watches.

use mmy_eval::Evaluation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EngineError, error::Result};

/// Which of two values of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// The greater one.
    Greater,
    /// The smaller one.
    Less,
}

impl Rule {
    /// What the metric's name says, by mmengine's lists: exact matches first, then parts of the name.
    pub fn of(metric: &str) -> Option<Rule> {
        const GREATER: [&str; 10] = ["acc", "top", "ar@", "auc", "precision", "map", "mdice", "miou", "macc", "aacc"];
        const LESS: [&str; 1] = ["loss"];
        let name = metric.to_lowercase();
        let exact = |keys: &[&str]| keys.contains(&name.as_str());
        let part = |keys: &[&str]| keys.iter().any(|it| name.contains(it));
        match () {
            () if exact(&GREATER) => Some(Rule::Greater),
            () if exact(&LESS) => Some(Rule::Less),
            () if part(&GREATER) => Some(Rule::Greater),
            () if part(&LESS) => Some(Rule::Less),
            () => None,
        }
    }

    /// Whether `new` is better than `old`.
    pub fn better(self, new: f64, old: f64) -> bool {
        match self {
            Rule::Greater => new > old,
            Rule::Less => new < old,
        }
    }
}

/// The metric called `name`, which the config's `key` asks for.
///
/// # Errors
/// When the validation does not report it; names what it does report.
pub(crate) fn monitored(key: &str, name: &str, evaluation: &Evaluation) -> Result<f64> {
    evaluation.get(name).ok_or_else(|| {
        let known = evaluation.values.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "nothing".into() } else { known };
        EngineError::Unfit(format!("`{key} = \"{name}\"`, but the validation reports {known}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_follows_the_name() {
        let want =
            [("coco/bbox_mAP", Some(Rule::Greater)), ("loss", Some(Rule::Less)), ("AR@100", Some(Rule::Greater))];
        for (name, rule) in want {
            assert_eq!(Rule::of(name), rule, "{name}");
        }
        assert_eq!(Rule::of("speed"), None);
    }

    #[test]
    fn a_metric_that_is_not_there_is_told_with_those_that_are() {
        let evaluation = Evaluation { values: vec![("coco/bbox_mAP".into(), 0.5)], table: None };
        assert_eq!(monitored("monitor", "coco/bbox_mAP", &evaluation).unwrap(), 0.5);
        let error = monitored("monitor", "mAP", &evaluation).unwrap_err().to_string();
        assert_eq!(error, "`monitor = \"mAP\"`, but the validation reports coco/bbox_mAP");
    }
}
