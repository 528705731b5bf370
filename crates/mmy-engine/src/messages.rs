//! What happened so far, for log lines: every scalar's recent history.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Longest history that is kept of a scalar, in steps.
const KEEP: usize = 1000;

/// The recent values of the scalars that hooks and loops report, in the order in which they first appeared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageHub {
    scalars: Vec<History>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    name: String,
    #[serde(with = "crate::number::queue")]
    values: VecDeque<f64>,
}

impl MessageHub {
    /// Appends a value to the history of `name`.
    pub fn push(&mut self, name: &str, value: f64) {
        let history = match self.scalars.iter_mut().position(|it| it.name == name) {
            Some(at) => &mut self.scalars[at],
            None => {
                self.scalars.push(History { name: name.to_owned(), values: VecDeque::new() });
                self.scalars.last_mut().expect("just pushed")
            }
        };
        if history.values.len() == KEEP {
            history.values.pop_front();
        }
        history.values.push_back(value);
    }

    /// The newest value of `name`.
    pub fn latest(&self, name: &str) -> Option<f64> {
        self.history(name)?.back().copied()
    }

    /// The mean of the last `window` values of `name`, or of as many as there are.
    pub fn mean(&self, name: &str, window: usize) -> Option<f64> {
        let values = self.history(name)?;
        let window = window.clamp(1, values.len().max(1));
        let sum: f64 = values.iter().rev().take(window).sum();
        (!values.is_empty()).then(|| sum / window as f64)
    }

    /// Names that start with `prefix`, in the order in which they first appeared.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.scalars.iter().map(|it| it.name.as_str()).filter(move |it| it.starts_with(prefix))
    }

    /// The same with at most `window` values of each scalar: all that a log line looks at.
    #[must_use]
    pub fn recent(&self, window: usize) -> MessageHub {
        let cut = |it: &History| {
            let skip = it.values.len().saturating_sub(window);
            History { name: it.name.clone(), values: it.values.iter().skip(skip).copied().collect() }
        };
        MessageHub { scalars: self.scalars.iter().map(cut).collect() }
    }

    /// Forgets the histories whose names start with `prefix`.
    pub fn forget(&mut self, prefix: &str) {
        self.scalars.retain(|it| !it.name.starts_with(prefix));
    }

    fn history(&self, name: &str) -> Option<&VecDeque<f64>> {
        self.scalars.iter().find(|it| it.name == name).map(|it| &it.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_is_over_the_window_or_what_there_is() {
        let mut hub = MessageHub::default();
        for value in [1.0, 2.0, 6.0] {
            hub.push("train/loss", value);
        }
        assert_eq!(hub.mean("train/loss", 2), Some(4.0));
        assert_eq!(hub.mean("train/loss", 50), Some(3.0));
        assert_eq!(hub.mean("train/lr", 50), None);
        assert_eq!(hub.latest("train/loss"), Some(6.0));
    }

    #[test]
    fn history_is_bounded() {
        let mut hub = MessageHub::default();
        (0..5000).for_each(|i| hub.push("x", f64::from(i)));
        assert_eq!(hub.mean("x", usize::MAX), Some((4000..5000).sum::<i32>() as f64 / 1000.0));
    }
}
