//! What does not come along.

use std::{collections::BTreeMap, fmt};

/// What does not come along, and of how many things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lost(BTreeMap<String, usize>);

impl Lost {
    /// Something is lost once.
    pub(super) fn add(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    /// Each of these keys is lost once, of a thing of that sort.
    pub(super) fn keys<'a>(&mut self, of: &str, keys: impl IntoIterator<Item = &'a String>) {
        keys.into_iter().for_each(|it| self.add(format!("`{it}` of {of}")));
    }

    /// Whether everything comes along.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is lost, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().map(|it| (it.0.as_str(), *it.1))
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.iter().map(|(what, count)| format!("{what} ({count})"));
        f.write_str(&rows.collect::<Vec<_>>().join(", "))
    }
}
